"""Answers that no vendor documents, through the real clients: a picture without an answer, or one of the failures."""

import asyncio
import math

import grpc
import pytest
from asked_apis import picture_of
from fake_pictures import plain
from odd_answers import followed, outcomes_of, outcomes_over_rest

from raysmooth.actors.apis.answers import Answer, read_tag
from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient

PICTURE = picture_of(plain(230, 20, 20, side=80))
MEANT = {
    200: (PictureRefused, Answer, Transient),
    400: ApiFailure,
    403: ApiFailure,
    429: Throttled,
    503: Transient,
}
"""What follows from a status, of JSON of an odd shape; nothing is known of a 200 that its client cannot read."""

ODD = [
    b"",
    b"\x00\xff",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"{",
    b"[" * 5000,
    b'{"error": null}',
    b'{"error": []}',
    b'{"error": {"code": 7, "message": null, "details": [null, {"retryDelay": "xs"}], "innererror": "no"}}',
]
AWS = [
    b'{"Labels": null}',
    b'{"Labels": {}}',
    b'{"Labels": [{}]}',
    b'{"Labels": [{"Name": "a"}]}',
    b'{"Labels": [{"Name": "", "Confidence": 1}]}',
    b'{"Labels": [{"Name": "a", "Confidence": "high"}]}',
    b'{"Labels": [{"Name": "a", "Confidence": NaN}]}',
    b'{"Labels": [{"Name": "a", "Confidence": 1, "Parents": [{}]}]}',
    b'{"Labels": [{"Name": "a", "Confidence": 1, "Parents": 7}]}',
]
AZURE = [
    b'{"tagsResult": null}',
    b'{"tagsResult": {"values": null}}',
    b'{"tagsResult": {"values": [7]}}',
    b'{"tagsResult": {"values": [{"name": null, "confidence": 1}]}}',
    b'{"tagsResult": {"values": [{"name": "a", "confidence": "high"}]}}',
    b'{"tagsResult": {"values": [{"name": "a", "confidence": NaN}]}, "modelVersion": "1"}',
    b'{"tagsResult": {"values": []}, "modelVersion": 7}',
]
GOOGLE = [
    b'{"responses": null}',
    b'{"responses": [{}, {}]}',
    b'{"responses": [{"labelAnnotations": [{}]}]}',
    b'{"responses": [{"labelAnnotations": [{"description": "a", "score": "NaN"}]}]}',
    b'{"responses": [{"labelAnnotations": [{"description": "a", "score": "high"}]}]}',
    b'{"responses": [{"labelAnnotations": 7}]}',
    b'{"responses": [{"error": {"code": 99999}}]}',
]
VENDORS = {
    "aws": ("aws:region=us-east-1", [*ODD, *AWS]),
    "azure": ("azure:key_env=AZURE_VISION_KEY", [*ODD, *AZURE]),
    "google": ("google:transport=rest", [*ODD, *GOOGLE]),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_VISION_KEY", "CLARIFAI_PAT"):
        monkeypatch.setenv(variable, "key")


@pytest.mark.parametrize("status", [200, 400, 403, 429, 503])
@pytest.mark.parametrize("vendor", VENDORS)
def test_odd_answers_are_no_other_errors(vendor: str, status: int) -> None:
    classifier, answers = VENDORS[vendor]
    for answer, outcome in zip(answers, outcomes_over_rest(classifier, PICTURE, answers, status), strict=True):
        followed(outcome, answer[:80])
        if answer not in ODD:
            assert isinstance(outcome, MEANT[status]), (answer, outcome)
        elif status in (429, 503):
            assert isinstance(outcome, Throttled | Transient), (answer, outcome)


@pytest.mark.parametrize("vendor", ["google", "clarifai"])
def test_odd_messages_are_no_other_errors(vendor: str) -> None:
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2
    from clarifai_grpc.grpc.api.status import status_pb2
    from google.cloud.vision_v1 import AnnotateImageResponse, BatchAnnotateImagesResponse

    done = status_pb2.Status(code=10000)
    messages = {
        "google": [
            BatchAnnotateImagesResponse.serialize(BatchAnnotateImagesResponse(responses=responses))
            for responses in (
                [],
                [AnnotateImageResponse(), AnnotateImageResponse()],
                [AnnotateImageResponse(label_annotations=[{"score": 1}])],
                [AnnotateImageResponse(label_annotations=[{"description": "a", "score": math.nan}])],
            )
        ],
        "clarifai": [
            service_pb2.MultiOutputResponse(status=done, outputs=outputs).SerializeToString()
            for outputs in (
                [],
                [resources_pb2.Output(status=done)] * 2,
                [resources_pb2.Output(status=done, data={"concepts": [{"value": 1}]})],
                [resources_pb2.Output(status=done, data={"concepts": [{"name": "a", "value": math.inf}]})],
            )
        ],
    }[vendor]
    answers = iter([*messages, b"", b"\xff", b"\x0a\x00" * 3])

    class AnyMethod(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            async def handle(request: bytes, context: object) -> bytes:
                return next(answers)

            return grpc.unary_unary_rpc_method_handler(handle)

    async def ask() -> list[object]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((AnyMethod(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        _, entry, options = read_api(vendor)
        client = entry.make(options, f"http://127.0.0.1:{port}")
        found = await outcomes_of(client, PICTURE, len(messages) + 3)
        await server.stop(None)
        return found

    found = asyncio.run(ask())
    assert len(found) == len(messages) + 3
    for outcome in found:
        followed(outcome, vendor)
    assert all(isinstance(outcome, PictureRefused) for outcome in found[: len(messages)]), found


@pytest.mark.parametrize(
    ("name", "score", "parents"),
    [
        (None, 1.0, []),
        ("", 1.0, []),
        (7, 1.0, []),
        ("a", None, []),
        ("a", True, []),
        ("a", math.nan, []),
        ("a", 1, [""]),
    ],
)
def test_no_tag_without_a_name_and_a_score(name: object, score: object, parents: list[object]) -> None:
    with pytest.raises(ValueError, match="is no "):
        read_tag(name, score, parents)
