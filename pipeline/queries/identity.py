"""What an answer is an answer to: the name under which queries are kept, whatever is computed from them later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.queries.pictures import read_encoding, read_upscale
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.common.hashing import settings_hash

QUERY_SCHEME = 1
"""Version of how a picture is made from an image and a draw's number. Raise it when the same settings would give other
pixels: answers of earlier versions are then asked for again.
"""

NUMBERS = "numbers"
"""The encoding of an API that is sent numbers instead of a picture's file."""


@dataclass(frozen=True, eq=False)
class QueryIdentity:
    """`facts`: all that decides a picture and what is answered to it, as JSON values. Free of n, alpha, label rule,
    data set and device: answers are kept for each draw of each image (DrawKey), and are paid for once.
    """

    facts: Mapping[str, Any]

    @property
    def id(self) -> str:
        """16 hex digits."""
        return settings_hash(self.facts)[:16]

    @property
    def is_reference(self) -> bool:
        """Whether its pictures are the images themselves."""
        return "noise" not in self.facts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QueryIdentity) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    @classmethod
    def of(cls, spec: QuerySpec) -> Self:
        """That of noisy pictures. Raises RaysmoothError as `read_api`."""
        facts = {
            "noise": spec.noise.name,
            "sigma": spec.noise.scale,
            "seed": spec.seed,
            "denoiser": spec.denoiser,
            "denoiser_fingerprint": spec.denoiser_fingerprint,
        }
        return cls(_asked(spec) | facts)

    @classmethod
    def of_reference(cls, spec: QuerySpec) -> Self:
        """That of the images themselves, without noise and denoiser: all noise levels and denoisers share it."""
        return cls(_asked(spec))


def _asked(spec: QuerySpec) -> dict[str, Any]:
    _, entry, options = read_api(spec.api)
    return {
        "scheme": QUERY_SCHEME,
        "api": {**entry.describe(options, spec.endpoint)},
        "encoding": NUMBERS if entry.takes_numbers else read_encoding(spec.encoding).identity,
        "upscale": str(read_upscale(spec.upscale)),
    }
