"""How fast a run is drawn, from the times and numbers of draws of its sessions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

WINDOW = 300.0
"""The pace is measured over this many last seconds of drawing."""


@dataclass(frozen=True, order=True)
class Mark:
    """By `time` (seconds from any origin) a session had made `draws` draws."""

    time: float
    draws: int


def draws_per_second(sessions: Iterable[Sequence[Mark]]) -> float | None:
    """The pace of the last `WINDOW` seconds, without pauses between sessions; None if unknown.

    A session is any number of marks in any order. Draws before its first mark do not count, as their time is unknown.
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
    """The sum over sessions of the time from the first mark to the last."""
    return sum(max(marks).time - min(marks).time for marks in sessions if marks)
