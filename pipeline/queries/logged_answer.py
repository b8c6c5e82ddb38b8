"""An answer as it is kept: what the API said to one draw, and what it cost."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any
from zlib import crc32

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.actors.queries.events import Answered

BILLIONTHS = 10**9
"""Prices are counted in whole billionths of a dollar, so that sums are exact."""


@dataclass(frozen=True)
class LoggedAnswer:
    """The final answer to a draw: `tags`, or the reason `refused` why there is none. `price` in billionths of a dollar,
    0 if unknown. `attempts`: requests sent for it, 0 for an answer that others have paid for. `sent` and `answered`:
    microseconds since the epoch; `pixels`: SHA-256 of what was sent; both and `picture_bytes` are None where unknown.
    `image_id`: the number of the image in the data set of the run that asked, for the reader.
    """

    key: DrawKey
    tags: tuple[Tag, ...]
    refused: str | None = None
    version: str | None = None
    raw: str = "{}"
    price: int = 0
    attempts: int = 0
    sent: int | None = None
    answered: int | None = None
    pixels: str | None = None
    picture_bytes: int | None = None
    seconds: float = 0.0
    image_id: int | None = None

    @property
    def is_paid(self) -> bool:
        """Whether it is one of the queries that were sent from here."""
        return self.attempts > 0

    @classmethod
    def of(cls, event: Answered, price: int = 0, image_id: int | None = None) -> "LoggedAnswer":
        """That of a replica's event; texts that are no Unicode are escaped, as no file can hold them."""
        return cls(
            event.key,
            tuple(Tag(_text(tag.name), float(tag.score), tuple(map(_text, tag.parents))) for tag in event.tags),
            None if event.refused is None else _text(event.refused),
            None if event.version is None else _text(event.version),
            _text(event.raw),
            price,
            event.attempts,
            round(event.sent * 1e6),
            round(event.answered * 1e6),
            event.pixels,
            event.picture_bytes,
            float(event.seconds),
            image_id,
        )


def billionths(price: float) -> int:
    """A price in dollars, in whole billionths of a dollar, rounded up: no budget is exceeded by rounding."""
    nearest = round(price * BILLIONTHS)
    return nearest if abs(nearest - price * BILLIONTHS) < 1e-3 else int(price * BILLIONTHS) + 1


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_JSON = json.JSONEncoder(separators=(",", ":"))
_values = attrgetter(*(field.name for field in fields(LoggedAnswer) if field.name not in ("key", "tags")))
_STATUS = {True: "answered", False: "refused"}


def to_row(answer: LoggedAnswer) -> dict[str, Any]:
    """The row of an answer in a Parquet part."""
    return {
        "image": answer.key.image,
        "role": int(answer.key.role),
        "draw": answer.key.draw,
        "image_id": answer.image_id,
        "status": _STATUS[answer.refused is None],
        "reason": answer.refused,
        "tags": [{"name": tag.name, "score": tag.score, "parents": list(tag.parents)} for tag in answer.tags],
        "version": answer.version,
        "price": answer.price,
        "attempts": answer.attempts,
        "sent": answer.sent,
        "answered": answer.answered,
        "seconds": answer.seconds,
        "pixels_sha256": answer.pixels,
        "picture_bytes": answer.picture_bytes,
        "raw": answer.raw,
        "checksum": _checksum(answer),
    }


def checked(answer: LoggedAnswer, status: str, checksum: int) -> LoggedAnswer:
    """The answer of a row with this status and checksum. Raises ValueError for one that `to_row` cannot give."""
    if checksum != _checksum(answer) or status != _STATUS[answer.refused is None]:
        raise ValueError(f"draw {answer.key.draw} is not as it was written")
    return answer


def _checksum(answer: LoggedAnswer) -> int:
    """Of all values: the checksums of Parquet are those of pages, and do not cover what says where these are."""
    tags = [(tag.name, tag.score, tag.parents) for tag in answer.tags]
    return crc32(_JSON.encode([answer.key, tags, _values(answer)]).encode())


def grouped(keys: Iterable[DrawKey]) -> list[tuple[str, int, list[int]]]:
    """Keys as (image, role, draws), for records."""
    found: dict[tuple[str, int], list[int]] = {}
    for key in keys:
        found.setdefault((key.image, int(key.role)), []).append(key.draw)
    return [(image, role, draws) for (image, role), draws in found.items()]
