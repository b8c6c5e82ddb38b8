"""What comes of answers that no protocol foresees: pictures without an answer, or one of the failures."""

import asyncio
import json
import math
from collections.abc import Sequence

from aiohttp import web

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.client import VisionApi
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.tune.fake_apis.rest_server import rest_server
from raysmooth.tune.fake_apis.service import FakeService

FOLLOWED = (Answer, PictureRefused, ApiFailure, Throttled, Transient)


def followed(outcome: object, what: object) -> None:
    """An outcome that is foreseen, and can be logged."""
    assert isinstance(outcome, FOLLOWED), (what, outcome)
    if isinstance(outcome, Answer):
        assert all(tag.name and isinstance(tag.name, str) and math.isfinite(tag.score) for tag in outcome.tags)
    if isinstance(outcome, Answer | PictureRefused):
        assert outcome.version is None or isinstance(outcome.version, str)
        json.loads(outcome.raw)


def outcomes_over_rest(
    api: str, picture: Picture, answers: Sequence[bytes], status: int = 200, kind: str = "application/json"
) -> list[object]:
    """What comes of each of `answers`, sent with this status and content type."""
    bodies = iter(answers)

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=next(bodies), status=status, content_type=kind)

    async def ask() -> list[object]:
        async with rest_server(FakeService(), [web.post("/{path:.*}", handle)]) as endpoint:
            _, entry, options = read_api(api)
            return await outcomes_of(entry.make(options, endpoint), picture, len(answers))

    found = asyncio.run(ask())
    assert len(found) == len(answers)
    return found


async def outcomes_of(client: VisionApi, picture: Picture, times: int) -> list[object]:
    """Those of the same request, one after the other; the client is closed then."""
    found: list[object] = []
    for _ in range(times):
        try:
            found += await client.classify([picture])
        except (ApiFailure, Throttled, Transient) as failure:
            found.append(failure)
    await client.close()
    return found
