"""Chat endpoints through OpenAI's own client, against a local server of that protocol."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from api_requests import BLUE, GREEN, RED, asked, best, with_environment

from raysmooth.actors.apis.answers import Answer, Tag
from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.fake_apis.classify import COLOURS
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import running
from raysmooth.tune.fake_apis.rest_server import rest_server
from raysmooth.tune.fake_apis.service import FakeService


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "labels.txt"
    path.write_text("red\ngreen\nblue\n")
    return str(path)


@pytest.mark.parametrize("form", ["schema", "text"])
def test_labels_come_back_whatever_their_capitals(form: str, labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with running("openai") as fake:
        endpoint = with_environment(monkeypatch, fake)
        answers = asked(f"openai:model=gpt-fake,labels={labels},format={form}", endpoint, [RED], [GREEN], [BLUE])
        assert [best(answer) for answer in answers] == ["red", "green", "blue"]
        assert isinstance(answers[0], Answer)
        assert answers[0].version == "gpt-fake fp_2026-01-15"
        assert json.loads(answers[0].raw)["usage"]["prompt_tokens"] == 85
        assert fake.bill["billed"] == 3


def test_a_text_that_is_no_label_is_another_label(labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompt.txt").write_text("What is it?")  # without the labels, so that the fake knows none
    with running("openai") as fake:
        endpoint = with_environment(monkeypatch, fake)
        api = f"openai:model=m,labels={labels},format=text,prompt={tmp_path}/prompt.txt,fingerprint=false"
        assert asked(api, endpoint, [RED])[0].tags == (Tag("(other)", 1.0),)  # type: ignore[union-attr]
    _, entry, options = read_api(api)
    assert entry.closed_labels(options) == ("red", "green", "blue", "(other)")


def test_the_request_is_one_message_at_temperature_0(labels: str) -> None:
    """What is sent, seen by a server of a few lines."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    seen: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = {
                "model": "m-1",
                "choices": [{"message": {"content": " Red\n"}, "finish_reason": "stop", "index": 0}],
            }
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1"
        (answer,) = asked(f"openai:model=m,labels={labels},keyless=true,detail=low", endpoint, [RED])
        asked(f"openai:model=m,labels={labels},keyless=true,reasoning=true,format=text", endpoint, [RED])
        server.shutdown()
    assert best(answer) == "red"
    assert answer.version == "m-1"
    first, second = seen
    assert (first["temperature"], first["max_tokens"]) == (0, 16 + len("green"))
    assert first["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == ["red", "green", "blue"]
    (message,) = first["messages"]
    text, image = message["content"]
    assert text["text"] == (
        "Classify the image. Answer with exactly one of these labels, and nothing else:\nred\ngreen\nblue"
    )
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert image["image_url"]["detail"] == "low"
    assert not {"temperature", "max_tokens", "response_format"} & set(second)
    assert second["max_completion_tokens"] == 16 + len("green") + 4096


@pytest.mark.parametrize(
    ("conduct", "failure", "words"),
    [
        (Conduct(throttle=1.0, retry_after=1.5), Throttled, "HTTP 429"),
        (Conduct(quota=1), ApiFailure, "no money or quota left"),
        (Conduct(model="other"), ApiFailure, "HTTP 404"),
        (Conduct(unavailable=1.0), Transient, "HTTP 503"),
        (Conduct(reset=1.0), Transient, "disconnected"),
    ],
)  # fmt: skip
def test_failures(
    conduct: Conduct, failure: type[Exception], words: str, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("openai", conduct) as fake:
        endpoint = with_environment(monkeypatch, fake)
        with pytest.raises(failure, match=words) as caught:
            asked(f"openai:model=m,labels={labels}", endpoint, [RED], [GREEN])
        assert fake.bill["requests"] == (2 if conduct.quota else 1)  # the client itself tries nothing again
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after == 1.5
    if isinstance(caught.value, Transient):
        assert caught.value.billed


def test_a_wrong_key_is_named_by_its_variable_alone(labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with running("openai") as fake, pytest.raises(ApiFailure, match="the key in MY_KEY is not valid") as caught:
        asked(f"openai:model=m,labels={labels},key_env=MY_KEY", fake.address.endpoint, [RED])
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_was_sent_nothing(labels: str) -> None:
    with running("openai") as fake:
        endpoint = fake.address.endpoint
    with pytest.raises(Transient) as caught:
        asked(f"openai:model=m,labels={labels},keyless=true", endpoint, [RED])
    assert not caught.value.billed


def test_a_refused_picture_and_rubbish_are_answers_without_a_label(
    labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for conduct, words in ((Conduct(refuse=1.0), "content policy"), (Conduct(rubbish=1.0), "not an answer")):
        with running("openai", conduct) as fake:
            endpoint = with_environment(monkeypatch, fake)
            (answer,) = asked(f"openai:model=m,labels={labels}", endpoint, [RED])
        assert isinstance(answer, PictureRefused)
        assert words in str(answer)
        json.loads(answer.raw)


def test_the_identity_holds_digests_and_no_key(labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    def identity(api: str, endpoint: str | None = None) -> dict:
        _, entry, options = read_api(api)
        return dict(entry.describe(options, endpoint))

    found = identity(f"openai:model=m,labels={labels}")
    assert "secret" not in json.dumps(found)
    assert labels not in json.dumps(found)
    Path(labels).write_text("green\nred\nblue\n")
    assert identity(f"openai:model=m,labels={labels}")["labels_sha256"] != found["labels_sha256"]
    assert identity(f"openai:model=m,labels={labels}", "http://127.0.0.1:8000/v1/")["endpoint"] == (
        "http://127.0.0.1:8000/v1"
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("red\nRed\n", "'red' and 'Red' differ in capitals alone"),
        ("red\n(other)\n", r"has the label \(other\)"),
        ("red\n", "has one label"),
        ("", "is empty"),
    ],
)
def test_labels_that_cannot_be_distinguished_are_refused(lines: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(lines)
    _, entry, options = read_api(f"openai:model=m,keyless=true,labels={tmp_path}/labels.txt")
    with pytest.raises(RaysmoothError, match=words):
        entry.check(options, None)


def test_what_is_missing_is_named_before_anything_is_sent(labels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(RaysmoothError, match="option labels is missing"):
        read_api("openai:model=m")
    _, entry, options = read_api(f"openai:model=m,labels={labels}")
    with pytest.raises(RaysmoothError, match="OPENAI_API_KEY is not set"):
        entry.check(options, None)
    with pytest.raises(RaysmoothError, match=r"openai:plain_http=true"):
        entry.check(options, "http://example.org/v1")
    _, entry, options = read_api("openai:model=m,labels=nowhere.txt,keyless=true")
    with pytest.raises(RaysmoothError, match=r"no file nowhere\.txt"):
        entry.check(options, None)


def test_files_are_looked_for_below_other_folders_too(labels: str) -> None:
    folder, name = str(Path(labels).parent), Path(labels).name
    written, entry, options = read_api(f"openai:model=m,labels={name}", (folder,))
    assert entry.closed_labels(options)[0] == "red"
    assert str(written) == f"openai:labels={name},model=m"


def test_the_fake_knows_all_its_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("\n".join(COLOURS))
    with running("openai", Conduct(change_after=1)) as fake:
        endpoint = with_environment(monkeypatch, fake)
        answers = asked(f"openai:model=m,labels={tmp_path}/all.txt", endpoint, [RED], [RED])
    assert [answer.version for answer in answers] == ["m fp_2026-01-15", "m fp_2026-06-30"]


@pytest.mark.parametrize(
    ("status", "error", "failure", "words"),
    [
        (402, {"message": "Insufficient credits", "code": 402}, ApiFailure, "no money or quota left"),
        (200, {"message": "Insufficient credits", "code": 402}, ApiFailure, "no money or quota left"),
        (400, {"message": "no", "type": "BadRequestError", "code": 400}, PictureRefused, "400 - no"),
        (503, {"message": "busy", "code": 503}, Transient, "503 - busy"),
    ],
)
def test_codes_of_errors_may_be_numbers(
    status: int, error: dict[str, object], failure: type[Exception], words: str, labels: str
) -> None:
    """As servers other than OpenAI's have them: vLLM, OpenRouter."""
    choice = {"message": {"role": "assistant", "content": "red"}, "finish_reason": "stop", "index": 0}
    replies = iter([(200, {"choices": [choice], "model": "m"}), (status, {"error": error})])

    async def handle(request: web.Request) -> web.Response:
        code, body = next(replies)
        return web.json_response(body, status=code)

    async def ask() -> object:
        _, entry, options = read_api(f"openai:model=m,labels={labels},keyless=true")
        async with rest_server(FakeService(), [web.post("/{path:.*}", handle)]) as endpoint:
            client = entry.make(options, endpoint)
            try:
                assert isinstance((await client.classify([RED]))[0], Answer)
                return (await client.classify([RED]))[0]
            except (ApiFailure, Throttled, Transient) as raised:
                return raised
            finally:
                await client.close()

    found = asyncio.run(ask())
    assert type(found) is failure
    assert words in str(found)
