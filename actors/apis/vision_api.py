"""What is known of an API beforehand: how its client is made, and the facts that decide how it may be asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysmooth.actors.apis.client import Client, VisionApi
from raysmooth.actors.apis.redaction import RedactingClient
from raysmooth.common.settings import Options


@dataclass(frozen=True)
class ApiEntry:
    """An API by its name in `--classifier NAME:option=value`.

    `options`: what may be written after the name; a `RaysmoothError` of theirs is a refusal. `client` makes the client
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
    client: Callable[[Any, str | None], Client]
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

    def make(self, options: Any, endpoint: str | None) -> VisionApi:
        """The client, whose answers and failures repeat no credential."""
        return RedactingClient(self.client(options, endpoint))
