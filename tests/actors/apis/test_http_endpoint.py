"""A black box behind HTTP, against a local server, and what its file may say."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from api_requests import BLUE, GREEN, RED, asked, best, with_environment

from raysmooth.actors.apis.answers import Answer, Tag
from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.actors.apis.http_request import HttpRequest, Unreadable
from raysmooth.actors.apis.rest_client import DOUBTS
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import running
from raysmooth.tune.fake_apis.rest_server import rest_server
from raysmooth.tune.fake_apis.service import FakeService

FAKE: dict[str, Any] = {
    "headers": {"X-Api-Key": "${FAKE_API_KEY}"},
    "labels": "labels[*].label",
    "scores": "labels[*].score",
    "version": "version",
}


def written(folder: Path, **keys: Any) -> str:
    """The API with a file of these keys."""
    path = folder / "request.yaml"
    path.write_text(yaml.safe_dump(keys))
    return f"http:request={path}"


def refusal(folder: Path, endpoint: str | None = "https://example.org", **keys: Any) -> str:
    """The line that `check` refuses with."""
    _, entry, options = read_api(written(folder, **keys))
    with pytest.raises(RaysmoothError) as caught:
        entry.check(options, endpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BODIES = {
    "image": {},
    "JSON": {"body": {"image": "{image_base64}", "type": ["{media_type}"]}},
}


@pytest.mark.parametrize("body", BODIES)
def test_labels_scores_and_the_version_are_where_the_file_says(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running("http") as fake:
        endpoint = with_environment(monkeypatch, fake)
        answers = asked(written(tmp_path, **FAKE, **BODIES[body]), endpoint, [RED], [GREEN], [BLUE])
        assert fake.bill["distinct"] == 3
    assert [best(answer) for answer in answers] == ["red", "green", "blue"]
    assert isinstance(answers[0], Answer)
    assert answers[0].version == "2026-01-15"
    assert len(answers[0].tags) == 9
    assert json.loads(answers[0].raw)["labels"][0]["label"] == "red"


def test_a_mapping_of_labels_to_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running("http") as fake:
        endpoint = with_environment(monkeypatch, fake).replace("classify", "scores")
        api = written(tmp_path, headers=FAKE["headers"], label_scores="@")
        assert best(asked(api, endpoint, [BLUE])[0]) == "blue"


def reading(**keys: Any) -> HttpRequest:
    return checked(HttpRequest, keys)


@pytest.mark.parametrize(
    ("keys", "answer", "tags"),
    [
        ({"labels": "a.b"}, {"a": {"b": "cat"}}, (Tag("cat", 1.0),)),
        ({"labels": "[*].l"}, [{"l": "cat"}, {"l": 7}], (Tag("cat", 1.0), Tag("7", 0.5))),
        ({"labels": "l", "scores": "s"}, {"l": ["x", "y"], "s": [1, 2.5]}, (Tag("x", 1.0), Tag("y", 2.5))),
        ({"scores": "p[0]", "classes": ["x", "y"]}, {"p": [[3, 4]]}, (Tag("x", 3.0), Tag("y", 4.0))),
        ({"labels": "found[*].l || `[]`"}, {}, ()),
        ({"labels": "l"}, {"l": []}, ()),
        ({"label_scores": "s"}, {"s": {}}, ()),
    ],
)  # fmt: skip
def test_tags_of_an_answer(keys: dict[str, Any], answer: Any, tags: tuple[Tag, ...]) -> None:
    assert reading(**keys).tags(answer) == tags


@pytest.mark.parametrize(
    ("keys", "answer", "words"),
    [
        ({"labels": "a.b"}, {"a": {}}, "a.b finds nothing"),
        ({"labels": "a"}, {"a": [True]}, "true is no label"),
        ({"labels": "a"}, {"a": [{"b": 1}]}, "is no label"),
        ({"labels": "l", "scores": "s"}, {"l": ["x"], "s": [1, 2]}, "1 labels and 2 scores"),
        ({"labels": "l", "scores": "s"}, {"l": ["x"], "s": ["1"]}, '"1" is no score'),
        ({"label_scores": "s"}, {"s": [1]}, "no mapping"),
        ({"label_scores": "s"}, {"s": {"x": float("nan")}}, "NaN is no score"),
        ({"labels": "l", "classes": ["x", "y"]}, {"l": "z"}, '"z" is none of the classes'),
    ],
)
def test_answers_that_hold_no_labels(keys: dict[str, Any], answer: Any, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        reading(**keys).tags(answer)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assert "paths into the answer" in refusal(tmp_path)
    assert "label_scores alone" in refusal(tmp_path, labels="a", label_scores="b")
    assert "labels a[: expected a JMESPath, such as labels[*].name" in refusal(tmp_path, labels="a[")
    assert "where the picture belongs" in refusal(tmp_path, labels="a", body={"image": "{picture}"})
    assert "two labels or more" in refusal(tmp_path, labels="a", classes=["x", "x"])
    assert "meaning of its own" in refusal(tmp_path, labels="a", classes=["x", "(other)"])
    assert "unknown setting 'lables': did you mean 'labels'" in refusal(tmp_path, lables="a")
    assert "NOT_THERE is not set" in refusal(tmp_path, labels="a", headers={"Key": "Bearer ${NOT_THERE}"})
    assert "http needs --endpoint" in refusal(tmp_path, None, labels="a")
    assert "http:plain_http=true" in refusal(tmp_path, "http://10.0.0.7:8000", labels="a")
    assert "there is no such file" in refusal_of_file("nowhere.yaml")
    _, entry, options = read_api(f"{written(tmp_path, labels='a')},plain_http=true")
    entry.check(options, "http://10.0.0.7:8000")


def refusal_of_file(path: str) -> str:
    _, entry, options = read_api(f"http:request={path}")
    with pytest.raises(RaysmoothError) as caught:
        entry.check(options, "https://example.org")
    return str(caught.value)


@pytest.mark.parametrize(
    ("conduct", "failure", "words"),
    [
        (Conduct(throttle=1.0, retry_after=0.5), Throttled, "HTTP 429"),
        (Conduct(unavailable=1.0), Transient, "HTTP 503"),
        (Conduct(reset=1.0), Transient, "http: "),
        (Conduct(key="another"), ApiFailure, "HTTP 401: the key is missing, not valid"),
        (Conduct(quota=1), ApiFailure, "HTTP 403"),
        (Conduct(rubbish=1.0), ApiFailure, "correct the file of http:request"),
    ],
)  # fmt: skip
def test_failures(
    conduct: Conduct, failure: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_API_KEY", "fake-key")
    with running("http", conduct) as fake, pytest.raises(failure, match=words) as caught:
        asked(written(tmp_path, **FAKE), fake.address.endpoint, [RED], [GREEN])
    assert "fake-key" not in str(caught.value)
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after == 0.5
    if isinstance(caught.value, Transient):
        assert caught.value.billed


def test_a_server_that_is_not_there_was_sent_nothing(tmp_path: Path) -> None:
    with running("http") as fake:
        endpoint = fake.address.endpoint
    with pytest.raises(Transient) as caught:
        asked(written(tmp_path, labels="a"), endpoint, [RED])
    assert not caught.value.billed


def test_a_redirection_is_not_followed(tmp_path: Path) -> None:
    """The key must not go to another machine."""

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("https://elsewhere.example/classify")

    async def ask() -> None:
        async with rest_server(FakeService(), [web.post("/classify", moved)]) as base:
            _, entry, options = read_api(written(tmp_path, labels="a"))
            client = entry.make(options, f"{base}/classify")
            try:
                await client.classify([RED])
            finally:
                await client.close()

    with pytest.raises(ApiFailure, match=r"redirects to https://elsewhere\.example"):
        asyncio.run(ask())


def test_statuses_of_refusal_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running("http", Conduct(refuse=1.0)) as fake:
        endpoint = with_environment(monkeypatch, fake)
        (answer,) = asked(written(tmp_path, **FAKE, refused=[422]), endpoint, [RED])
    assert isinstance(answer, PictureRefused)
    assert "content policy" in answer.raw


def test_refusals_are_the_pictures_fault_unless_nothing_else_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = written(tmp_path, **FAKE)
    with running("http", Conduct(refuse=1.0)) as fake:
        endpoint = with_environment(monkeypatch, fake)
        answers = asked(api, endpoint, *[[RED]] * (DOUBTS - 1))
        assert all(isinstance(answer, PictureRefused) and "HTTP 422" in str(answer) for answer in answers)
        with pytest.raises(ApiFailure, match=r"HTTP 422.*no request has had an answer yet"):
            asked(api, endpoint, *[[RED]] * DOUBTS)


def test_the_identity_is_that_of_what_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(**keys: Any) -> str:
        _, entry, options = read_api(written(tmp_path, **keys))
        return json.dumps(entry.describe(options, "https://example.org/x"))

    monkeypatch.setenv("ONE", "secret-1")
    monkeypatch.setenv("TWO", "secret-2")
    first = identity(labels="a", headers={"Key": "${ONE}"})
    assert first == identity(labels="a", headers={"Key": "${TWO}"}, version="v", refused=[400])
    assert "secret" not in first
    for other in ({"labels": "b"}, {"labels": "a", "query": {"v": "1"}}, {"labels": "a", "classes": ["x", "y"]}):
        assert identity(**other) != identity(labels="a")
    _, entry, options = read_api(written(tmp_path, labels="a", classes=["x", "y"]))
    assert entry.closed_labels(options) == ["x", "y"]
    _, entry, options = read_api(written(tmp_path, labels="a"))
    assert entry.closed_labels(options) is None
