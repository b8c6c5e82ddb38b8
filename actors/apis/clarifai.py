"""Clarifai's image recognition, through its own gRPC client.

15 requests a second, in any plan (Clarifai's documentation, seen 1 December 2026); prices depend on the plan, so there
is none here. An answer of success may hold a status that is none: each is looked at.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import Answer, Picture, read_tag
from raysmooth.actors.apis.connections import (
    KeyVariable,
    never_sent,
    read_address,
    read_key,
    require_library,
    written_endpoint,
)
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.common.errors import one_line
from raysmooth.common.settings import Options

_HOST = "https://api.clarifai.com"

_SUCCESS = 10000
_OF_EACH_OUTPUT = (10000, 10010, 10020)
"""SUCCESS, MIXED_STATUS, FAILURE: what counts is the status of each output, if there are any."""
_THROTTLED = (11005, 21354, 40030)
"""CONN_THROTTLED, MODEL_BUSY_PLEASE_RETRY, RPC_REQUEST_QUEUE_FULL."""
_NOT_READY = (10030, 21351, 21352, 21355, 25604)
"""TRY_AGAIN, MODEL_DEPLOYING, MODEL_QUEUED_FOR_DEPLOYMENT, MODEL_LOADING, RUNNER_NEEDS_RETRY."""
_QUOTA = (11003, 11004, 11006, 69001)
"""CONN_EXCEED_HOURLY_LIMIT, CONN_EXCEED_MONTHLY_LIMIT, CONN_EXCEEDS_LIMITS, BILLING_MISSING_TOKENS."""
_NO_ACCESS = (11000, 11001, 11002, 11007, 11008, 11009, 11200)
"""CONN_ACCOUNT_ISSUES, ..._TOKEN_INVALID, _CREDENTIALS_INVALID, _INSUFFICIENT_SCOPES, _KEY_INVALID, _KEY_NOT_FOUND."""
_REFUSED = (30002, 30100, 30101, 30104, 30105, 30300, 47103, 47104, 47106)
"""Codes of a picture: INPUT_DOWNLOAD_FAILED, ..._DUPLICATE, ..._UNSUPPORTED_FORMAT, ..._INVALID_ARGUMENT,
..._OVER_LIMIT, ALL_INPUT_INVALID_BYTES, MP_DOWNLOAD_MAX_SIZE_EXCEEDED_ERROR, MP_IMAGE_DECODE_ERROR and
MP_IMAGE_PROCESSING_ERROR.
"""


@dataclass(frozen=True)
class ClarifaiOptions(Options):
    """`version_id`: of the model; without it the newest answers. `max_concepts`: 0 is Clarifai's own default, 20."""

    model: str = "general-image-recognition"
    version_id: str | None = None
    user_id: str = "clarifai"
    app_id: str = "main"
    max_concepts: Annotated[int, Field(ge=0, le=200)] = 20
    key_env: Annotated[KeyVariable, Field(description="environment variable with a personal access token")] = (
        "CLARIFAI_PAT"
    )


def describe(options: ClarifaiOptions, endpoint: str | None) -> Mapping[str, Any]:
    return {
        "api": "clarifai",
        "user_id": options.user_id,
        "app_id": options.app_id,
        "model": options.model,
        "version_id": options.version_id,
        "max_concepts": options.max_concepts,
        "endpoint": written_endpoint("clarifai", endpoint),
    }


def check(options: ClarifaiOptions, endpoint: str | None) -> None:
    read_address("clarifai", endpoint or _HOST)
    require_library("clarifai", "clarifai_grpc.grpc.api")
    read_key("clarifai", options.key_env)


