"""The gRPC side of fake APIs: Google Cloud Vision and Clarifai, with the messages of the vendors' own libraries."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from raysmooth.tune.fake_apis.conduct import Trouble, Troubled
from raysmooth.tune.fake_apis.fakes import Address
from raysmooth.tune.fake_apis.google_routes import google_refusal
from raysmooth.tune.fake_apis.rest_server import MOST_BYTES, rest_server
from raysmooth.tune.fake_apis.service import FakeService, Offence

Handler = Callable[[Any, Any], Awaitable[Any]]
"""Of a request and gRPC's context; a response in bytes is sent as it is."""

_RUBBISH = b"\xff\xff\xff\xff"


@asynccontextmanager
async def _served(
    name: str, method: str, handle: Handler, read: Any, write: Callable[[Any], bytes], port: int
) -> AsyncIterator[str]:
    """Serve one method on this machine alone; its URL. Raises OSError for a port that is taken."""
    handler = grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=read,
        response_serializer=lambda response: response if isinstance(response, bytes) else write(response),
    )
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MOST_BYTES)],
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {method: handler}),))
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError:
        raise OSError(f"port {port} is another address already") from None
    await server.start()
    try:
        yield f"http://127.0.0.1:{bound}"
    finally:
        await server.stop(grace=None)


async def _broken(context: Any) -> None:
    """What a client sees of a connection that is reset."""
    await context.abort(grpc.StatusCode.UNAVAILABLE, "recvmsg:Connection reset by peer")


@asynccontextmanager
async def serve_google(service: FakeService, port: int) -> AsyncIterator[Address]:
    """Google Cloud Vision's BatchAnnotateImages, label detection alone."""
    from google.cloud import vision_v1 as vision

    async def annotate(request: Any, context: Any) -> Any:
        feature = request.requests[0].features[0]
        key = dict(context.invocation_metadata()).get("x-goog-api-key", service.conduct.key)
        try:
            answers = await service.ask([one.image.content for one in request.requests], key, feature.model or None)
        except Troubled as troubled:
            return await refuse(troubled, context)
        responses = [
            vision.AnnotateImageResponse(error={"code": 3, "message": answer.reason})
            if isinstance(answer, Offence)
            else vision.AnnotateImageResponse(
                label_annotations=[
                    vision.EntityAnnotation(mid=f"/m/{name}", description=name, score=score, topicality=score)
                    for name, score in answer.labels[: feature.max_results or 10]
                ]
            )
            for answer in answers
        ]
        return vision.BatchAnnotateImagesResponse(responses=responses)

    async def refuse(troubled: Troubled, context: Any) -> bytes:
        from google.protobuf.any_pb2 import Any as Packed
        from google.rpc import code_pb2, error_details_pb2, status_pb2

        if troubled.trouble is Trouble.RUBBISH:
            return _RUBBISH
        if troubled.trouble is Trouble.RESET:
            await _broken(context)
        _, name, about, retry_after = google_refusal(troubled)
        details = [error_details_pb2.ErrorInfo(domain="googleapis.com", **about)]
        if retry_after is not None:
            delay = error_details_pb2.RetryInfo()
            delay.retry_delay.FromMilliseconds(round(1000 * retry_after))
            details.append(delay)
        packed = [Packed() for _ in details]
        for into, detail in zip(packed, details, strict=True):
            into.Pack(detail)
        status = status_pb2.Status(code=code_pb2.Code.Value(name), message=str(troubled), details=packed)
        more = (("grpc-status-details-bin", status.SerializeToString()),)
        await context.abort(grpc.StatusCode[name], str(troubled), more)
        return b""

    read = vision.BatchAnnotateImagesRequest.deserialize
    write = vision.BatchAnnotateImagesResponse.serialize
    name = "google.cloud.vision.v1.ImageAnnotator"
    async with (
        _served(name, "BatchAnnotateImages", annotate, read, write, port) as url,
        rest_server(service, ()) as bill,
    ):
        yield Address(url, f"{bill}/bill", {"GOOGLE_API_KEY": service.conduct.key})


_CLARIFAI_CODES = {
    Trouble.THROTTLED: "CONN_THROTTLED",
    Trouble.WRONG_KEY: "CONN_KEY_NOT_FOUND",
    Trouble.UNKNOWN_MODEL: "MODEL_DOES_NOT_EXIST",
    Trouble.EXHAUSTED: "CONN_EXCEED_MONTHLY_LIMIT",
}


@asynccontextmanager
async def serve_clarifai(service: FakeService, port: int) -> AsyncIterator[Address]:
    """Clarifai's PostModelOutputs. What is refused is a status inside an answer; only an outage is one of gRPC."""
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2
    from clarifai_grpc.grpc.api.status import status_code_pb2, status_pb2

    def status(name: str, details: str = "") -> Any:
        return status_pb2.Status(code=status_code_pb2.StatusCode.Value(name), description=name, details=details)

    def output(answer: Any, version: str, most: int) -> Any:
        model = resources_pb2.Model(model_version=resources_pb2.ModelVersion(id=version))
        if isinstance(answer, Offence):
            return resources_pb2.Output(status=status("ALL_INPUT_INVALID_BYTES", answer.reason), model=model)
        concepts = [
            resources_pb2.Concept(id=f"ai_{name}", name=name, value=score) for name, score in answer.labels[:most]
        ]
        return resources_pb2.Output(status=status("SUCCESS"), model=model, data=resources_pb2.Data(concepts=concepts))

    async def outputs(request: Any, context: Any) -> Any:
        key = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Key ")
        pictures = [one.data.image.base64 for one in request.inputs]
        try:
            answers = await service.ask(pictures, key, request.model_id)
        except Troubled as troubled:
            if troubled.trouble is Trouble.RUBBISH:
                return _RUBBISH
            if troubled.trouble is Trouble.RESET:
                await _broken(context)
            if troubled.trouble not in _CLARIFAI_CODES:
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(troubled))
            return service_pb2.MultiOutputResponse(status=status(_CLARIFAI_CODES[troubled.trouble], str(troubled)))
        most = request.model.model_version.output_info.output_config.max_concepts or 20
        made = [output(answer, answer.version, most) for answer in answers]
        bad = sum(isinstance(answer, Offence) for answer in answers)
        whole = "SUCCESS" if not bad else "FAILURE" if bad == len(answers) else "MIXED_STATUS"
        return service_pb2.MultiOutputResponse(status=status(whole), outputs=made)

    read = service_pb2.PostModelOutputsRequest.FromString
    write = service_pb2.MultiOutputResponse.SerializeToString
    async with (
        _served("clarifai.api.V2", "PostModelOutputs", outputs, read, write, port) as url,
        rest_server(service, ()) as bill,
    ):
        yield Address(url, f"{bill}/bill", {"CLARIFAI_PAT": service.conduct.key})
