"""Images that failed, and why: what a command says of them, and when it fails itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from raysmooth.common.errors import named_image, printable
from raysmooth.pipeline.analysis.columns import by_run, text_of

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Reason:
    """Why `count` images of a run failed: `text` is the reason of the first of them, `image_id`, whose `file` may be
    unknown. Reasons that differ in numbers only are one.
    """

    text: str
    count: int
    image_id: int
    file: str | None

    @property
    def image(self) -> str:
        """The first image in words."""
        return named_image(self.image_id, self.file)


@dataclass(frozen=True)
class Failures:
    """The failed images of a run: `failed` of its `images`, and the reasons, the most frequent first."""

    run_id: str
    images: int
    failed: int
    reasons: Sequence[Reason]

    @property
    def are_most(self) -> bool:
        """Whether a command fails for them: at least half of the run's images have no result."""
        return 2 * self.failed >= self.images

    def describe(self) -> str:
        """One line."""
        first = self.reasons[0]
        counted = f"{self.failed:,} of {self.images:,} image{'s' * (self.images > 1)} failed"
        if self.failed == 1:
            return f"{counted}: {first.image}: {printable(first.text)}"
        often = f"most often ({first.count:,} times): " if len(self.reasons) > 1 else ""
        return f"{counted}: {often}{printable(first.text)}; the first: {first.image}"


def failures(rows: pd.DataFrame) -> list[Failures]:
    """Of each run with an error row, in the order of the runs. `rows` are those of certify or predict."""
    found = []
    for run_id, own in by_run(rows).items():
        failed = own[own["status"] == "error"]
        if len(failed):
            found.append(Failures(str(run_id), len(own), len(failed), reasons(failed)))
    return found


def reasons(failed: pd.DataFrame) -> list[Reason]:
    """Why the images of these error rows failed, the most frequent reason first."""
    kinds: dict[str, list[int]] = {}
    for place, error in enumerate(failed["error"]):
        kinds.setdefault(_NUMBER.sub("#", str(error)), []).append(place)
    files = failed["file"] if "file" in failed else [None] * len(failed)
    rows = list(zip(failed["error"], failed["image_id"], files, strict=True))
    found = []
    for places in sorted(kinds.values(), key=len, reverse=True):
        error, image_id, file = rows[places[0]]
        found.append(Reason(str(error), len(places), int(image_id), text_of(file)))
    return found


def lines_of(found: Sequence[Failures], stages: Sequence[str] | None = None) -> list[str]:
    """What to say of several runs: one line where they have the same failures, otherwise a line for each run. `stages`
    are the names of an experiment's stage runs to say instead, one for each run.
    """
    lines = [one.describe() for one in found]
    if len(set(lines)) == 1:
        return lines[:1] if stages is None else [f"{_listed(stages)}: {lines[0]}"]
    names = [f"run {one.run_id}" for one in found] if stages is None else [f"stage {stage}" for stage in stages]
    return list(dict.fromkeys(f"{name}: {line}" for name, line in zip(names, lines, strict=True)))


def _listed(stages: Sequence[str]) -> str:
    several = list(dict.fromkeys(stages))
    more = f" and {len(several) - 3} more" if len(several) > 3 else ""
    return f"stage{'s' * (len(several) > 1)} {', '.join(several[:3])}{more}"
