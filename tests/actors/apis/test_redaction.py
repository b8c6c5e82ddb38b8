"""No credential in what is raised or logged, though a server repeats all that it was sent, and messages are cut."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from aiohttp import web
from asked_apis import picture_of
from fake_pictures import plain

from raysmooth.actors.apis.answers import Answer, Picture, Tag
from raysmooth.actors.apis.apis import VISION_APIS, read_api
from raysmooth.actors.apis.failures import AdapterFault, ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.actors.apis.redaction import RedactingClient, Redaction
from raysmooth.tune.fake_apis.rest_server import rest_server
from raysmooth.tune.fake_apis.service import FakeService

KEY = "sk-s3cret+0123456789/abcdef=="
VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "CLARIFAI_PAT", "OPENAI_API_KEY", "SOME_KEY",
)  # fmt: skip

PICTURE = picture_of(plain(230, 20, 20, side=80))
NUMBERS = Picture(PICTURE.pixels.transpose(2, 0, 1) / 255)

OVER_REST = {
    "aws": "aws:region=us-east-1",
    "azure": "azure:key_env=SOME_KEY",
    "google": "google:transport=rest,key_env=SOME_KEY",
    "http": "http:request={folder}/request.yaml",
    "oip": "oip:model=m,classes=2,key_env=SOME_KEY",
    "openai": "openai:model=m,labels={folder}/labels.txt",
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, KEY)
    (tmp_path / "labels.txt").write_text("red\ngreen\n")
    (tmp_path / "request.yaml").write_text(
        "headers: {Authorization: 'Bearer ${SOME_KEY}'}\nquery: {key: '${SOME_KEY}'}\nlabels: labels\n"
    )


def said(outcome: object) -> str:
    """All of an outcome that a message, a log entry or a label is made of."""
    if isinstance(outcome, Answer | PictureRefused):
        tags = outcome.tags if isinstance(outcome, Answer) else str(outcome)
        return f"{tags} {outcome.version} {outcome.raw}"
    assert isinstance(outcome, ApiFailure | Throttled | Transient), outcome
    return str(outcome)


async def outcome_of(classifier: str, endpoint: str) -> object:
    _, entry, options = read_api(classifier)
    client = entry.make(options, endpoint)
    try:
        return (await client.classify([NUMBERS if entry.takes_numbers else PICTURE]))[0]
    except (ApiFailure, Throttled, Transient) as failure:
        return failure
    finally:
        await client.close()


def refuse_credentials(outcome: object) -> None:
    text = said(outcome)
    assert "REPEATED" in text, text
    assert "s3cret" not in text
    assert quote(KEY, safe="") not in text


@pytest.mark.parametrize("status", [200, 400, 429, 500])
@pytest.mark.parametrize("api", OVER_REST)
def test_a_server_that_repeats_headers_and_query(api: str, status: int, tmp_path: Path) -> None:
    async def repeat(request: web.Request) -> web.Response:
        words = f"REPEATED {' '.join(request.headers.values())} {request.path_qs}"
        assert KEY in words
        tag = {"name": words, "confidence": 0.5, "Name": words, "Confidence": 50, "description": words, "score": 0.5}
        error = {"code": "BadRequest", "message": words, "type": "error"}
        body = {
            "Labels": [tag], "tagsResult": {"values": [tag]}, "modelVersion": "1", "labels": words,
            "responses": [{"labelAnnotations": [{"description": words, "score": 0.5}]}],
            "model": words, "choices": [{"message": {"content": words}}],
            "outputs": [{"name": words, "data": [1, 2]}], "model_version": words,
        }  # fmt: skip
        content = body if status == 200 else {"error": error, "message": words, "__type": "Bad"}
        return web.json_response(content, status=status)

    async def ask() -> object:
        async with rest_server(FakeService(), [web.post("/{path:.*}", repeat)]) as endpoint:
            return await outcome_of(OVER_REST[api].format(folder=tmp_path), endpoint)

    refuse_credentials(asyncio.run(ask()))


@pytest.mark.parametrize("api", ["clarifai", "google:key_env=SOME_KEY"])
def test_a_server_that_repeats_metadata(api: str) -> None:
    class Repeats(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            async def handle(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
                words = " ".join(str(value) for _, value in details.invocation_metadata)
                assert KEY in words
                await context.abort(grpc.StatusCode.INTERNAL, f"REPEATED {words}")
                return b""

            return grpc.unary_unary_rpc_method_handler(handle)

    async def ask() -> object:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Repeats(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await outcome_of(api, f"http://127.0.0.1:{port}")
        finally:
            await server.stop(None)

    refuse_credentials(asyncio.run(ask()))


def test_what_a_cut_leaves_of_a_secret() -> None:
    redaction = Redaction([KEY, "", "abc"])
    cuts: list[tuple[str, str]] = [
        (f"a {KEY} b {KEY}", "a *** b ***"),
        (f"?key={quote(KEY, safe='')}&x", "?key=***&x"),
        (f"no such key: {KEY[:9]}", "no such key: ***"),
        (f"no such key: {KEY[:9]}...{KEY[-8:]} there", "no such key: ***...*** there"),
        (f'"{KEY[:12]}"', '"***"'),
        (f"short is {KEY[:5]}", f"short is {KEY[:5]}"),
        ("abc is too short to be one", "abc is too short to be one"),
        (f"Authorization: Bearer {'x' * 40}.y-_z==, next", "Authorization: Bearer ***, next"),
    ]
    for text, expected in cuts:
        assert redaction.out_of(text) == expected


class Says:
    """A client that returns or raises what `act` does; `secrets` change with every request, as a role's do."""

    def __init__(self, act: Callable[[str], Answer]) -> None:
        self.act, self.secrets = act, ["first-secret"]

    async def classify(self, pictures: object) -> list[Answer | PictureRefused]:
        self.secrets = [f"{len(self.secrets[0])}-secret"]
        return [self.act(self.secrets[0])]

    async def close(self) -> None: ...


def test_labels_versions_and_faults_of_adapters() -> None:
    def ask(act: Callable[[str], Answer]) -> Awaitable[list[Answer | PictureRefused]]:
        return RedactingClient(Says(act)).classify([PICTURE])

    async def both() -> None:
        (answer,) = await ask(lambda key: Answer((Tag(f"dog {key}", 0.5, (key,)),), key, json.dumps({"key": key})))
        assert answer == Answer((Tag("dog ***", 0.5, ("***",)),), "***", '{"key": "***"}')
        with pytest.raises(AdapterFault, match=r"^KeyError: '\*\*\*'$"):
            await ask(lambda key: {}[key])

    asyncio.run(both())


def test_every_api_says_which_credentials_it_sends() -> None:
    assert {*OVER_REST} | {"clarifai"} == {*VISION_APIS}
