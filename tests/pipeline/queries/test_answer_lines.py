"""Answers of others: each line is checked, and every bad one is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from logged_queries import image, log_in

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries.answer_lines import answer_lines, check_answer_lines
from raysmooth.pipeline.queries.charges import Charges

GOOD = {"image": 17, "role": "estimation", "draw": 3, "tags": [{"name": "Dog", "score": 1}]}


def file_of(folder: Path, *lines: Any) -> str:
    file = folder / "answers.jsonl"
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    file.write_bytes(b"\n".join(texts) + b"\n")
    return str(file)


def test_lines_become_answers_that_no_one_is_charged_for(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        {**GOOD, "raw": {"a": [1]}, "version": "v3", "price": 0.0015},
        b"",
        {"image": "a" * 64, "role": "reference", "draw": 0, "refused": "bad picture", "raw": "text"},
        {"image": 17, "role": "selection", "draw": 3, "tags": [{"name": "é", "score": 0.5, "parents": ["x"]}]},
    )
    assert check_answer_lines(path) == 3
    first, second, third = (line.answer(image) for line in answer_lines(path))
    assert first.key == DrawKey(image(17), Role.ESTIMATION, 3)
    assert first.tags == (Tag("Dog", 1.0),)
    assert (first.version, first.raw, first.price, first.image_id) == ("v3", '{"a": [1]}', 1_500_000, 17)
    assert second.key == DrawKey("a" * 64, Role.REFERENCE, 0)
    assert (second.tags, second.refused, second.raw, second.image_id) == ((), "bad picture", "text", None)
    assert third.tags == (Tag("é", 0.5, ("x",)),)
    with log_in(tmp_path) as log:
        assert all(map(log.add_answer, (first, second, third)))
        assert log.charges == Charges()
    with log_in(tmp_path) as log:
        assert log.answer(first.key) == first


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1]", "expected an object"),
        ({**GOOD, "role": "optimisation"}, 'role is "optimisation", expected one of selection, estimation, reference'),
        ({**GOOD, "draw": -1}, "draw is -1"),
        ({**GOOD, "draw": True}, "draw is true"),
        ({**GOOD, "image": "abc"}, "image"),
        ({**GOOD, "image": -1}, "image"),
        ({**GOOD, "tags": [{"name": "Dog"}]}, "lacks the key tags.0.score"),
        ({**GOOD, "tags": [{"name": "Dog", "score": "high"}]}, 'tags.0.score is "high"'),
        (b'{"image": 1, "role": "estimation", "draw": 0, "tags": [{"name": "a", "score": NaN}]}', "holds NaN"),
        ({**GOOD, "price": -1}, "price is -1"),
        ({**GOOD, "refused": "why"}, "not both"),
        ({**GOOD, "role": "reference"}, "draw 0 alone"),
        (GOOD, "answers a draw that an earlier line answers"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: Any, problem: str) -> None:
    path = file_of(tmp_path, GOOD, line, {**GOOD, "draw": 4})
    with pytest.raises(RaysmoothError) as refusal:
        check_answer_lines(path)
    assert "1 line to be put right: line 2: " in str(refusal.value)
    assert problem in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_all_bad_lines_are_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, *[GOOD if number % 2 else {} for number in range(2)], *[{}] * 30)
    with pytest.raises(RaysmoothError, match=r"31 lines to be put right: line 1: .*; also lines 5, 6, .*, \.\.\.$"):
        check_answer_lines(path)


def test_what_is_no_file_of_answers_is_refused(tmp_path: Path) -> None:
    for path, problem in (
        (file_of(tmp_path), "has no answers"),
        (str(tmp_path), "cannot be read"),
        (str(tmp_path / "none"), "no such file"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(RaysmoothError, match=problem):
            check_answer_lines(path)
