"""Answers that no protocol foresees: pictures without an answer, or one of the failures, never another error."""

import math
from pathlib import Path

import pytest
from api_requests import RED
from hypothesis import given
from hypothesis import strategies as st
from odd_answers import followed, outcomes_over_rest

from raysmooth.actors.apis.answers import Picture
from raysmooth.actors.apis.failures import Throttled, Transient
from raysmooth.actors.apis.http_request import HttpRequest, Unreadable
from raysmooth.common.settings import checked

ANSWERS = [
    b"",
    b"\x00\xff",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"{",
    b"[" * 100_000,
    b'{"choices": "no"}',
    b'{"choices": []}',
    b'{"choices": null, "error": {"code": "a", "message": null}}',
    b'{"choices": [null]}',
    b'{"choices": [{}]}',
    b'{"choices": [{"message": null}]}',
    b'{"choices": [{"message": {"content": [1]}}]}',
    b'{"choices": [{"message": {"content": {"label": "red"}}, "finish_reason": 7}], "model": 7}',
    b'{"choices": [{"message": {"content": "{\\"label\\": 7}"}}], "model": "m", "system_fingerprint": 1}',
    b'{"outputs": []}',
    b'{"outputs": {"a": 1}}',
    b'{"outputs": [{"name": "y"}]}',
    b'{"outputs": [{"name": ["y"], "data": [1, 2]}]}',
    b'{"outputs": [{"name": "y", "data": [[1, 2], 3]}]}',
    b'{"outputs": [{"name": "y", "data": ["a", null]}], "model_version": {"a": 1}}',
    b'{"outputs": [{"name": "y", "data": {"0": 1}}]}',
    b'{"outputs": [{"name": "y", "data": [1e999, 1]}]}',
    b'{"labels": [{"label": "x"}], "version": ["v"]}',
    b'{"labels": {"label": "x"}}',
    b'{"error": {"code": 429, "message": "upstream"}}',
    b'{"error": {"code": 502}}',
]


@pytest.mark.parametrize("kind", ["application/json", "text/html"])
@pytest.mark.parametrize("name", ["openai", "oip", "http"])
def test_odd_answers_are_no_other_errors(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("red\ngreen\n")
    (tmp_path / "request.yaml").write_text("labels: labels[*].label\nversion: version\n")
    api = {
        "openai": f"openai:model=m,labels={tmp_path}/labels.txt,keyless=true",
        "oip": "oip:model=m,classes=2",
        "http": f"http:request={tmp_path}/request.yaml",
    }[name]
    picture = Picture(RED.pixels.transpose(2, 0, 1) / 255) if name == "oip" else RED
    found = outcomes_over_rest(api, picture, ANSWERS, kind=kind)
    for answer, outcome in zip(ANSWERS, found, strict=True):
        followed(outcome, answer[:60])
    if name == "openai":
        assert [type(outcome) for outcome in found[-2:]] == [Throttled, Transient]


KEYS = st.sampled_from(["l", "s", "m", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_any_json_gives_tags_or_none(answer: object) -> None:
    for keys in (
        {"labels": "l"},
        {"labels": "l[*].x", "scores": "l[*].s"},
        {"label_scores": "m", "version": "x"},
        {"scores": "s", "classes": ["a", "b"]},
    ):
        request = checked(HttpRequest, keys)
        try:
            tags = request.tags(answer)
        except Unreadable:
            continue
        assert all(isinstance(tag.name, str) and math.isfinite(tag.score) for tag in tags)
        version = request.version_of(answer)
        assert version is None or isinstance(version, str)
