"""Google Cloud Vision over REST: label detection. A request without a key is taken for one of a machine's own role."""

import base64
import json
from typing import Any

from aiohttp import web

from raysmooth.tune.fake_apis.conduct import Trouble, Troubled
from raysmooth.tune.fake_apis.rest_server import answering
from raysmooth.tune.fake_apis.service import FakeService, Offence

_PREFIX = "type.googleapis.com/google.rpc"


def google_routes(service: FakeService) -> list[web.RouteDef]:
    """POST /v1/images:annotate with one request a picture; the error of a picture is inside a 200."""

    async def annotate(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())["requests"]
        pictures = [base64.b64decode(one["image"]["content"]) for one in asked]
        feature = asked[0]["features"][0]
        key = request.headers.get("x-goog-api-key", service.conduct.key)
        answers = await service.ask(pictures, key, feature.get("model"))
        responses: list[dict[str, Any]] = [
            {"error": {"code": 3, "message": answer.reason}}
            if isinstance(answer, Offence)
            else {
                "labelAnnotations": [
                    {"mid": f"/m/{name}", "description": name, "score": score, "topicality": score}
                    for name, score in answer.labels[: feature.get("maxResults", 10)]
                ]
            }
            for answer in answers
        ]
        return web.json_response({"responses": responses})

    def refuse(troubled: Troubled) -> web.Response:
        status, name, about, retry_after = google_refusal(troubled)
        details: list[dict[str, Any]] = [{"@type": f"{_PREFIX}.ErrorInfo", "domain": "googleapis.com", **about}]
        if retry_after is not None:
            details.append({"@type": f"{_PREFIX}.RetryInfo", "retryDelay": f"{retry_after:g}s"})
        described = {"code": status, "message": str(troubled), "status": name, "details": details}
        return web.json_response({"error": described}, status=status)

    return [web.post("/v1/images:annotate", answering(annotate, refuse))]


def google_refusal(troubled: Troubled) -> tuple[int, str, dict[str, Any], float | None]:
    """HTTP status, name of gRPC's status, the reason and metadata of an ErrorInfo, and seconds to wait."""
    status, name, reason, unit = {
        Trouble.THROTTLED: (429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "1/min/{project}"),
        Trouble.EXHAUSTED: (429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", "1/d/{project}"),
        Trouble.WRONG_KEY: (400, "INVALID_ARGUMENT", "API_KEY_INVALID", ""),
        Trouble.UNKNOWN_MODEL: (400, "INVALID_ARGUMENT", "UNSUPPORTED_MODEL", ""),
    }.get(troubled.trouble, (503, "UNAVAILABLE", "UNAVAILABLE", ""))
    return status, name, {"reason": reason, "metadata": {"quota_unit": unit} if unit else {}}, troubled.retry_after
