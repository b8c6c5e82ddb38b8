"""What every adapter is: a client of one API, which sends one request at a time and reads its answer."""

from collections.abc import Collection, Sequence
from typing import Protocol

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.failures import PictureRefused


class VisionApi(Protocol):
    """A client, made and used inside one event loop. SDKs' own retries are off: they hide what is billed."""

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        """One request with one to `ApiEntry.most_pictures` pictures: for each its answer, or why there is none.

        Raises Throttled, Transient and ApiFailure, which concern the whole request.
        """

    async def close(self) -> None:
        """Close its connections."""


class Client(VisionApi, Protocol):
    """An adapter's own."""

    @property
    def secrets(self) -> Collection[str]:
        """The credentials that it sends now: they are taken out of all that it returns or raises."""
