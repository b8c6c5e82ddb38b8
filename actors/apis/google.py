"""Google Cloud Vision: label detection, through Google's own client.

$1.50 for 1,000 pictures, of which the first 1,000 a month are free (Google's price list, seen 1 December 2026); 1,800
requests a minute by the default quota, by other pages. It names no version of its model, so that a change during a run
goes unnoticed. Pictures are sent one a request: an error of one picture would make a whole batch be paid for again.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import Answer, Picture, read_tag
from raysmooth.actors.apis.connections import (
    REQUESTS_AT_ONCE,
    UNREADABLE,
    Address,
    KeyVariable,
    never_sent,
    read_address,
    read_key,
    require_library,
    unreadable,
    written_endpoint,
)
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.common.settings import Options

_LONGEST_REQUEST = 60.0
"""Seconds; over gRPC a request ends when its caller gives up."""


@dataclass(frozen=True)
class GoogleOptions(Options):
    """`model`: "builtin/stable", or "builtin/latest", which Google changes more often."""

    max_results: Annotated[int, Field(ge=1, le=1000)] = 10
    model: Literal["builtin/stable", "builtin/latest"] = "builtin/stable"
    transport: Literal["grpc", "rest"] = "grpc"
    key_env: Annotated[
        KeyVariable | None,
        Field(description="environment variable with an API key; application default credentials if left out"),
    ] = None


def describe(options: GoogleOptions, endpoint: str | None) -> Mapping[str, Any]:
    return {
        "api": "google",
        "feature": "LABEL_DETECTION",
        "max_results": options.max_results,
        "model": options.model,
        "endpoint": written_endpoint("google", endpoint),
    }


def check(options: GoogleOptions, endpoint: str | None) -> None:
    address = None if endpoint is None else read_address("google", endpoint)
    require_library("google", "google.cloud.vision", "google.auth")
    if options.key_env is not None:
        read_key("google", options.key_env)
    elif address is None or address.secure:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError

        try:
            google.auth.default()
        except DefaultCredentialsError as error:
            raise RaysmoothError(
                f"google: no credentials ({one_line(error, limit=120)}): run `gcloud auth application-default login`, "
                "set GOOGLE_APPLICATION_CREDENTIALS, or write google:key_env=NAME for an API key in $NAME"
            ) from None


class GoogleVision:
    """Label detection. Without `key_env`, an http endpoint on this machine is asked without credentials."""

    def __init__(self, options: GoogleOptions, endpoint: str | None) -> None:
        require_library("google", "google.cloud.vision", "google.auth")
        self._options = options
        self._key = None if options.key_env is None else read_key("google", options.key_env)
        self.secrets = () if self._key is None else (self._key,)
        self._address = None if endpoint is None else read_address("google", endpoint)
        self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE) if options.transport == "rest" else None
        self._client = self._rest_client() if self._threads is not None else self._grpc_client()

    def _credentials(self) -> Any:
        from google.auth import api_key
        from google.auth.credentials import AnonymousCredentials

        if self._key is not None:
            return api_key.Credentials(self._key)
        return AnonymousCredentials() if self._address is not None and not self._address.secure else None

    def _rest_client(self) -> Any:
        from google.api_core.client_options import ClientOptions
        from google.cloud.vision_v1 import ImageAnnotatorClient

        where = None if self._address is None else ClientOptions(api_endpoint=_host(self._address, "rest"))
        return ImageAnnotatorClient(credentials=self._credentials(), transport="rest", client_options=where)

    def _grpc_client(self) -> Any:
        import grpc
        from google.cloud.vision_v1 import ImageAnnotatorAsyncClient
        from google.cloud.vision_v1.services.image_annotator.transports import ImageAnnotatorGrpcAsyncIOTransport

        once = ("grpc.enable_retries", 0)
        address = self._address

        def channel(host: str, options: Sequence[tuple[str, int]], **others: Any) -> grpc.aio.Channel:
            if address is not None and not address.secure:
                return grpc.aio.insecure_channel(address.target, options=[*options, once])
            return ImageAnnotatorGrpcAsyncIOTransport.create_channel(host, options=[*options, once], **others)

        transport = ImageAnnotatorGrpcAsyncIOTransport(
            host=ImageAnnotatorAsyncClient.DEFAULT_ENDPOINT if address is None else _host(address, "grpc"),
            credentials=self._credentials(),
            channel=channel,
        )
        return ImageAnnotatorAsyncClient(transport=transport)

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError
        from google.protobuf.json_format import ParseError
        from requests.exceptions import RequestException

        try:
            answer = await self._sent(self._request(pictures))
        except GoogleAPICallError as error:
            raise _failure(error, self._options) from None
        except GoogleAuthError as error:
            raise _no_access(self._options, error) from None
        except ParseError as error:
            return [PictureRefused(f"not an answer: {one_line(error)}")] * len(pictures)
        except RequestException as error:
            raise Transient(f"google: {one_line(error)}", billed=not _never_sent_by_requests(error)) from None
        except UNREADABLE as error:
            raise unreadable("google", error) from None
        # gRPC gives None for bytes that are no message.
        responses = [] if answer is None else list(answer.responses)
        if len(responses) != len(pictures):
            return [PictureRefused("not an answer: it is about no picture")] * len(pictures)
        return [_read(response, self._options) for response in responses]

    def _request(self, pictures: Sequence[Picture]) -> Any:
        from google.cloud.vision_v1 import AnnotateImageRequest, BatchAnnotateImagesRequest, Feature, Image

        feature = Feature(
            type_=Feature.Type.LABEL_DETECTION, max_results=self._options.max_results, model=self._options.model
        )
        requests = [
            AnnotateImageRequest(image=Image(content=picture.encoded), features=[feature]) for picture in pictures
        ]
        return BatchAnnotateImagesRequest(requests=requests)

    async def _sent(self, request: Any) -> Any:
        if self._threads is None:
            insecure = self._address is not None and not self._address.secure
            # gRPC's own credentials need TLS.
            metadata = [("x-goog-api-key", self._key)] if insecure and self._key is not None else []
            return await self._client.batch_annotate_images(request, retry=None, timeout=None, metadata=metadata)
        import asyncio

        send = partial(self._client.batch_annotate_images, request, retry=None, timeout=_LONGEST_REQUEST)
        return await asyncio.get_running_loop().run_in_executor(self._threads, send)

    async def close(self) -> None:
        if self._threads is None:
            await self._client.transport.close()
        else:
            self._client.transport.close()
            self._threads.shutdown(wait=False, cancel_futures=True)


def _host(address: Address, transport: str) -> str:
    """As the client takes it: REST with its scheme, which gRPC does not have."""
    return address.target if transport == "grpc" else f"{'https' if address.secure else 'http'}://{address.target}"


def _read(response: Any, options: GoogleOptions) -> Answer | PictureRefused:
    """One picture's part of an answer, which may be an error inside a 200."""
    from google.protobuf.json_format import MessageToDict

    raw = json.dumps(MessageToDict(type(response).pb(response)), ensure_ascii=False)
    code, message = response.error.code, one_line(response.error.message or "an error without a message")
    if code == 0:
        try:
            return Answer(
                tuple(read_tag(label.description, label.score) for label in response.label_annotations), raw=raw
            )
        except ValueError as error:
            return PictureRefused(f"not an answer: {error}", raw)
    if code == 8:  # RESOURCE_EXHAUSTED
        raise Throttled(f"google: {message}")
    if code in (7, 16):  # PERMISSION_DENIED, UNAUTHENTICATED
        raise _no_access(options, message)
    if code in (1, 2, 4, 10, 13, 14, 15):  # CANCELLED, UNKNOWN, DEADLINE_, ABORTED, INTERNAL, UNAVAILABLE, DATA_LOSS
        raise Transient(f"google: {message}")
    return PictureRefused(message, raw)


