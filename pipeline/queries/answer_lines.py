"""Answers that others have paid for: JSON lines, read for `raysmooth import` as if anything could be in them.

    {"image": 17, "role": "estimation", "draw": 0, "tags": [{"name": "Dog", "score": 0.9}], "version": "2026-01-01"}

`image`: the number of an image in the data set, or the digest of its pixels. `role`: selection, estimation, or
reference for the image without noise. `refused` in place of tags is the reason why there is no answer. `version`, `raw`
(the API's own answer, any JSON) and `price` (dollars) may be left out.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Protocol

from pydantic import Field, field_validator, model_validator

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.common.errors import RaysmoothError, counted, one_line, printable
from raysmooth.pipeline.queries.journal_records import Draw
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer, billionths
from raysmooth.storage.records import BadRecord, Count, Record, Sha256, parsed, validated
from raysmooth.storage.regular_file import refuse_unfit

LONGEST_LINE = 2**24
"""Bytes."""

NAMED_LINES = 3
"""Bad lines that a message says all about; of others it has the numbers."""

ROLES = {"selection": Role.SELECTION, "estimation": Role.ESTIMATION, "reference": Role.REFERENCE}


class _TagLine(Record):
    name: str
    score: float
    parents: list[str] = Field(default_factory=list)


class AnswerLine(Record):
    """One line, checked."""

    image: Count | Sha256
    role: str
    draw: Draw
    tags: list[_TagLine] = Field(default_factory=list)
    refused: str | None = None
    version: str | None = None
    raw: Any = None
    price: Annotated[float, Field(ge=0, lt=1e6)] = 0.0

    @field_validator("role")
    @classmethod
    def _known(cls, role: str) -> str:
        if role not in ROLES:
            raise ValueError(f"one of {', '.join(ROLES)}")
        return role

    @model_validator(mode="after")
    def _consistent(self) -> "AnswerLine":
        if self.role == "reference" and self.draw:
            raise ValueError("draw 0 alone in role reference")
        if self.refused is not None and self.tags:
            raise ValueError("tags, or the reason refused, not both")
        return self

    @property
    def place(self) -> tuple[int | str, str, int]:
        """What it is the answer to."""
        return self.image, self.role, self.draw

    def answer(self, digest: Callable[[int], str]) -> LoggedAnswer:
        """The answer for a query log, not sent from here; `digest` of an image's number in the data set."""
        return LoggedAnswer(
            DrawKey(self.image if isinstance(self.image, str) else digest(self.image), ROLES[self.role], self.draw),
            tuple(Tag(tag.name, tag.score, tuple(tag.parents)) for tag in self.tags),
            self.refused,
            self.version,
            self.raw if isinstance(self.raw, str) else json.dumps({} if self.raw is None else self.raw),
            billionths(self.price),
            image_id=self.image if isinstance(self.image, int) else None,
        )


class Digest(Protocol):
    """One of hashlib's."""

    def update(self, data: bytes, /) -> None: ...


def answer_lines(path: str, digest: Digest | None = None) -> Iterator[AnswerLine]:
    """The answers in a file, in its order; `digest` has all of its bytes at the end. Raises RaysmoothError for a file
    that cannot be read, and at the end, in one line, naming all lines that are no answers or repeat an earlier one.
    """
    bad: dict[int, str] = {}
    seen: dict[tuple[int | str, str], set[int]] = {}
    with _opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
            if digest is not None:
                digest.update(line)
            if not line.strip():
                continue
            try:
                found = _read(line)
            except BadRecord as refusal:
                bad[number] = str(refusal)
                continue
            draws = seen.setdefault((found.image, found.role), set())
            if found.draw in draws:
                bad[number] = "answers a draw that an earlier line answers"
                continue
            draws.add(found.draw)
            yield found
    if bad:
        raise RaysmoothError(f"{printable(path)}: {_named(bad)}")
    if not seen:
        raise RaysmoothError(f"{printable(path)} has no answers: write one JSON object a line")


def check_answer_lines(path: str) -> int:
    """How many answers a file has. Raises RaysmoothError as `answer_lines`, before anything is done with them."""
    return sum(1 for _ in answer_lines(path))


def _read(line: bytes) -> AnswerLine:
    if len(line) > LONGEST_LINE:
        raise BadRecord(f"longer than {LONGEST_LINE >> 20} MiB")
    return validated(AnswerLine, parsed(line, ""), "")


def _named(bad: dict[int, str]) -> str:
    first = "; ".join(
        f"line {number}: {problem.removeprefix(': ')}" for number, problem in [*bad.items()][:NAMED_LINES]
    )
    others = [str(number) for number in bad][NAMED_LINES:]
    shown = f"; also lines {', '.join(others[:20])}{', ...' if len(others) > 20 else ''}" if others else ""
    return f"{counted(len(bad), 'line')} to be put right: {first}{shown}"


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        refuse_unfit(Path(path).expanduser())
        with Path(path).expanduser().open("rb") as file:
            yield file
    except FileNotFoundError:
        raise RaysmoothError(f"{printable(path)}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise RaysmoothError(f"{printable(path)} cannot be read ({reason})") from None
