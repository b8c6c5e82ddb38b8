"""Records for the leaderboard of Li et al., SoK: Certified Robustness for Deep Neural Networks
(sokcertifiedrobustness.github.io), in the form of its file `_data/board.yml`.

A setting is a data set, a norm and a radius. The board's own are those below; other radii get settings of that form.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.run_facts import LABELLED
from raysmooth.pipeline.export.exported_run import CertifiedAt, ExportedRun, percent_down, percent_up, shown_radius
from raysmooth.pipeline.report.captions import caption
from raysmooth.pipeline.report.rounding import percent

BOARD: Mapping[tuple[str, str], Mapping[float, str]] = {
    ("mnist", "l2"): {1.58: "1.58"},
    ("mnist", "linf"): {0.1: "0.1", 0.3: "0.3"},
    ("cifar10", "l2"): {36 / 255: "36/255", 0.25: "0.25", 1.0: "1.0", 2.0: "2.0"},
    ("cifar10", "linf"): {2 / 255: "2/255", 8 / 255: "8/255"},
    ("imagenet", "l2"): {1.0: "1.0", 2.0: "2.0"},
    ("imagenet", "linf"): {1 / 255: "1/255"},
    ("cifar10", "l1"): {1.0: "1.0", 2.0: "2.0"},
    ("imagenet", "l1"): {1.0: "1.0", 2.0: "2.0"},
}
"""The board's radii, as it writes them, by data set and norm."""

_NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "imagenet": "ImageNet"}
_NORMS = {"l1": r"\(\ell_1\)", "l2": r"\(\ell_2\)", "linf": r"\(\ell_\infty\)"}


def board_radii(runs: Sequence[ExportedRun]) -> list[float]:
    """The radii of the board's settings for these runs. Raises RaysmoothError where it has none for one of them."""
    found: set[float] = set()
    for run in runs:
        place = (str(run.fact("dataset")), str(run.fact("norm")))
        if place not in BOARD:
            raise RaysmoothError(
                f"run {run.run_id}: the board has no setting for {place[0]} in {place[1]}: write --radii, or --format "
                "json"
            )
        found |= set(BOARD[place])
    return sorted(found)


def board_records(
    runs: Sequence[ExportedRun], title: str | None = None, link: str | None = None, venue: str | None = None
) -> str:
    """The settings with a record for each run, the highest score first. Raises RaysmoothError for runs without labels,
    as a score is a certified accuracy.
    """
    board: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for run in runs:
        if run.quantity != LABELLED:
            raise RaysmoothError(
                f"run {run.run_id} has no record, as its shares are '{run.quantity}', and a score is a certified "
                "accuracy: write --format json"
            )
        for at in run.certified:
            record = {
                "score": f"{percent(at.certified / at.images, at.images)}%",
                "title": title or "",
                "link": link or "",
                "venue": venue or "",
                "prob": True,
                "comment": _comment(run, at),
            }
            own = BOARD.get((str(run.fact("dataset")), str(run.fact("norm"))), {})
            board.setdefault(_setting(run, own.get(at.radius, shown_radius(at.radius))), []).append(
                (at.certified / at.images, record)
            )
    ordered = [
        {"setting": setting, "records": [record for _, record in sorted(records, key=lambda pair: -pair[0])]}
        for setting, records in board.items()
    ]
    return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=1000)


def _setting(run: ExportedRun, radius: str) -> str:
    dataset, norm = str(run.fact("dataset")), str(run.fact("norm"))
    return rf"{_NAMES.get(dataset, dataset)},&nbsp; {_NORMS.get(norm, norm)},&nbsp; \(\epsilon={radius}\)"


def _comment(run: ExportedRun, at: CertifiedAt) -> str:
    """What the score rests on."""
    interval = ""
    if at.low is not None and at.high is not None:
        interval = f", 95 % interval {percent_down(at.low)} to {percent_up(at.high)} %"
    failed = f", {run.errors} failed and count as not certified" if run.errors else ""
    left = f", unfinished: of {run.planned}" if run.images < run.planned else ""
    words = caption(run.facts)
    return f"{at.certified} of {at.images} images{left}{failed}{interval}; {words.facts}; raysmooth run {run.run_id}"
