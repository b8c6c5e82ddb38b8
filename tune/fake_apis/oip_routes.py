"""A server of the Open Inference Protocol, version 2, over REST, with one model of one input and one output.

It also speaks the extension for binary tensors.
"""

import json
from typing import Any

import numpy as np
from aiohttp import web

from raysmooth.tune.fake_apis.conduct import Troubled
from raysmooth.tune.fake_apis.rest_server import STATUSES, answering, retry_header
from raysmooth.tune.fake_apis.service import FakeService

MODEL, INPUT, OUTPUT = "fake", "input", "logits"
HEADER = "Inference-Header-Content-Length"


class _BadRequest(Exception):
    """What a request lacks."""


def oip_routes(service: FakeService) -> list[web.RouteDef]:
    """The protocol's paths below /v2, for the model "fake" or that of the conduct. The key is a bearer token; a request
    without one is taken for one from inside the company.
    """
    name = MODEL if service.conduct.model == "any" else service.conduct.model

    async def healthy(request: web.Request) -> web.Response:
        return web.Response()

    async def server(request: web.Request) -> web.Response:
        return web.json_response({"name": "fake", "version": "1", "extensions": ["binary_tensor_data"]})

    async def model(request: web.Request) -> web.Response:
        if request.match_info["model"] != name:
            return _error(404, f"Request for unknown model: '{request.match_info['model']}' is not found")
        channels, classes = service.classifier.channels or 3, len(service.classifier.labels)
        return web.json_response(
            {
                "name": name,
                "versions": [service.version],
                "platform": "fake",
                "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, channels, -1, -1]}],
                "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, classes]}],
            }
        )

    async def infer(request: web.Request) -> web.Response:
        key = request.headers.get("Authorization", f"Bearer {service.conduct.key}").removeprefix("Bearer ")
        if request.match_info["model"] != name:
            return _error(404, f"Request for unknown model: '{request.match_info['model']}' is not found")
        try:
            asked, batch = _batch(await request.read(), request.headers.get(HEADER), service.classifier.channels)
        except (_BadRequest, ValueError, KeyError, TypeError, AttributeError) as error:
            return _error(400, str(error))
        logits, version = await service.ask_numbers(batch, key, name)
        return _reply(asked, name, version, logits.astype(np.float32))

    def refuse(troubled: Troubled) -> web.Response:
        status = STATUSES[troubled.trouble]
        return web.json_response({"error": str(troubled)}, status=status, headers=retry_header(troubled))

    return [
        web.get("/v2", server),
        web.get("/v2/health/live", healthy),
        web.get("/v2/health/ready", healthy),
        web.get("/v2/models/{model}", model),
        web.get("/v2/models/{model}/ready", healthy),
        web.get("/v2/models/{model}/versions/{version}", model),
        web.post("/v2/models/{model}/infer", answering(infer, refuse)),
        web.post("/v2/models/{model}/versions/{version}/infer", answering(infer, refuse)),
    ]


def _batch(body: bytes, header: str | None, channels: int | None) -> tuple[dict[str, Any], np.ndarray]:
    """The request, and its only input (N, C, H, W)."""
    length = len(body) if header is None else int(header)
    asked = json.loads(body[:length])
    (tensor,) = asked["inputs"]
    if tensor["name"] != INPUT:
        raise _BadRequest(f"unexpected inference input '{tensor['name']}' for model")
    if tensor["datatype"] != "FP32":
        raise _BadRequest(f"inference input data-type is '{tensor['datatype']}', model expects 'FP32'")
    shape = tensor["shape"]
    if len(shape) != 4 or channels not in (None, shape[1]):
        raise _BadRequest(f"unexpected shape for input '{INPUT}': expected [-1,{channels},-1,-1], got {shape}")
    size = tensor.get("parameters", {}).get("binary_data_size")
    if size is None:
        numbers = np.array(tensor["data"], np.float32).ravel()
    else:
        numbers = np.frombuffer(body[length : length + size], "<f4")
    if numbers.size != np.prod(shape):
        raise _BadRequest(f"{numbers.size} values do not fill the shape {shape}")
    return asked, numbers.reshape(shape).astype(np.float32)


def _reply(asked: dict[str, Any], name: str, version: str, logits: np.ndarray) -> web.Response:
    """The answer, binary if the request wants it so."""
    wanted = asked.get("outputs") or [{"name": OUTPUT}]
    if [output["name"] for output in wanted] != [OUTPUT]:
        return _error(400, f"unexpected inference output '{wanted[0]['name']}' for model")
    binary = wanted[0].get("parameters", {}).get("binary_data", False) or asked.get("parameters", {}).get(
        "binary_data_output", False
    )
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(logits.shape)}
    answer = {"model_name": name, "model_version": version, "outputs": [output]}
    if "id" in asked:
        answer["id"] = asked["id"]
    if not binary:
        output["data"] = logits.astype(np.float64).ravel().tolist()
        return web.json_response(answer)
    output["parameters"] = {"binary_data_size": logits.nbytes}
    head = json.dumps(answer).encode()
    return web.Response(
        body=head + logits.astype("<f4").tobytes(),
        content_type="application/octet-stream",
        headers={HEADER: str(len(head))},
    )


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