def _failure(error: Any, options: GoogleOptions) -> Exception:
    """What an error of a whole request means."""
    from google.api_core import exceptions

    reason = one_line(error.message or type(error).__name__)
    if isinstance(error, exceptions.TooManyRequests):
        if "/d/" in (error.metadata or {}).get("quota_unit", ""):
            return ApiFailure(f"google: the day's quota is exhausted ({reason}): resume tomorrow, or ask for more")
        return Throttled(f"google: {reason}", _retry_delay(error.details))
    if isinstance(error, exceptions.Unauthorized) or error.reason == "API_KEY_INVALID":
        return _no_access(options, reason)
    if never_sent(reason) and ("invalid_grant" in reason or "Reauthentication" in reason):  # what fetches gRPC's tokens
        return _no_access(options, reason)
    if isinstance(error, exceptions.Forbidden):
        return ApiFailure(f"google refuses access: {reason}")
    if isinstance(error, exceptions.NotFound | exceptions.MethodNotImplemented):
        return ApiFailure(f"google: {reason}: --endpoint does not lead to the Vision API")
    if isinstance(error, exceptions.ServerError | exceptions.Conflict | exceptions.Cancelled) or error.code == 408:
        return Transient(f"google: {reason}", billed=not never_sent(reason), retry_after=_retry_delay(error.details))
    return ApiFailure(f"google refuses the request: {reason}")


def _never_sent_by_requests(error: Exception) -> bool:
    """Whether an error of `requests` means that there was no connection."""
    from requests import exceptions

    if isinstance(error, exceptions.ConnectTimeout | exceptions.SSLError | exceptions.ProxyError):
        return True
    no_connection = ("Failed to establish a new connection", "Failed to resolve")
    return isinstance(error, exceptions.ConnectionError) and any(words in str(error) for words in no_connection)


def _no_access(options: GoogleOptions, reason: object) -> ApiFailure:
    instead = "run `gcloud auth application-default login`" if options.key_env is None else f"see ${options.key_env}"
    return ApiFailure(f"google does not accept the credentials ({one_line(str(reason))}): {instead}")


def _retry_delay(details: Sequence[Any]) -> float | None:
    """The seconds of a RetryInfo, from gRPC a message and from REST a mapping."""
    for detail in details:
        if isinstance(detail, Mapping) and str(detail.get("retryDelay", "")).endswith("s"):
            try:
                return float(str(detail["retryDelay"])[:-1])
            except ValueError:
                return None
        if hasattr(detail, "retry_delay"):
            return float(detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9)
    return None
