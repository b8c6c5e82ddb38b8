"""A multimodal language model behind an OpenAI-compatible chat endpoint, as a classifier, through OpenAI's own client.

A fixed prompt, a closed list of labels, and temperature 0; what is none of the labels is the label "(other)", which
counts like any other and is never asked again. Such a model may answer differently each time: that is a random f, which
smoothing allows, as long as the model itself stays the same. It has no usual price and rate: they depend on the model.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import OTHER, Answer, Picture, Tag
from raysmooth.actors.apis.connections import (
    KeyVariable,
    read_address,
    read_key,
    require_library,
    seconds_to_wait,
    written_endpoint,
)
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.actors.apis.label_files import described_labels, read_class_names, read_label_text
from raysmooth.actors.apis.rest_client import DOUBTS, Reply
from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.common.settings import Options

OPENAI = "https://api.openai.com/v1"

PROMPT = "Classify the image. Answer with exactly one of these labels, and nothing else:\n{labels}"
"""{labels} stands for the labels, one a line."""

_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_PICTURE = ("image", "content_filter", "content_policy", "moderation", "safety")
"""Parts of the codes of errors that a picture causes."""

_TOKENS_AROUND, _TOKENS_TO_REASON = 16, 4096
"""For JSON around a label, and for thoughts before it. A token of the label is at least a byte."""

_SECONDS_TO_CONNECT = 10.0


@dataclass(frozen=True)
class ChatOptions(Options):
    """Files of labels and of a prompt; the model; what a server must be asked for in a way of its own."""

    model: str = Field(
        description="as the endpoint calls it; a dated one does not change", examples=["gpt-4.1-mini-2025-04-14"]
    )
    labels: str = Field(description="a file with all labels, one a line", examples=["labels.txt"])
    prompt: Annotated[str | None, Field(description="a file; {labels} in it stands for the labels, one a line")] = None
    format: Annotated[Literal["schema", "text"], Field(description="schema or text")] = "schema"
    """`schema`: structured output, where the server has it: the answer can be one of the labels alone."""
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    detail: Annotated[Literal["auto", "low", "high"], Field(description="auto, low or high")] = "auto"
    reasoning: bool = False
    """The model reasons first: it takes no temperature, and counts these tokens too."""
    fingerprint: bool = True
    """Whether another system_fingerprint is another version of the model, at which a run stops."""
    key_env: Annotated[KeyVariable, Field(description="environment variable with the key")] = "OPENAI_API_KEY"
    keyless: bool = False
    """The server takes no key."""
    plain_http: bool = False


def describe(options: ChatOptions, endpoint: str | None) -> Mapping[str, Any]:
    labels = _labels(options)
    return {
        "api": "openai",
        "endpoint": written_endpoint("openai", endpoint, options.plain_http),
        "model": options.model,
        "prompt_sha256": hashlib.sha256(_prompt(options, labels).encode()).hexdigest(),
        **described_labels(labels),
        "format": options.format,
        "max_tokens": _most_tokens(options, labels),
        "temperature": None if options.reasoning else 0,
        "detail": options.detail,
        "parser": "trim, casefold",
    }


def closed_labels(options: ChatOptions) -> tuple[str, ...]:
    return (*_labels(options), OTHER)


def check(options: ChatOptions, endpoint: str | None) -> None:
    if endpoint is not None:
        read_address("openai", endpoint, options.plain_http)
    require_library("openai", "openai")
    if not options.keyless:
        read_key("openai", options.key_env)
    _prompt(options, _labels(options))


def _labels(options: ChatOptions) -> tuple[str, ...]:
    """The labels in the file. Raises RaysmoothError for two that differ in capitals alone, and for reserved names."""
    flag = f"openai:labels={printable(options.labels)}"
    labels = read_class_names(flag, options.labels)
    seen: dict[str, str] = {}
    for label in labels:
        if (other := seen.setdefault(label.casefold(), label)) != label:
            raise RaysmoothError(
                f"{flag}: '{printable(other)}' and '{printable(label)}' differ in capitals alone, which answers need "
                "not keep: write different labels"
            )
    return labels


def _prompt(options: ChatOptions, labels: Sequence[str]) -> str:
    flag = "openai:prompt"
    text = PROMPT if options.prompt is None else read_label_text(f"{flag}={printable(options.prompt)}", options.prompt)
    if not text.strip():
        raise RaysmoothError(f"{flag}={printable(options.prompt or '')} is empty: write what the model is to do")
    return text.replace("{labels}", "\n".join(labels)).strip()


def _most_tokens(options: ChatOptions, labels: Sequence[str]) -> int:
    enough = _TOKENS_AROUND + max(len(label.encode()) for label in labels)
    return options.max_tokens or enough + (_TOKENS_TO_REASON if options.reasoning else 0)


class ChatClassifier:
    """One picture in one chat, without a history."""

    def __init__(self, options: ChatOptions, endpoint: str | None) -> None:
        check(options, endpoint)
        from openai import AsyncOpenAI, Timeout

        labels = _labels(options)
        self._options = options
        self._by_text = {label.casefold(): label for label in labels}
        key = None if options.keyless else read_key("openai", options.key_env)
        self.secrets = () if key is None else (key,)
        base = OPENAI if endpoint is None else read_address("openai", endpoint, options.plain_http).url
        timeout = Timeout(None, connect=_SECONDS_TO_CONNECT)  # the caller limits the time of an answer
        self._client = AsyncOpenAI(api_key=key or "none", base_url=base, max_retries=0, timeout=timeout)
        self._prompt = _prompt(options, labels)
        self._request = {"model": options.model, **_limits(options, labels), **_format(options, labels)}
        self._answered, self._doubts = False, DOUBTS

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        import openai

        (picture,) = pictures
        data = base64.b64encode(picture.encoded or b"").decode()
        image: dict[str, str] = {"url": f"data:{picture.media_type};base64,{data}"}
        if self._options.detail != "auto":
            image["detail"] = self._options.detail
        content = [{"type": "text", "text": self._prompt}, {"type": "image_url", "image_url": image}]
        messages: Any = [{"role": "user", "content": content}]
        try:
            # The client would build objects of whatever comes, however little it looks like a completion.
            reply = await self._client.chat.completions.with_raw_response.create(messages=messages, **self._request)
        except openai.APIStatusError as error:
            failure = self._failure(error)
            if isinstance(failure, PictureRefused):
                return [failure]
            raise failure from None
        except openai.APIConnectionError as error:
            reason = one_line(error.__cause__ or error, whole=True)
            raise Transient(f"openai: {reason}", billed=_was_sent(error)) from None
        answer = self._read(Reply(200, {}, reply.http_response.content))
        self._answered = self._answered or isinstance(answer, Answer)
        return [answer]

    async def close(self) -> None:
        await self._client.close()

    def _read(self, reply: Reply) -> Answer | PictureRefused:
        """The label in a completion. Raises Throttled and Transient for a proxy's errors inside an answer of 200."""
        raw = reply.raw
        try:
            content = json.loads(reply.body)
            if not content.get("choices"):
                return _without_choices(content.get("error"), raw)
            choice = content["choices"][0]
            reason, text = choice.get("finish_reason"), choice["message"].get("content")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return PictureRefused(f"not an answer: {one_line(error)}", raw)
        parts = [content.get("model"), content.get("system_fingerprint") if self._options.fingerprint else None]
        version = " ".join(part for part in parts if isinstance(part, str)) or None
        if reason == "content_filter":
            return PictureRefused("the content filter left the answer out", raw, version)
        return Answer((Tag(self._label(text if isinstance(text, str) else ""), 1.0),), version, raw)

    def _label(self, text: str) -> str:
        """The label that a text is, with or without JSON around it; OTHER for any other text, a refusal among them."""
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict) and isinstance(parsed.get("label"), str):
            text = parsed["label"]
        return self._by_text.get(text.strip().casefold(), OTHER)

    def _failure(self, error: Any) -> Exception:
        """What an answer of 4xx or 5xx means."""
        status, code = error.status_code, " ".join(str(part) for part in (error.code, error.type) if part)
        message = one_line(error.message, whole=True)
        reason, wait = f"openai: HTTP {status}: {message}", _wait(error.response.headers)
        if status == 402 or any(quota in code for quota in _QUOTA):
            return ApiFailure(f"{reason}: the account has no money or quota left")
        if status == 429:
            return Throttled(reason, wait)
        if status in (401, 403):
            return ApiFailure(
                f"openai: HTTP {status}: the key in {self._options.key_env} is not valid, or may not use "
                f"{self._options.model}"
            )
        if status == 404:
            return ApiFailure(f"{reason}: write another openai:model or --endpoint (for most servers it ends in /v1)")
        if status in (408, 409) or status >= 500:
            return Transient(reason, retry_after=wait)
        self._doubts -= not self._answered
        of_picture = any(part in code for part in _PICTURE) or (error.param is None and self._doubts > 0)
        if self._answered or of_picture:
            # All requests have one form: once there was an answer, what is refused is the picture.
            return PictureRefused(f"HTTP {status}: {message}", json.dumps(error.body, ensure_ascii=False, default=str))
        return ApiFailure(
            f"{reason}: if the model has no structured output, write openai:format=text; if it takes no temperature, "
            "openai:reasoning=true"
        )


