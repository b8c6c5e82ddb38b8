"""A fake API without a protocol: pictures are billed and classified, and things go wrong as its conduct says."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from raysmooth.tune.fake_apis.bill import Bill
from raysmooth.tune.fake_apis.classify import PixelClassifier, nearest_colour
from raysmooth.tune.fake_apis.conduct import Conduct, RateLimit, Trouble, Troubled, happens, share_of


@dataclass(frozen=True)
class Scores:
    """All labels of one picture with their softmax, the highest first, and the version of the model."""

    labels: list[tuple[str, float]]
    version: str


@dataclass(frozen=True)
class Offence:
    """A picture is refused, for good: one that cannot be decoded, or by the conduct's rule."""

    reason: str
    version: str


@dataclass
class FakeService:
    """What the routes of each protocol ask. `clock` gives seconds."""

    conduct: Conduct = field(default_factory=Conduct)
    classifier: PixelClassifier = field(default_factory=nearest_colour)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.bill = Bill(self.clock)
        self._generator = random.Random(self.conduct.seed)
        limit = self.conduct.limit
        self._limit = None if limit is None else RateLimit(limit, self.conduct.burst or max(1.0, limit))

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels that it can answer, the classifier's first."""
        return (*self.classifier.labels, *(f"thing {number}" for number in range(self.conduct.vocabulary or 0)))

    @property
    def version(self) -> str:
        """The version that answers now."""
        before, after = self.conduct.versions
        changed = self.conduct.change_after is not None and self.bill.billed >= self.conduct.change_after
        return after if changed else before

    async def ask(self, pictures: Sequence[bytes], key: str | None, model: str | None = None) -> list[Scores | Offence]:
        """The answers to image files. Raises Troubled."""
        version = await self._admit(pictures, key, model)
        answers = [self._answer(picture, version) for picture in pictures]
        await self._deliver()
        return answers

    async def ask_numbers(self, batch: np.ndarray, key: str | None, model: str | None = None) -> tuple[np.ndarray, str]:
        """The logits (N, K) of pixels, float32 (N, C, H, W), and the version. Raises Troubled."""
        version = await self._admit([one.tobytes() for one in batch], key, model)
        logits = self.classifier.logits(batch)
        for row in logits:
            if happens(self.conduct.random_answers, self._generator):
                row[self._generator.randrange(len(row))] = row.max() + 1
        await self._deliver()
        return logits, version

    async def _admit(self, pictures: Sequence[bytes], key: str | None, model: str | None) -> str:
        """Bill the pictures, unless the request is refused; the version that answers."""
        conduct = self.conduct
        self.bill.receive(len(pictures))
        if key != conduct.key:
            raise Troubled(Trouble.WRONG_KEY)
        if model is not None and conduct.model not in ("any", model):
            raise Troubled(Trouble.UNKNOWN_MODEL)
        too_many = self._limit is not None and not self._limit.take(len(pictures), self.clock())
        if too_many or happens(conduct.throttle, self._generator):
            self.bill.throttle(len(pictures))
            raise Troubled(Trouble.THROTTLED, conduct.retry_after)
        if conduct.quota is not None and self.bill.billed + len(pictures) > conduct.quota:
            raise Troubled(Trouble.EXHAUSTED)
        if happens(conduct.unavailable, self._generator):
            raise Troubled(Trouble.UNAVAILABLE)
        version = self.version
        self.bill.charge(pictures, version)
        return version

    async def _deliver(self) -> None:
        """What may happen to an answer on its way."""
        conduct = self.conduct
        stalled = happens(conduct.stall, self._generator)
        if conduct.latency or stalled:
            await asyncio.sleep(conduct.latency + (conduct.stall_seconds if stalled else 0.0))
        if happens(conduct.reset, self._generator):
            raise Troubled(Trouble.RESET)
        if happens(conduct.rubbish, self._generator):
            raise Troubled(Trouble.RUBBISH)

    def _answer(self, picture: bytes, version: str) -> Scores | Offence:
        conduct = self.conduct
        if conduct.refuse and share_of(picture, "refuse") < conduct.refuse:
            self.bill.refuse()
            return Offence("the picture violates the content policy", version)
        try:
            labels = self.classifier.scores(picture)
        except ValueError as error:
            self.bill.refuse()
            return Offence(f"bad picture: {error}", version)
        if happens(conduct.random_answers, self._generator):
            best = self._generator.randrange(len(labels))
            names = [name for name, _ in labels]
            names.insert(0, names.pop(best))
            labels = list(zip(names, (score for _, score in labels), strict=True))
        if conduct.vocabulary and share_of(picture, "strange") < conduct.strange:
            number = int(share_of(picture, "which") * conduct.vocabulary)
            labels = [(f"thing {number}", 0.5), *((name, score / 2) for name, score in labels)]
        return Scores(labels, version)
