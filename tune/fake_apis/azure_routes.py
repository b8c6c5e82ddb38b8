"""Azure AI Vision's Image Analysis 4.0, the feature Tags alone."""

from aiohttp import web

from raysmooth.tune.fake_apis.classify import shorter_side
from raysmooth.tune.fake_apis.conduct import Trouble, Troubled
from raysmooth.tune.fake_apis.rest_server import STATUSES, answering, retry_header
from raysmooth.tune.fake_apis.service import FakeService, Offence

_LEAST_SIDE = 51
_CODES = {Trouble.THROTTLED: "429", Trouble.WRONG_KEY: "401", Trouble.EXHAUSTED: "403"}


def azure_routes(service: FakeService) -> list[web.RouteDef]:
    """POST of an image file, with the key in the header Ocp-Apim-Subscription-Key."""

    async def analyze(request: web.Request) -> web.Response:
        if request.query.get("features") != "tags":
            return _error(400, "InvalidRequest", "this fake knows features=tags alone")
        picture = await request.read()
        side = shorter_side(picture)
        if side is not None and side < _LEAST_SIDE:
            return _error(400, "InvalidRequest", "the image must be larger than 50 x 50 pixels", "InvalidImageSize")
        asked = request.query.get("model-version", "latest")
        model = None if asked == "latest" else asked
        (answer,) = await service.ask([picture], request.headers.get("Ocp-Apim-Subscription-Key"), model)
        if isinstance(answer, Offence):
            return _error(400, "InvalidRequest", answer.reason, "InvalidImageFormat")
        tags = [{"name": name, "confidence": score} for name, score in answer.labels]
        return web.json_response(
            {
                "modelVersion": answer.version,
                "metadata": {"width": side, "height": side},
                "tagsResult": {"values": tags},
            }
        )

    def refuse(troubled: Troubled) -> web.Response:
        if troubled.trouble is Trouble.UNKNOWN_MODEL:
            return _error(400, "InvalidRequest", "there is no such model-version", "InvalidModelVersion")
        message = "Out of call volume quota." if troubled.trouble is Trouble.EXHAUSTED else str(troubled)
        code = _CODES.get(troubled.trouble, "InternalServerError")
        response = _error(STATUSES[troubled.trouble], code, message)
        response.headers.update(retry_header(troubled))
        return response

    return [web.post("/computervision/imageanalysis:analyze", answering(analyze, refuse))]


def _error(status: int, code: str, message: str, inner: str | None = None) -> web.Response:
    described: dict[str, object] = {"code": code, "message": message}
    if inner is not None:
        described["innererror"] = {"code": inner, "message": message}
    return web.json_response({"error": described}, status=status)
