"""One request to an API through its adapter and the vendor's real client."""

import asyncio
import io

import numpy as np
from PIL import Image

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.client import VisionApi
from raysmooth.actors.apis.failures import PictureRefused


def picture_of(encoded: bytes) -> Picture:
    """What a replica would hand over for an image file."""
    pixels = np.asarray(Image.open(io.BytesIO(encoded)))
    return Picture(np.atleast_3d(pixels), encoded, "image/png")


def asked(
    classifier: str, endpoint: str, picture: bytes | Picture, times: int = 1, timeout: float = 20.0
) -> list[Answer | PictureRefused | Exception]:
    """The outcomes, answers or what is raised, of the same request, sent `times` at once by one client."""
    _, entry, options = read_api(classifier)
    ready = picture if isinstance(picture, Picture) else picture_of(picture)

    async def one(client: VisionApi) -> Answer | PictureRefused | Exception:
        try:
            (answer,) = await asyncio.wait_for(client.classify([ready]), timeout)
        except Exception as error:  # whichever it is, the test says which it has to be
            return error
        return answer

    async def all_of_them() -> list[Answer | PictureRefused | Exception]:
        client = entry.make(options, endpoint)
        try:
            return list(await asyncio.gather(*(one(client) for _ in range(times))))
        finally:
            await client.close()

    return asyncio.run(all_of_them())


def names(answer: object) -> list[str]:
    """The labels of an answer, in its order."""
    assert isinstance(answer, Answer), answer
    return [tag.name for tag in answer.tags]
