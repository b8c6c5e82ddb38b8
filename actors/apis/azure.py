"""Azure AI Vision, Image Analysis 4.0: tags, through Microsoft's own client. Microsoft retires it on 25 September 2028.

$1.00 for 1,000 pictures up to a million a month and 10 a second in tier S1: both from older lists, as no present one
could be seen on 1 December 2026. The free tier has 20 a minute.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import Answer, Picture, read_tag
from raysmooth.actors.apis.connections import (
    REQUESTS_AT_ONCE,
    UNREADABLE,
    KeyVariable,
    read_address,
    read_key,
    require_library,
    seconds_to_wait,
    unreadable,
    written_endpoint,
)
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.common.settings import Options

_LONGEST_WAIT = 3600.0
"""Seconds: who is asked to wait longer has no quota left. The free tier says so for the rest of a month."""

_REFUSED = ("InvalidImageFormat", "InvalidImageSize", "InvalidImageDimension", "NotSupportedImage", "BadImage")
"""Codes, outer or inner, for a picture that it does not take."""


@dataclass(frozen=True)
class AzureOptions(Options):
    """`model_version`: a date such as 2023-10-01, or "latest"."""

    model_version: str = "latest"
    language: str = "en"
    key_env: Annotated[
        KeyVariable | None,
        Field(description="environment variable with the resource's key; azure-identity's chain if left out"),
    ] = None


def describe(options: AzureOptions, endpoint: str | None) -> Mapping[str, Any]:
    return {
        "api": "azure",
        "feature": "TAGS",
        "model_version": options.model_version,
        "language": options.language,
        "endpoint": written_endpoint("azure", endpoint),
    }


def check(options: AzureOptions, endpoint: str | None) -> None:
    if endpoint is None:
        raise RaysmoothError("azure needs --endpoint https://NAME.cognitiveservices.azure.com, of your own resource")
    secure = read_address("azure", endpoint).secure
    require_library("azure", "azure.ai.vision.imageanalysis", "aiohttp")
    if options.key_env is not None:
        read_key("azure", options.key_env)
    elif not secure:
        raise RaysmoothError(f"azure: --endpoint {printable(endpoint)} takes a key alone: write azure:key_env=NAME")
    else:
        require_library("azure", "azure.identity")


class AzureVision:
    """Tags of Image Analysis 4.0."""

    def __init__(self, options: AzureOptions, endpoint: str | None) -> None:
        check(options, endpoint)
        from aiohttp import ClientSession, DummyCookieJar, TCPConnector
        from azure.ai.vision.imageanalysis.aio import ImageAnalysisClient
        from azure.core.credentials import AzureKeyCredential
        from azure.core.pipeline.transport import AioHttpTransport

        self._options = options
        self._identity: Any = None
        if options.key_env is None:
            from azure.identity.aio import DefaultAzureCredential

            self._identity = DefaultAzureCredential()
        key = None if options.key_env is None else read_key("azure", options.key_env)
        self.secrets = () if key is None else (key,)
        url = read_address("azure", endpoint or "").url.rstrip("/")
        session = ClientSession(
            connector=TCPConnector(limit=REQUESTS_AT_ONCE),
            cookie_jar=DummyCookieJar(),
            trust_env=True,
            auto_decompress=False,  # azure-core does it
        )
        self._client = ImageAnalysisClient(
            url,
            self._identity if key is None else AzureKeyCredential(key),
            retry_total=0,
            transport=AioHttpTransport(session=session),
        )

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        from aiohttp import ClientConnectorError
        from azure.ai.vision.imageanalysis.models import VisualFeatures
        from azure.core import exceptions

        (picture,) = pictures
        try:
            result = await self._client.analyze(
                image_data=picture.encoded or b"",
                visual_features=[VisualFeatures.TAGS],
                language=self._options.language,
                model_version=self._options.model_version,
            )
        except json.JSONDecodeError as error:  # only of a 200
            return [PictureRefused(f"not an answer: {one_line(error)}")]
        except UNREADABLE as error:
            raise unreadable("azure", error) from None
        except exceptions.HttpResponseError as error:
            if error.status_code == 200:
                return [PictureRefused(f"not an answer: {one_line(error)}")]
            failure = _failure(error, self._options)
            if isinstance(failure, PictureRefused):
                return [failure]
            raise failure from None
        except exceptions.AzureError as error:  # no connection, a broken one, or an answer that came in part
            unsent = isinstance(error, exceptions.ServiceRequestTimeoutError) or isinstance(
                error.inner_exception, ClientConnectorError
            )
            raise Transient(f"azure: {one_line(error)}", billed=not unsent) from None
        return [_read(result)]

    async def close(self) -> None:
        await self._client.close()
        if self._identity is not None:
            await self._identity.close()


def _read(result: Any) -> Answer | PictureRefused:
    try:
        raw = json.dumps(result.as_dict(), ensure_ascii=False)
    except (TypeError, ValueError, AttributeError):
        raw = "{}"
    try:
        tags = tuple(read_tag(tag.name, tag.confidence) for tag in result.tags.list)
        return Answer(tags, result.model_version, raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return PictureRefused(f"not an answer: {one_line(error)}", raw)


def _failure(error: Any, options: AzureOptions) -> Exception:
    """What an answer of 4xx or 5xx means."""
    status = error.status_code or 0
    codes, message = _words(error)
    reason = f"{' '.join(codes)}: {message}".removeprefix(": ")
    wait = None if error.response is None else seconds_to_wait(error.response.headers.get("Retry-After"))
    if status == 429 and (wait or 0) <= _LONGEST_WAIT:
        return Throttled(f"azure: {reason}", wait)
    if status in (413, 415) or any(code in _REFUSED for code in codes):
        return PictureRefused(reason, json.dumps({"status": status, "codes": codes, "message": message}))
    if status == 429 or (status == 403 and "quota" in reason.lower()):
        return ApiFailure(f"azure: the quota is exhausted ({reason}): resume later, or change the resource's tier")
    if status in (0, 401, 403):
        instead = "sign in with `az login`" if options.key_env is None else f"see ${options.key_env}"
        return ApiFailure(f"azure does not accept the credentials ({reason}): {instead}, and see --endpoint")
    if status == 404:
        return ApiFailure(f"azure: {reason}: --endpoint is no resource with Image Analysis 4.0")
    if status == 408 or status >= 500:
        return Transient(f"azure: {reason}", retry_after=wait)
    return ApiFailure(f"azure refuses the request: {reason}")


def _words(error: Any) -> tuple[list[str], str]:
    """The outer and inner code of an error, and its message."""
    described = getattr(error, "error", None)
    message = one_line(getattr(described, "message", None) or error.message or type(error).__name__)
    codes = [getattr(described, "code", None)]
    inner = getattr(described, "innererror", None)
    while isinstance(inner, Mapping):
        codes.append(inner.get("code"))
        inner = inner.get("innererror")
    return [str(code) for code in codes if code], message
