"""A classifier behind HTTP as companies have them: bytes or JSON in, JSON out."""

import base64
import json

from aiohttp import web

from raysmooth.tune.fake_apis.conduct import Troubled
from raysmooth.tune.fake_apis.rest_server import STATUSES, answering, retry_header
from raysmooth.tune.fake_apis.service import FakeService, Offence


def http_routes(service: FakeService) -> list[web.RouteDef]:
    """POST /classify takes an image file, or {"image": base64}, with the key in the header X-Api-Key. It answers
    {"labels": [{"label", "score"}, ...], "version"}, or 422 for a picture that it refuses. POST /scores answers a plain
    map of labels to scores.
    """

    async def classify(request: web.Request) -> web.Response:
        body = await request.read()
        if request.content_type == "application/json":
            try:
                body = base64.b64decode(json.loads(body)["image"])
            except (ValueError, TypeError, KeyError) as error:
                return web.json_response({"error": f"bad body: {error}"}, status=400)
        (answer,) = await service.ask([body], request.headers.get("X-Api-Key"))
        if isinstance(answer, Offence):
            return web.json_response({"error": answer.reason, "version": answer.version}, status=422)
        if request.path == "/scores":
            return web.json_response(dict(answer.labels))
        labels = [{"label": name, "score": score} for name, score in answer.labels]
        return web.json_response({"labels": labels, "version": answer.version})

    def refuse(troubled: Troubled) -> web.Response:
        status = STATUSES[troubled.trouble]
        return web.json_response({"error": str(troubled)}, status=status, headers=retry_header(troubled))

    handler = answering(classify, refuse)
    return [web.post("/classify", handler), web.post("/scores", handler)]
