"""What every adapter is: a client of one API, and the facts of that API that decide how it may be asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.failures import PictureRefused
from raysmooth.common.settings import Options


class VisionApi(Protocol):
    """A client, made and used inside one event loop. SDKs' own retries are off: they hide what is billed."""

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        """One request with one to `ApiEntry.most_pictures` pictures: for each its answer, or why there is none.

        Raises Throttled, Transient and ApiFailure, which concern the whole request.
        """

    async def close(self) -> None:
        """Close its connections."""


@dataclass(frozen=True)
class ApiEntry:
    """An API by its name in `--classifier NAME:option=value`.

    `options`: what may be written after the name; a `RaysmoothError` of theirs is a refusal. `make` makes the client
    from (options, endpoint), with credentials from the vendor's own chain or a named environment variable. `check`
    raises RaysmoothError, sending nothing, where the SDK is not installed, the endpoint or the credentials are missing.
    `describe`, of (options, endpoint), is all that decides the answers, as JSON values, with digests in place of files:
    never a credential. `closed_labels`, of the options, are the names of all labels, None where it is open.

    `price_per_1000`: dollars for 1,000 pictures by the price list; `rate`: pictures a second by the usual quota;
    `concurrency`: requests in flight; `most_pictures`: pictures in a request. `least_side`: pixels that the shorter
    side must have; `most_bytes`: of a picture's file. `takes_numbers`: it is sent float32 pixels, not an image file.
    None is "no such limit", and an unknown price. `files`: options that name files, which differ in their places
    between machines. `by_options`: those of these facts that depend on the options.
    """

    summary: str
    options: type[Options]
    make: Callable[[Any, str | None], VisionApi]
    check: Callable[[Any, str | None], None]
    describe: Callable[[Any, str | None], Mapping[str, Any]]
    closed_labels: Callable[[Any], Sequence[str] | None] = lambda options: None
    price_per_1000: float | None = None
    rate: float | None = None
    concurrency: int = 8
    most_pictures: int = 1
    least_side: int | None = None
    most_bytes: int | None = None
    takes_numbers: bool = False
    files: tuple[str, ...] = ()
    by_options: Callable[[Any], Mapping[str, Any]] = lambda options: {}
