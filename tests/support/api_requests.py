"""One request through an API's real client, and what comes of it."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from fake_pictures import png

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.failures import PictureRefused
from raysmooth.tune.fake_apis.fakes import Running


def colour(red: int, green: int, blue: int, side: int = 8) -> Picture:
    """A picture of one colour, as a file."""
    pixels = np.full((side, side, 3), (red, green, blue), np.uint8)
    return Picture(pixels, png(pixels), "image/png")


RED, GREEN, BLUE = colour(250, 5, 5), colour(5, 250, 5), colour(5, 5, 250)


def asked(api: str, endpoint: str | None, *requests: Sequence[Picture]) -> list[Answer | PictureRefused]:
    """The answers of one client to some requests, one after another."""

    async def ask() -> list[Answer | PictureRefused]:
        _, entry, options = read_api(api)
        entry.check(options, endpoint)
        client = entry.make(options, endpoint)
        try:
            return [answer for pictures in requests for answer in await client.classify(pictures)]
        finally:
            await client.close()

    return asyncio.run(ask())


def with_environment(patch: pytest.MonkeyPatch, fake: Running) -> str:
    """Set what the fake's client needs; the fake's endpoint."""
    for name, value in fake.address.environment.items():
        patch.setenv(name, value)
    return fake.address.endpoint


def best(answer: Answer | PictureRefused) -> str:
    """The label with the highest score."""
    assert isinstance(answer, Answer), answer
    return max(answer.tags, key=lambda tag: tag.score).name
