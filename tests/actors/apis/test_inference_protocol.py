"""Open Inference Protocol, version 2, against a local server whom Triton's own client finds to speak it."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from api_requests import asked, best
from fake_pictures import digits, trained_digits_cnn

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.apis import VISION_APIS, read_api
from raysmooth.actors.apis.failures import ApiFailure, BatchRefused, PictureRefused, Throttled, Transient
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.fake_apis.classify import COLOURS, PixelClassifier, trained_network
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import running
from raysmooth.tune.fake_apis.rest_server import rest_server
from raysmooth.tune.fake_apis.service import FakeService

COLOUR_API = f"oip:model=fake,classes={len(COLOURS)}"


def numbers(red: float, green: float, blue: float) -> Picture:
    """A picture of one colour, as numbers."""
    return Picture(np.full((3, 2, 2), [[[red]], [[green]], [[blue]]], np.float32))


RED, BLUE = numbers(1, 0, 0.25), numbers(0, 0, 1)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> PixelClassifier:
    return trained_network("digits_cnn", str(trained_digits_cnn(tmp_path_factory.mktemp("weights"))))


@pytest.mark.parametrize("binary", ["true", "false"])
def test_answers_are_those_of_the_network_itself(network: PixelClassifier, binary: str) -> None:
    noise = np.random.default_rng(1).normal(0, 0.25, (8, 1, 8, 8))
    pixels = (np.moveaxis(digits()[0][:8], 3, 1) / 255 + noise).astype(np.float32)
    with running("oip", classifier=network) as fake:
        api = f"oip:model=fake,classes=10,batch=5,binary={binary}"
        pictures = [Picture(one) for one in pixels]
        answers = asked(api, fake.address.endpoint, pictures[:5], pictures[5:])
        assert (fake.bill["requests"], fake.bill["billed"]) == (2, 8)
    logits = network.logits(pixels).astype(np.float64)
    for answer, row in zip(answers, logits, strict=True):
        assert isinstance(answer, Answer)
        assert answer.version == "2026-01-15"
        expected = np.exp(row) / np.exp(row).sum()
        assert [tag.name for tag in answer.tags] == [str(place) for place in np.argsort(-expected)]
        np.testing.assert_allclose([tag.score for tag in answer.tags], np.sort(expected)[::-1], rtol=1e-9)
        assert json.loads(answer.raw)["data"] == row.tolist()  # each float32 exactly


def test_tritons_client_gets_the_same_logits(network: PixelClassifier) -> None:
    from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

    pixels = np.moveaxis(digits()[0][:3], 3, 1).astype(np.float32) / 255
    with running("oip", classifier=network) as fake:
        client = InferenceServerClient(fake.address.endpoint.removeprefix("http://"))
        try:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("fake")
            assert client.get_model_metadata("fake")["inputs"] == [
                {"name": "input", "datatype": "FP32", "shape": [-1, 1, -1, -1]}
            ]
            for binary in (True, False):
                tensor = InferInput("input", list(pixels.shape), "FP32")
                tensor.set_data_from_numpy(pixels, binary_data=binary)
                result = client.infer("fake", [tensor], outputs=[InferRequestedOutput("logits", binary_data=binary)])
                np.testing.assert_array_equal(result.as_numpy("logits"), network.logits(pixels))
            np.testing.assert_array_equal(client.infer("fake", [tensor]).as_numpy("logits"), network.logits(pixels))
        finally:
            client.close()


def received(options: str, *pictures: Picture) -> list[dict]:
    """The requests that a server of a few lines receives for a model of two classes."""
    seen: list[dict] = []
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}

    async def handle(request: web.Request) -> web.Response:
        seen.append({"path": request.path, "key": request.headers.get("Authorization"), **await request.json()})
        return web.json_response({"outputs": [output]})

    async def ask() -> None:
        async with rest_server(FakeService(), [web.post("/{path:.*}", handle)]) as endpoint:
            _, entry, read = read_api(f"oip:model=m,classes=2,{options}")
            client = entry.make(read, endpoint)
            for picture in pictures:
                await client.classify([picture])
            await client.close()

    asyncio.run(ask())
    return seen


def test_the_request_holds_scaled_pixels_in_the_layout_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_TOKEN", "secret")
    picture = numbers(1.0, 0.5, 0.0)
    options = "version=3,input=x,output=y,layout=nhwc,scale=2,mean=1/0.5/0,std=0.5,key_env=TRITON_TOKEN"
    (request,) = received(options, picture)
    # (2 * 1 - 1) / 0.5, (2 * 0.5 - 0.5) / 0.5, 0 / 0.5
    tensor = {"name": "x", "shape": [1, 2, 2, 3], "datatype": "FP32", "data": [2.0, 1.0, 0.0] * 4}
    assert request == {
        "path": "/v2/models/m/versions/3/infer",
        "key": "Bearer secret",
        "inputs": [tensor],
        "outputs": [{"name": "y"}],
    }
    (request,) = received("answer=probabilities", picture)
    assert request["path"] == "/v2/models/m/infer"
    assert request["key"] is None
    assert request["inputs"][0]["shape"] == [1, 3, 2, 2]
    assert request["inputs"][0]["data"] == [1.0] * 4 + [0.5] * 4 + [0.0] * 4


def test_labels_that_a_server_answers_are_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")

    async def handle(request: web.Request) -> web.Response:
        first = (await request.json())["inputs"][0]["data"][0]
        data = {0.0: 1, 1.0: "cat", 2.0: 7}[first]
        return web.json_response({"outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [data]}]})

    async def ask() -> list:
        async with rest_server(FakeService(), [web.post("/{path:.*}", handle)]) as endpoint:
            _, entry, options = read_api(f"oip:model=m,labels={tmp_path}/labels.txt,answer=label")
            client = entry.make(options, endpoint)
            answers = [(await client.classify([numbers(value, 0, 0)]))[0] for value in (0.0, 1.0, 2.0)]
            await client.close()
            return answers

    number, name, neither = asyncio.run(ask())
    assert (best(number), best(name)) == ("dog", "cat")
    assert isinstance(neither, PictureRefused)
    assert "the label 7 is none of the classes" in str(neither)


def test_values_that_are_no_numbers_are_no_answer() -> None:
    with running("oip", classifier=PixelClassifier(("a", "b"), lambda x: np.full((len(x), 2), np.nan))) as fake:
        (answer,) = asked("oip:model=fake,classes=2", fake.address.endpoint, [RED])
    assert isinstance(answer, PictureRefused)
    assert "no numbers" in str(answer)


@pytest.mark.parametrize(
    ("conduct", "failure", "words"),
    [
        (Conduct(throttle=1.0, retry_after=3), Throttled, "HTTP 429"),
        (Conduct(unavailable=1.0), Transient, "HTTP 503"),
        (Conduct(reset=1.0), Transient, "oip: "),
        (Conduct(quota=1), ApiFailure, "HTTP 403"),
        (Conduct(model="other"), ApiFailure, "HTTP 404: .*'fake' is not found"),
        (Conduct(rubbish=1.0), ApiFailure, "no request has had an answer yet"),
    ],
)  # fmt: skip
def test_failures(conduct: Conduct, failure: type[Exception], words: str) -> None:
    with running("oip", conduct) as fake, pytest.raises(failure, match=words) as caught:
        asked(COLOUR_API, fake.address.endpoint, [RED], [BLUE])
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after == 3
    if isinstance(caught.value, Transient):
        assert caught.value.billed


def test_a_request_that_does_not_fit_the_model_names_its_tensors() -> None:
    with running("oip") as fake:
        with pytest.raises(ApiFailure, match=r"unexpected inference input 'x'.*the model has inputs input \(FP32 \[-1"):
            asked(f"{COLOUR_API},input=x", fake.address.endpoint, [RED])
        with pytest.raises(ApiFailure, match=r"answers 9 numbers for a picture, and not 8.*outputs logits"):
            asked("oip:model=fake,classes=8", fake.address.endpoint, [RED])
        with pytest.raises(ApiFailure, match="oip:mean has 4 numbers, and images have 3 channels"):
            asked(f"{COLOUR_API},mean=0.1/0.2/0.3/0.4", fake.address.endpoint, [RED])


def test_what_is_refused_after_an_answer_is_the_picture() -> None:
    grey = Picture(np.zeros((1, 2, 2), np.float32))
    with running("oip") as fake:
        fake.service.classifier = PixelClassifier(("a", "b"), lambda x: np.ones((len(x), 2)), channels=3)
        first, second = asked("oip:model=fake,classes=2,batch=2", fake.address.endpoint, [RED], [grey])
        assert fake.bill["billed"] == 1
    assert isinstance(first, Answer)
    assert isinstance(second, PictureRefused)


def test_rubbish_for_several_pictures_is_asked_again_one_by_one() -> None:
    """After a permit of the budget, since it may have been paid for."""
    with running("oip") as fake:

        async def ask() -> None:
            _, entry, options = read_api(f"{COLOUR_API},batch=2")
            client = entry.make(options, fake.address.endpoint)
            await client.classify([RED, BLUE])
            fake.service.conduct = Conduct(rubbish=1.0)
            try:
                with pytest.raises(BatchRefused, match="not an answer") as caught:
                    await client.classify([RED, BLUE])
                assert caught.value.billed
                (alone,) = await client.classify([RED])
                assert isinstance(alone, PictureRefused)
            finally:
                await client.close()

        asyncio.run(ask())


def test_a_batch_that_is_refused_sends_nothing_by_itself() -> None:
    """Who sends each picture again asks the rate and the budget before."""
    replies = iter([200, 400])

    async def infer(_: web.Request) -> web.Response:
        outputs = [{"name": "output", "data": [0.0] * len(COLOURS)}]
        return web.json_response({"outputs": outputs}, status=next(replies))

    async def ask() -> BatchRefused:
        async with rest_server(FakeService(), [web.post("/v2/models/fake/infer", infer)]) as base:
            _, entry, options = read_api(f"{COLOUR_API},batch=2")
            client = entry.make(options, base)
            await client.classify([RED])
            with pytest.raises(BatchRefused) as caught:
                await client.classify([RED, BLUE])
            await client.close()
            return caught.value

    assert not asyncio.run(ask()).billed


def test_k_must_be_known(tmp_path: Path) -> None:
    _, entry, options = read_api("oip:model=m")
    with pytest.raises(RaysmoothError, match="write classes=K or labels=FILE"):
        entry.check(options, "https://example.org")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    _, entry, options = read_api(f"oip:model=m,classes=3,labels={tmp_path}/labels.txt")
    with pytest.raises(RaysmoothError, match="has 2 labels, but classes=3"):
        entry.check(options, "https://example.org")
    for wrong, words in (("std=0", "divides by 0"), ("mean=a/b", "write a number, or one for each channel")):
        _, entry, options = read_api(f"oip:model=m,classes=3,{wrong}")
        with pytest.raises(RaysmoothError, match=words):
            entry.check(options, "https://example.org")
    with pytest.raises(RaysmoothError, match="oip needs --endpoint"):
        entry.check(options, None)


def test_how_many_pictures_are_in_a_request_depends_on_an_option() -> None:
    _, entry, options = read_api("oip:model=m,classes=3,batch=16")
    assert entry.most_pictures == 16
    assert VISION_APIS["oip"].most_pictures == 1
    facts = entry.describe(options, "https://example.org")
    assert facts == VISION_APIS["oip"].describe(read_api("oip:model=m,classes=3")[2], "https://example.org")
