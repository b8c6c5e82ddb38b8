"""Runs of digits whose classifier is a fake API behind HTTP."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import raysmooth
from raysmooth.tune.fake_apis.fakes import Running

REQUEST = {
    "headers": {"X-Api-Key": "${FAKE_API_KEY}"},
    "labels": "labels[*].label",
    "scores": "labels[*].score",
    "version": "version",
}
"""What the fake understands."""

SMALL: dict[str, Any] = {"n0": 10, "n": 30, "alpha": 0.05, "sigma": 0.25, "max": 2}
QUERIES = 2 * (1 + 10 + 30)
"""Those of SMALL: for each image, the image itself too."""


def api_of(folder: Path) -> str:
    """The classifier, with its file in `folder`."""
    file = folder / "request.yaml"
    file.write_text(yaml.safe_dump(REQUEST))
    return f"http:request={file}"


def settings_of(fake: Running, folder: Path, **changes: Any) -> dict[str, Any]:
    """The settings of a run; results go to `folder`/results."""
    common = {"dataset": "digits", "classifier": api_of(folder), "endpoint": fake.address.endpoint}
    common |= {"out": str(folder / "results"), "rate": "2000/s", "price_per_1000": 1.5}
    return {**common, **SMALL, **changes}


def certified(fake: Running, folder: Path, **changes: Any) -> pd.DataFrame:
    """The rows of a run, on the Ray of the tests."""
    return raysmooth.certify(progress=False, **settings_of(fake, folder, **changes))


def flags_of(settings: dict[str, Any]) -> list[str]:
    """Settings as flags of the command line."""
    pairs = ((f"--{name.replace('_', '-')}", value) for name, value in settings.items())
    return [part for name, value in pairs for part in ([name] if value is True else [name, str(value)])]


def counts_in(out: Path) -> pd.DataFrame:
    """All counts on disk, whichever runs and parts they are in, in a fixed order."""
    parts = [pd.read_parquet(part) for part in sorted(out.glob("runs/*/counts/part-*.parquet"))]
    found = pd.concat(parts).drop(columns="seconds").sort_values(["image_id", "role", "block"])
    return found.reset_index(drop=True).map(lambda value: value.tolist() if hasattr(value, "tolist") else value)
