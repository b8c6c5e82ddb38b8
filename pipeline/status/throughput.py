"""How fast a run is drawn, by what its sessions have left behind: how many draws were made by when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW = 300.0
"""Seconds of drawing, the last ones, over which a pace is measured."""


@dataclass(frozen=True, order=True)
class Mark:
    """By `time` (seconds, whatever they are counted from) a session had made so many `draws`."""

    time: float
    draws: int


def draws_per_second(sessions: Iterable[Sequence[Mark]]) -> float | None:
    """The pace of the last `WINDOW` seconds, those between two sessions not counted; None where nobody can tell.

    A session is its marks, any number in any order. What it had made by its first mark says nothing: nobody knows
    since when.
    """
    seconds, draws = 0.0, 0
    for session in sorted((sorted(marks) for marks in sessions if marks), key=lambda marks: marks[-1], reverse=True):
        for before, after in reversed([*pairwise(session)]):
            seconds += after.time - before.time
            draws += max(0, after.draws - before.draws)
            if seconds >= WINDOW:
                return draws / seconds
    return draws / seconds if seconds > 0 else None


def seconds_drawn(sessions: Iterable[Sequence[Mark]]) -> float:
    """From each session's first mark to its last, added up."""
    return sum(max(marks).time - min(marks).time for marks in sessions if marks)
