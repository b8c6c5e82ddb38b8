"""How a fake API behaves: what it refuses, how fast it may be asked, and what goes wrong."""

import hashlib
import random
from enum import Enum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.common.settings import Options

_Share = Annotated[float, Field(ge=0, le=1)]
_Seconds = Annotated[float, Field(ge=0)]
_Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Conduct(Options):
    """Shares are of requests, drawn in the order of their arrival with `seed`; those of `refuse` and `strange` are of
    pictures, by their digests, so that the same picture always fares alike.
    """

    key: str = "fake-key"
    """The only key that it accepts."""
    model: str = "any"
    """The only model that it knows."""
    seed: int = 0
    throttle: _Share = 0.0
    retry_after: _Seconds | None = None
    """What it says when it throttles, where its protocol can."""
    limit: Annotated[float, Field(gt=0)] | None = None
    """Pictures a second, by its clock; those above are throttled."""
    burst: _Count | None = None
    """Pictures at once, after a silence; those of one second unless given."""
    latency: _Seconds = 0.0
    unavailable: _Share = 0.0
    """A server's error before anything is billed."""
    reset: _Share = 0.0
    """The connection is dropped instead of an answer, which is billed."""
    stall: _Share = 0.0
    """An answer, which is billed, takes `stall_seconds` longer."""
    stall_seconds: _Seconds = 3600.0
    rubbish: _Share = 0.0
    """An answer, which is billed, is not what the protocol says."""
    refuse: _Share = 0.0
    """Pictures that it takes offence at."""
    change_after: _Count | None = None
    """Billed pictures after which another version of the model answers."""
    quota: _Count | None = None
    """Pictures that it bills before it says that the account is exhausted."""
    random_answers: _Share = 0.0
    """Answers whose best label is drawn at random, each time again."""
    vocabulary: _Count | None = None
    """How many labels there are beside the classifier's own."""
    strange: _Share = 0.5
    """Pictures whose best label is one of the `vocabulary`."""

    @property
    def versions(self) -> tuple[str, str]:
        """The versions before and after a change."""
        return "2026-01-15", "2026-06-30"


class Trouble(Enum):
    """Why a request has no answer."""

    THROTTLED = "too many requests"
    WRONG_KEY = "the key is not valid"
    UNKNOWN_MODEL = "there is no such model"
    EXHAUSTED = "the account's quota is exhausted"
    UNAVAILABLE = "the service is unavailable"
    RESET = "connection reset"
    RUBBISH = "what is sent is no answer"


class Troubled(Exception):
    """Raised for a request; each protocol says it in its own words."""

    def __init__(self, trouble: Trouble, retry_after: float | None = None) -> None:
        super().__init__(trouble.value)
        self.trouble, self.retry_after = trouble, retry_after


class RateLimit:
    """A bucket that holds `burst` pictures and is refilled by `limit` a second."""

    def __init__(self, limit: float, burst: float) -> None:
        self._limit, self._burst = limit, burst
        self._left = burst
        self._since: float | None = None

    def take(self, pictures: int, now: float) -> bool:
        """Whether these pictures may come in at second `now`; if so, they are taken."""
        silent = 0.0 if self._since is None else now - self._since
        self._left, self._since = min(self._burst, self._left + self._limit * silent), now
        if pictures > self._left:
            return False
        self._left -= pictures
        return True


def share_of(picture: bytes, purpose: str) -> float:
    """A number in [0, 1) that the picture's digest decides, independent for each purpose."""
    return int.from_bytes(hashlib.sha256(purpose.encode() + picture).digest()[:8], "big") / 2**64


def happens(share: float, generator: random.Random) -> bool:
    """Whether something of this probability happens; a number is drawn only where it could."""
    return share > 0 and generator.random() < share
