"""Rekognition's DetectLabels as AWS's JSON 1.1 protocol has it. Signatures are not verified, only whose key it is."""

import base64
import json
import re

from aiohttp import web

from raysmooth.tune.fake_apis.classify import shorter_side
from raysmooth.tune.fake_apis.conduct import Trouble, Troubled
from raysmooth.tune.fake_apis.rest_server import answering, retry_header
from raysmooth.tune.fake_apis.service import FakeService, Offence

_LEAST_SIDE = 80
_TARGET = "RekognitionService.DetectLabels"


def aws_routes(service: FakeService) -> list[web.RouteDef]:
    """POST / with the header X-Amz-Target. Throttling is a 400, under both of AWS's names for it."""

    async def detect_labels(request: web.Request) -> web.Response:
        if request.headers.get("X-Amz-Target") != _TARGET:
            return _error(400, "UnknownOperationException", f"the header X-Amz-Target is not {_TARGET}")
        body = json.loads(await request.read())
        picture = base64.b64decode(body["Image"]["Bytes"])
        side = shorter_side(picture)
        if side is not None and side < _LEAST_SIDE:
            return _error(400, "InvalidParameterException", f"the image is smaller than {_LEAST_SIDE} pixels")
        key = re.search("Credential=([^/]+)/", request.headers.get("Authorization", ""))
        (answer,) = await service.ask([picture], key and key[1])
        if isinstance(answer, Offence):
            return _error(400, "InvalidImageFormatException", answer.reason)
        labels = [
            {"Name": name, "Confidence": 100 * score, "Instances": [], "Parents": [], "Aliases": [], "Categories": []}
            for name, score in answer.labels[: body.get("MaxLabels", 1000)]
            if 100 * score >= body.get("MinConfidence", 55)
        ]
        return _amazon({"Labels": labels, "LabelModelVersion": answer.version})

    def refuse(troubled: Troubled) -> web.Response:
        throttled = ("ThrottlingException", "ProvisionedThroughputExceededException")
        status, code = {
            Trouble.THROTTLED: (400, throttled[service.bill.throttled % 2]),
            Trouble.WRONG_KEY: (400, "UnrecognizedClientException"),
            Trouble.EXHAUSTED: (400, "LimitExceededException"),
        }.get(troubled.trouble, (500, "InternalServerError"))
        return _error(status, code, str(troubled), retry_header(troubled))

    return [web.post("/", answering(detect_labels, refuse))]


def _amazon(content: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = json.dumps(content).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/x-amz-json-1.1")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return _amazon({"__type": code, "Message": message}, status, {**(headers or {}), "x-amzn-ErrorType": code})