class Clarifai:
    """PostModelOutputs over a channel of our own: that of Clarifai's client sends a request up to 5 times."""

    def __init__(self, options: ClarifaiOptions, endpoint: str | None) -> None:
        require_library("clarifai", "clarifai_grpc.grpc.api")
        import grpc
        from clarifai_grpc.channel import clarifai_channel
        from clarifai_grpc.grpc.api.service_pb2_grpc import V2Stub

        self._options = options
        key = read_key("clarifai", options.key_env)
        self.secrets, self._access = (key,), (("authorization", f"Key {key}"),)
        address = read_address("clarifai", endpoint or _HOST)
        once = [("grpc.enable_retries", 0)]
        self._channel = (
            grpc.aio.secure_channel(address.target, grpc.ssl_channel_credentials(), options=once)
            if address.secure
            else grpc.aio.insecure_channel(address.target, options=once)
        )
        # Set by the functions that make its channels, and used by its stub.
        clarifai_channel.wrap_response_deserializer = lambda message: message.FromString
        self._stub = V2Stub(self._channel)

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        import grpc

        try:
            answer = await self._stub.PostModelOutputs(self._request(pictures), metadata=self._access)
        except grpc.aio.AioRpcError as error:
            raise _rpc_failure(error, self._options) from None
        if answer is None:  # bytes that are no message
            return [PictureRefused("not an answer")] * len(pictures)
        if answer.status.code not in _OF_EACH_OUTPUT or (answer.status.code != _SUCCESS and not answer.outputs):
            failure = _failure(answer.status, self._options)
            if isinstance(failure, PictureRefused):
                return [failure] * len(pictures)
            raise failure
        if len(answer.outputs) != len(pictures):
            return [PictureRefused("not an answer: it is about no picture")] * len(pictures)
        return [self._read(output) for output in answer.outputs]

    def _request(self, pictures: Sequence[Picture]) -> Any:
        from clarifai_grpc.grpc.api import resources_pb2, service_pb2

        options = self._options
        model = None
        if options.max_concepts:
            config = resources_pb2.OutputConfig(max_concepts=options.max_concepts)
            model = resources_pb2.Model(
                model_version=resources_pb2.ModelVersion(output_info=resources_pb2.OutputInfo(output_config=config))
            )
        return service_pb2.PostModelOutputsRequest(
            user_app_id=resources_pb2.UserAppIDSet(user_id=options.user_id, app_id=options.app_id),
            model_id=options.model,
            version_id=options.version_id or "",
            model=model,
            inputs=[
                resources_pb2.Input(data=resources_pb2.Data(image=resources_pb2.Image(base64=picture.encoded or b"")))
                for picture in pictures
            ],
        )

    def _read(self, output: Any) -> Answer | PictureRefused:
        from google.protobuf.json_format import MessageToDict

        version = output.model.model_version.id or None
        if output.status.code != _SUCCESS:
            failure = _failure(output.status, self._options, version)
            if isinstance(failure, PictureRefused):
                return failure
            raise failure
        concepts = output.data.concepts
        found = [MessageToDict(concept, preserving_proto_field_name=True) for concept in concepts]
        raw = json.dumps({"concepts": found}, ensure_ascii=False)
        try:
            return Answer(tuple(read_tag(concept.name, concept.value) for concept in concepts), version, raw)
        except ValueError as error:
            return PictureRefused(f"not an answer: {error}", raw, version)

    async def close(self) -> None:
        await self._channel.close()


def _failure(status: Any, options: ClarifaiOptions, version: str | None = None) -> Exception:
    """What a status other than success means, of the whole answer or of one output."""
    from clarifai_grpc.grpc.api.status import status_code_pb2

    code = status.code
    known = code in status_code_pb2.StatusCode.values()
    name = status_code_pb2.StatusCode.Name(code) if known else "unknown status"
    reason = one_line(f"{code} {name}: {status.details or status.description}", whole=True)
    if code in _THROTTLED:
        return Throttled(f"clarifai: {reason}")
    if code in _NOT_READY:
        return Transient(f"clarifai: {reason}", billed=False)
    if code in _REFUSED:
        return PictureRefused(reason, json.dumps({"status": {"code": code, "description": reason}}), version)
    if code in _QUOTA:
        return ApiFailure(f"clarifai: the quota is exhausted ({reason}): resume later, or change the plan")
    if code in _NO_ACCESS:
        return ApiFailure(f"clarifai does not accept the credentials ({reason}): see ${options.key_env}")
    if code in (21200, 21201):  # MODEL_DOES_NOT_EXIST, MODEL_PERMISSION_DENIED
        there = f"{options.user_id}/{options.app_id}/{options.model}"
        return ApiFailure(f"clarifai: {reason}: see model, user_id, app_id and version_id ({there})")
    if code in (10020, 21313, 90500) or 40010 <= code < 47000 or code >= 98000:
        # FAILURE, MODEL_PREDICTION_FAILED, SERVER_ERROR, and what the names call RPC_, CLUSTER_, INTERNAL_ and so on
        return Transient(f"clarifai: {reason}")
    return ApiFailure(f"clarifai refuses the request: {reason}")


def _rpc_failure(error: Any, options: ClarifaiOptions) -> Exception:
    """What an error of gRPC itself means."""
    import grpc

    reason = one_line(f"{error.code().name}: {error.details()}", whole=True)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Throttled(f"clarifai: {reason}")
    if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return ApiFailure(f"clarifai does not accept the credentials ({reason}): see ${options.key_env}")
    if error.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
        return ApiFailure(f"clarifai refuses the request: {reason}")
    return Transient(f"clarifai: {reason}", billed=not never_sent(reason))
