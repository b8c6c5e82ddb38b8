"""What a replica reports while it asks: one event after another, from the stream of a call. The last one of each draw
is `Answered` or `GivenUp`.
"""

from dataclasses import dataclass

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.queries.draw_key import DrawKey


@dataclass(frozen=True)
class Answered:
    """A draw has its final answer: `tags`, or the reason `refused` why the API gives none for this picture, for good.

    `attempts`: requests sent for it, throttled ones included; 0 if its picture was found to be unfit before that.
    `sent` and `answered`: seconds since the epoch, of the last request. `pixels`: SHA-256, in hex, of the pixels sent.
    `seconds`: making the picture and asking, no waits.
    """

    key: DrawKey
    tags: tuple[Tag, ...]
    refused: str | None
    version: str | None
    raw: str
    attempts: int
    sent: float
    answered: float
    pixels: str
    picture_bytes: int
    seconds: float


@dataclass(frozen=True)
class PermitWanted:
    """A request failed for `reason` and may have been paid for: the replica waits for `permit` before it sends the same
    picture again.
    """

    key: DrawKey
    reason: str


@dataclass(frozen=True)
class ThrottledOnce:
    """The API refused a request as one too many; `rate`: pictures a second from now on, None if unlimited."""

    key: DrawKey
    reason: str
    rate: float | None


@dataclass(frozen=True)
class GivenUp:
    """A draw is left open after `patience`, because its permit was refused, or as all comes to an end: it has no
    answer, and counts nowhere. `billed`: its last request may have been paid for, which no `PermitWanted` has reported.
    """

    key: DrawKey
    reason: str
    billed: bool = False


@dataclass(frozen=True)
class Failed:
    """No further request can succeed: the run stops with this line. Every open draw is given up beside."""

    reason: str


Event = Answered | PermitWanted | ThrottledOnce | GivenUp | Failed
