"""A vision API without a network: the pixels of a picture decide the answer, and a script what goes wrong."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import Answer, Picture, Tag
from raysmooth.actors.apis.failures import PictureRefused
from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.common.settings import Options

Happening = Exception | Answer | float | None
"""Of one request: it raises, answers that, takes that many seconds, or goes well."""


def tag_of(picture: Picture) -> Answer:
    """The answer to a picture: "dark", "grey" or "bright", by its mean."""
    mean = float(np.mean(picture.pixels)) / 255
    name = "dark" if mean < 0.4 else "bright" if mean > 0.6 else "grey"
    return Answer((Tag(name, 0.9), Tag("picture", 0.5)), version="1")


class ScriptedApi:
    """Requests go as `script` has it, in the order of their arrival, and well after its end."""

    def __init__(self, script: Iterable[Happening] = (), latency: float = 0.0) -> None:
        self.script = list(script)
        self.latency = latency
        self.requests: list[list[bytes]] = []
        self.in_flight = self.most_in_flight = 0
        self.closed = False
        self.secrets: tuple[str, ...] = ()

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        self.requests.append([picture.pixels.tobytes() for picture in pictures])
        happening = self.script.pop(0) if self.script else None
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(happening if isinstance(happening, float) else self.latency)
        finally:
            self.in_flight -= 1
        if isinstance(happening, PictureRefused):
            return [happening for _ in pictures]
        if isinstance(happening, Exception):
            raise happening
        return [happening if isinstance(happening, Answer) else tag_of(picture) for picture in pictures]

    async def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class ScriptedOptions(Options):
    number: int = 0


def entry(api: Callable[[], Any], check: Callable[[], None] = lambda: None, **facts: Any) -> ApiEntry:
    """An entry of VISION_APIS whose client is `api()`."""
    described: Mapping[str, Any] = {"api": "scripted"}
    return ApiEntry(
        "scripted",
        ScriptedOptions,
        lambda options, endpoint: api(),
        lambda options, endpoint: check(),
        lambda options, endpoint: described,
        **facts,
    )
