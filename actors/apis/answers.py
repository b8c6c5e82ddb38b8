"""What an adapter is given and what it returns: pictures, and answers or the reason why there is none."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from raysmooth.common.errors import printable

OTHER = "(other)"
"""The label of an answer that names none of the labels that are asked for. An ordinary label: it can be a prediction.
"""

NO_TAGS, NO_ANSWER = "(none)", "(error)"
"""Names of what is no label: an empty answer, and a picture that the API refuses. Such draws support no class."""

RESERVED = (OTHER, NO_TAGS, NO_ANSWER)
"""Names that no label of an API may have."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What is sent for one draw. `pixels`: uint8 (H, W, C) as encoded, or float32 (C, H, W) for an API that takes
    numbers. `encoded`: the bytes of the image file, None for numbers; `media_type`: such as "image/png".
    """

    pixels: np.ndarray
    encoded: bytes | None = None
    media_type: str | None = None


@dataclass(frozen=True)
class Tag:
    """A label that an API gives to a picture, as the API writes it, with its score. `parents`: labels that this one is
    a kind of, where the API says so.
    """

    name: str
    score: float
    parents: tuple[str, ...] = ()


def read_tag(name: object, score: object, parents: Iterable[object] = ()) -> Tag:
    """A tag as an answer has it. Raises ValueError for a name that is no text and a score that is no finite number."""
    above = tuple(parents)
    for text in (name, *above):
        if not isinstance(text, str) or not text:
            raise ValueError(f"{printable(repr(text))} is no label")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise ValueError(f"{printable(repr(score))} is no score")
    return Tag(str(name), float(score), tuple(map(str, above)))


@dataclass(frozen=True)
class Answer:
    """An API's answer to one picture. `tags` in its own order, empty where it found none. `version`: the version of the
    model that answered, None where the API names none. `raw`: the answer as JSON text, for the log.
    """

    tags: tuple[Tag, ...]
    version: str | None = None
    raw: str = "{}"