def _without_choices(error: Any, raw: str) -> PictureRefused:
    """What a proxy means that reports an error in an answer of 200. Raises Throttled, Transient and ApiFailure."""
    code = error.get("code") if isinstance(error, dict) else None
    reason = f"openai: {printable(str(error))}" if error else "not an answer: it has no choices"
    if code == 402:
        raise ApiFailure(f"{reason}: the account has no money or quota left")
    if code == 429:
        raise Throttled(reason)
    if isinstance(code, int) and code >= 500:
        raise Transient(reason)
    return PictureRefused(reason, raw)


def _limits(options: ChatOptions, labels: Sequence[str]) -> dict[str, Any]:
    if options.reasoning:
        return {"max_completion_tokens": _most_tokens(options, labels)}
    return {"max_tokens": _most_tokens(options, labels), "temperature": 0}


def _format(options: ChatOptions, labels: Sequence[str]) -> dict[str, Any]:
    if options.format == "text":
        return {}
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(labels)}},
        "required": ["label"],
        "additionalProperties": False,
    }
    named = {"name": "label", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _was_sent(error: Exception) -> bool:
    """Whether a request may have reached the server."""
    # By name: older clients are made of httpx, newer ones of httpx2.
    never = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")
    return type(error.__cause__).__name__ not in never


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either of two headers."""
    milliseconds = seconds_to_wait(headers.get("retry-after-ms"))
    return seconds_to_wait(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000
