"""What stands in a journal, one record a line: a head, then what was sent, abandoned and answered, in that order."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.pipeline.queries.charges import SentQueries
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer, grouped
from raysmooth.storage.records import BadRecord, Record, RunId, Seconds, Sha256, parsed, shown, validated

MOST_DRAWS = 2**32
"""Draws of an image in one role."""

Draw = Annotated[int, Field(ge=0, lt=MOST_DRAWS)]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
"""Numbers of draws, microseconds, billionths of a dollar."""

RoleNumber = Annotated[int, Field(ge=0, lt=len(Role))]


class OpenRecord(Record):
    """Requests for one draw that have no answer, and their prices."""

    image: Sha256
    role: RoleNumber
    draw: Draw
    prices: list[Whole]


class HeadRecord(Record):
    """The first of a journal: answers of journals with lower numbers are in parts, and what these leave unanswered is
    carried over.
    """

    identity: RunId
    number: Whole
    lost: Whole
    lost_cost: Whole
    open: list[OpenRecord]

    @property
    def left(self) -> SentQueries:
        """What earlier journals leave unanswered."""
        flying = {DrawKey(one.image, Role(one.role), one.draw): list(one.prices) for one in self.open}
        return SentQueries(flying, self.lost, self.lost_cost)


class SessionRecord(Record):
    """Another process begins: what the one before it had in flight has no answer."""


class DrawsRecord(Record):
    """Draws of one image."""

    image: Sha256
    role: RoleNumber
    draws: list[Draw]


class _KeysRecord(Record):
    """Draws of any images."""

    keys: list[DrawsRecord]

    @property
    def all_keys(self) -> list[DrawKey]:
        return [DrawKey(one.image, Role(one.role), draw) for one in self.keys for draw in one.draws]


class SentRecord(_KeysRecord):
    """Draws that are about to be sent, for `price` each."""

    price: Whole


class AbandonedRecord(_KeysRecord):
    """Draws of which one request each was not billed."""


class WastedRecord(Record):
    """An answer to a draw that has one already."""

    image: Sha256
    role: RoleNumber
    draw: Draw
    price: Whole

    @property
    def key(self) -> DrawKey:
        return DrawKey(self.image, Role(self.role), self.draw)


class TagRecord(Record):
    name: str
    score: float | Literal["nan", "inf", "-inf"]
    parents: list[str]


class AnswerRecord(Record):
    """The final answer to a draw, as `LoggedAnswer`."""

    image: Sha256
    role: RoleNumber
    draw: Draw
    tags: list[TagRecord]
    refused: str | None
    version: str | None
    raw: str
    price: Whole
    attempts: Whole
    sent: Whole | None
    answered: Whole | None
    pixels: Sha256 | None
    picture_bytes: Whole | None
    seconds: Seconds
    image_id: Whole | None

    @property
    def answer(self) -> LoggedAnswer:
        tags = tuple(Tag(tag.name, float(tag.score), tuple(tag.parents)) for tag in self.tags)
        own = {name: getattr(self, name) for name in AnswerRecord.model_fields if name not in _KEY}
        return LoggedAnswer(**{**own, "key": DrawKey(self.image, Role(self.role), self.draw), "tags": tags})


JournalRecord = HeadRecord | SessionRecord | SentRecord | AbandonedRecord | WastedRecord | AnswerRecord

_KEY = ("image", "role", "draw")
_KINDS: Mapping[str, type[JournalRecord]] = {
    "head": HeadRecord,
    "session": SessionRecord,
    "sent": SentRecord,
    "abandoned": AbandonedRecord,
    "wasted": WastedRecord,
    "answer": AnswerRecord,
}


def read_journal_record(payload: bytes, where: str) -> JournalRecord:
    """The record in a line. Raises BadRecord, naming `where`, for another one."""
    value = parsed(payload, where)
    kind = value.pop("kind", None) if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise BadRecord(f"{where}: kind is {shown(kind)}, expected one of {', '.join(_KINDS)}")
    return validated(_KINDS[kind], value, where)


def head(identity: str, number: int, left: SentQueries) -> bytes:
    """The first line of a journal."""
    flying = [{**_key(key), "prices": prices} for key, prices in left.in_flight.items()]
    return _line("head", identity=identity, number=number, lost=left.lost, lost_cost=left.lost_cost, open=flying)


def session() -> bytes:
    return _line("session")


def sent(keys: Iterable[DrawKey], price: int) -> bytes:
    return _line("sent", keys=_keys(keys), price=price)


def abandoned(keys: Iterable[DrawKey]) -> bytes:
    return _line("abandoned", keys=_keys(keys))


def wasted(key: DrawKey, price: int) -> bytes:
    return _line("wasted", **_key(key), price=price)


def answered(answer: LoggedAnswer) -> bytes:
    own = {name: getattr(answer, name) for name in AnswerRecord.model_fields if name not in (*_KEY, "tags")}
    tags = [{"name": tag.name, "score": _score(tag.score), "parents": tag.parents} for tag in answer.tags]
    return _line("answer", **_key(answer.key), tags=tags, **own)


def _line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"kind": kind, **fields}, allow_nan=False, separators=(",", ":")).encode()


def _score(score: float) -> float | str:
    """JSON has no numbers that are none."""
    return score if math.isfinite(score) else str(score)


def _key(key: DrawKey) -> dict[str, Any]:
    return {"image": key.image, "role": int(key.role), "draw": key.draw}


def _keys(keys: Iterable[DrawKey]) -> list[dict[str, Any]]:
    return [{"image": image, "role": role, "draws": draws} for image, role, draws in grouped(keys)]
