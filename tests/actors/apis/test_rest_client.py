"""What statuses mean, and what of a reply is logged."""

import asyncio
import json

import pytest
from aiohttp import web

from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.actors.apis.rest_client import LARGEST_LOGGED, MOST_BYTES, Reply, RestClient
from raysmooth.tune.fake_apis.rest_server import rest_server
from raysmooth.tune.fake_apis.service import FakeService


@pytest.mark.parametrize(
    ("status", "first", "later"),
    [
        (429, Throttled, Throttled),
        (503, Transient, Transient),
        (500, Transient, Transient),
        (408, Transient, Transient),
        (401, ApiFailure, ApiFailure),
        (402, ApiFailure, ApiFailure),
        (403, ApiFailure, ApiFailure),
        (404, ApiFailure, ApiFailure),
        (302, ApiFailure, ApiFailure),
        (400, ApiFailure, PictureRefused),
        (413, ApiFailure, PictureRefused),
        (422, ApiFailure, PictureRefused),
    ],
)
def test_statuses(status: int, first: type[Exception], later: type[Exception]) -> None:
    client = RestClient("x", doubts=1)
    reply = Reply(status, {"Retry-After": "4"}, b'{"error": "so"}')
    assert type(client.failure(reply)) is first
    client.answered = True
    assert type(client.failure(reply)) is later


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (402, b"pay", "no money or quota left"),
        (403, b"The Quota is exhausted", "quota left"),
        (403, b"no", "the key is"),
    ],
)
def test_an_empty_account_is_no_wrong_key(status: int, body: bytes, words: str) -> None:
    assert words in str(RestClient("x").failure(Reply(status, {}, body)))


def test_statuses_may_be_named() -> None:
    client = RestClient("x", throttled=[503], refused=[400])
    busy = client.failure(Reply(503, {"Retry-After": "4"}, b"busy"))
    assert isinstance(busy, Throttled)
    assert busy.retry_after == 4
    assert isinstance(client.failure(Reply(400, {}, b"no")), PictureRefused)
    assert isinstance(client.failure(Reply(429, {}, b"no")), PictureRefused)


def test_many_refusals_in_a_row_are_the_requests_fault() -> None:
    """A run that goes on with nothing but refused pictures gets through, and one of a wrong request does not."""
    client = RestClient("x", doubts=3)
    refused = [type(client.failure(Reply(422, {}, b"no"))) for _ in range(3)]
    assert refused == [PictureRefused, PictureRefused, ApiFailure]
    client.answered = True
    assert isinstance(client.failure(Reply(422, {}, b"no")), PictureRefused)


def test_retry_after_comes_with_a_servers_error() -> None:
    failure = RestClient("x").failure(Reply(503, {"Retry-After": "7"}, b""))
    assert isinstance(failure, Transient)
    assert failure.retry_after == 7
    assert failure.billed


def test_a_reply_is_logged_as_json() -> None:
    assert Reply(200, {}, b'{"a": 1}').raw == '{"a": 1}'
    assert json.loads(Reply(200, {}, b"<html>\xff").raw) == "<html>\ufffd"
    large = json.dumps(["x" * LARGEST_LOGGED]).encode()
    assert len(json.loads(Reply(200, {}, large).raw)) == 4096


def test_an_answer_that_does_not_end_is_none() -> None:
    async def flood(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (MOST_BYTES + 1))

    async def ask() -> str:
        async with rest_server(FakeService(), [web.post("/flood", flood)]) as base:
            client = RestClient("x")
            with pytest.raises(PictureRefused) as caught:
                await client.send("POST", f"{base}/flood", b"", {})
            await client.close()
            return str(caught.value)

    assert "16,777,216 bytes" in asyncio.run(ask())


def test_a_key_in_the_query_is_in_no_message() -> None:
    """Neither from a server that speaks no HTTP nor from one that redirects, query and all."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"BABBLE\r\n\r\n")
        await writer.drain()
        writer.close()

    async def ask() -> str:
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = RestClient("x")
        async with server:
            with pytest.raises(Transient) as caught:
                await client.send("POST", f"http://127.0.0.1:{port}/?key=s3cret", b"", {})
        await client.close()
        return str(caught.value)

    said = asyncio.run(ask())
    assert said.startswith("x: no HTTP: ")
    assert "s3cret" not in said
    moved = RestClient("x").failure(Reply(301, {"Location": "https://example.org/there/?key=s3cret"}, b""))
    assert "redirects to https://example.org/there/: write" in str(moved)
    assert "s3cret" not in str(moved)


def test_an_answer_of_success_that_cannot_be_used_may_have_been_paid() -> None:
    for status, billed in ((200, True), (201, True), (400, False)):
        failure = RestClient("x").misfit(Reply(status, {}, b"{}"), "no labels")
        assert isinstance(failure, ApiFailure)
        assert failure.billed is billed
