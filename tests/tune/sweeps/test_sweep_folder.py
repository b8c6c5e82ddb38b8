"""A sweep's folder: which sweep it holds, and what may change when that is resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import command
from sweeps import experiment, settings_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.sweeps.folder import below, refuse_other_sweep


def test_the_same_sweep_may_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    refuse_other_sweep(out, settings_of(out))
    refuse_other_sweep(out, settings_of(out, certify={"n": 100}, address="local", verbose=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "validation_loss"}, "holds another sweep, with metric \"acr\": write another 'out'"),
        ({"validation": {"images": 9}}, "holds another sweep, with validation: images 8"),
        ({"search": {"learning_rate": [1e-3]}}, "holds another sweep, with search"),
    ],
)
def test_another_sweep_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    refuse_other_sweep(out, settings_of(out))
    with pytest.raises(RaysmoothError, match=message):
        refuse_other_sweep(out, settings_of(out, **changes))


def test_a_sweep_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    refuse_other_sweep(out, settings_of(out))
    file = out / "sweep.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "by": "grid"}))
    with pytest.raises(
        RaysmoothError, match="holds a sweep of an earlier version of raysmooth, which cannot be resumed"
    ):
        refuse_other_sweep(out, settings_of(out))


def test_folders_below_a_storage() -> None:
    assert below("/results/tune", "trials") == "/results/tune/trials"
    assert below("s3://bucket/mine?endpoint_override=x", "trials") == "s3://bucket/mine/trials?endpoint_override=x"


def test_the_former_flag_is_refused_with_the_present_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(experiment(tmp_path / "out")))
    code, _, err = command(capsys, "sweep", str(file), "--hours", "2")
    assert (code, err) == (2, "raysmooth: --hours is now --time-budget-hours: write --time-budget-hours 2\n")
