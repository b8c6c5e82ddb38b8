"""What a fake API would have billed, by its own clock."""

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any


class Bill:
    """Counts pictures as they come in. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.requests = self.received = self.billed = self.throttled = self.refused = 0
        self._digests: Counter[str] = Counter()
        self._versions: Counter[str] = Counter()
        self._received, self._billed = _Busiest(), _Busiest()

    def receive(self, pictures: int) -> None:
        """A request with this number of pictures has arrived."""
        self.requests += 1
        self.received += pictures
        self._received.add(self._clock(), pictures)

    def throttle(self, pictures: int) -> None:
        """It was refused as one too many: not billed."""
        self.throttled += pictures

    def refuse(self) -> None:
        """A picture is refused for what it shows, which is billed too."""
        self.refused += 1

    def charge(self, pictures: Sequence[bytes], version: str) -> None:
        """They are classified, whether the answer arrives or not."""
        self.billed += len(pictures)
        self._digests.update(hashlib.sha256(picture).hexdigest() for picture in pictures)
        self._versions[version] += len(pictures)
        self._billed.add(self._clock(), len(pictures))

    def as_json(self) -> dict[str, Any]:
        """Counts of pictures but for `requests`: `distinct` by their bytes, `most_times` for the one that was billed
        most often; `most_in_a_second` received, whether throttled or not, and billed, in any span of a second.
        """
        return {
            "requests": self.requests,
            "received": self.received,
            "billed": self.billed,
            "throttled": self.throttled,
            "refused": self.refused,
            "distinct": len(self._digests),
            "most_times": max(self._digests.values(), default=0),
            "most_in_a_second": self._received.most,
            "most_billed_in_a_second": self._billed.most,
            "versions": dict(self._versions),
        }


class _Busiest:
    """The largest number within any span of less than a second."""

    def __init__(self) -> None:
        self.most = self._inside = 0
        self._events: deque[tuple[float, int]] = deque()

    def add(self, moment: float, number: int) -> None:
        self._events.append((moment, number))
        self._inside += number
        while moment - self._events[0][0] >= 1.0:
            self._inside -= self._events.popleft()[1]
        self.most = max(self.most, self._inside)
