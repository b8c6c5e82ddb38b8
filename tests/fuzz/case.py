"""What a fuzz case is: an altered input, the request that reads it, and what may come of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import TypeAlias

Request: TypeAlias = Sequence[str] | Callable[[], object]
"""Arguments of `raysmooth`, or a call of its Python functions."""


class Expected(StrEnum):
    """ANY: a result or a refusal. REFUSED: the alteration contradicts what raysmooth can check. READ: it changes
    nothing that matters.
    """

    ANY = "any"
    REFUSED = "refused"
    READ = "read"


@dataclass(frozen=True)
class Play:
    """`altered` says in words what was done to the valid input. `written` are folders whose text files are checked
    too, as they are what people open. `named` are files outside that may be opened if standard error names them.
    """

    altered: str
    request: Request
    expected: Expected = Expected.ANY
    written: Sequence[str] = ()
    named: Sequence[str] = ()


@dataclass(frozen=True)
class Kind:
    """`build` writes valid inputs into the current folder, once; `play` alters those in the current folder, which is a
    copy. The copy has the path CASE in every process, so inputs may name it.
    """

    summary: str
    build: Callable[[], None]
    play: Callable[[Random], Play]


class Outcome(StrEnum):
    """RIGHT and REFUSED are what should be; all others are defects."""

    RIGHT = "right"
    REFUSED = "refused"
    TRACEBACK = "traceback"
    CRASH = "crash"
    HANG = "hang"
    SILENT = "silent"
    RAW = "raw"
    STRICT = "strict"
    """Refused, though nothing that matters was altered."""
    ESCAPED = "escaped"
    """Code was executed, or a file outside was opened."""
    UNMADE = "unmade"
    """The suite itself failed."""


DEFECTS = tuple(outcome for outcome in Outcome if outcome not in (Outcome.RIGHT, Outcome.REFUSED))


class Defect(Exception):
    """What a request that checks its own results found."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


@dataclass(frozen=True)
class Attempt:
    """A case and what came of it. `detail`: the refusal, the trace, or what was printed raw."""

    kind: str
    number: int
    altered: str
    request: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0
    folder: Path | None = field(default=None, compare=False)
