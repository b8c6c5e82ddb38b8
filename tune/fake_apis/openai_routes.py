"""A chat endpoint in OpenAI's protocol: it sees a picture in a chat, and answers with one of the labels it is given."""

import base64
import json
from typing import Any

from aiohttp import web

from raysmooth.tune.fake_apis.conduct import Trouble, Troubled
from raysmooth.tune.fake_apis.rest_server import STATUSES, answering, retry_header
from raysmooth.tune.fake_apis.service import FakeService, Offence

ERRORS = {
    Trouble.THROTTLED: ("rate_limit_exceeded", "requests"),
    Trouble.WRONG_KEY: ("invalid_api_key", "invalid_request_error"),
    Trouble.UNKNOWN_MODEL: ("model_not_found", "invalid_request_error"),
    Trouble.EXHAUSTED: ("insufficient_quota", "insufficient_quota"),
    Trouble.UNAVAILABLE: ("server_error", "server_error"),
}
"""Code and type."""


def openai_routes(service: FakeService) -> list[web.RouteDef]:
    """POST /v1/chat/completions. The answer is the best of the service's labels that the request knows: those of the
    schema, or all that are lines of the prompt; without one, a text that is no label. Without a schema labels come in
    capitals and with a line break, as from a real model.
    """

    async def complete(request: web.Request) -> web.Response:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            asked = json.loads(await request.read())
            prompt, picture = _content(asked)
        except (ValueError, TypeError, KeyError) as error:
            return _error(400, f"bad request: {error}", "invalid_value")
        (answer,) = await service.ask([picture], key, asked["model"])
        if isinstance(answer, Offence):
            return _error(400, answer.reason, "image_content_policy_violation")
        schema = asked.get("response_format", {}).get("json_schema", {}).get("schema")
        known = prompt.splitlines() if schema is None else schema["properties"]["label"]["enum"]
        label = next((name for name, _ in answer.labels if name in known), "I cannot tell.")
        text = f"{label.upper()}\n" if schema is None else json.dumps({"label": label})
        return web.json_response(_completion(asked["model"], text, answer.version))

    def refuse(troubled: Troubled) -> web.Response:
        code, kind = ERRORS[troubled.trouble]
        status = 429 if troubled.trouble is Trouble.EXHAUSTED else STATUSES[troubled.trouble]
        return _error(status, str(troubled), code, kind, retry_header(troubled))

    return [web.post("/v1/chat/completions", answering(complete, refuse))]


def _content(asked: dict[str, Any]) -> tuple[str, bytes]:
    """The text and the picture of a chat. Raises ValueError, TypeError or KeyError for one without."""
    parts = {part["type"]: part for message in asked["messages"] for part in message["content"]}
    head, _, data = parts["image_url"]["image_url"]["url"].partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise ValueError("the image is no data URL")
    return parts["text"]["text"], base64.b64decode(data, validate=True)


def _completion(model: str, text: str, version: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": model,
        "system_fingerprint": f"fp_{version}",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 85, "completion_tokens": 8, "total_tokens": 93},
    }


def _error(
    status: int, message: str, code: str, kind: str = "invalid_request_error", headers: dict[str, str] | None = None
) -> web.Response:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return web.json_response(body, status=status, headers=headers)
