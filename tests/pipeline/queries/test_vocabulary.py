"""Codes of labels: they never change, and are on disk before they are used."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysmooth.actors.apis.answers import NO_ANSWER, NO_TAGS, OTHER, Tag
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries.accepted import Accepted, read_accepted
from raysmooth.pipeline.queries.label_rules import read_label_rule
from raysmooth.pipeline.queries.labelling import Labelling, vocabulary_of
from raysmooth.pipeline.queries.vocabulary import (
    OPEN_LABELS,
    VOCABULARY,
    ClosedVocabulary,
    OpenVocabulary,
    read_vocabulary,
)
from raysmooth.storage.location import Location, located


@dataclass(frozen=True)
class Answer:
    tags: tuple[Tag, ...] = ()
    refused: str | None = None


@pytest.fixture
def file(tmp_path: Path) -> Location:
    return located(tmp_path / "vocabulary.json")


def writable(file: Location) -> OpenVocabulary:
    return OpenVocabulary(file, lambda: None)


def test_codes_are_in_the_order_of_first_use_and_stay(file: Location) -> None:
    first = writable(file)
    assert first.codes(["Dog", "Cat", "Dog"]) == [0, 1, 0]
    assert read_vocabulary(file) == ["Dog", "Cat"]
    assert writable(file).codes(["Bird", "Cat"]) == [2, 1]
    assert first.num_labels == OPEN_LABELS
    names = writable(file).names()
    assert names == {0: "Dog", 1: "Cat", 2: "Bird", OPEN_LABELS - 2: NO_TAGS, OPEN_LABELS - 1: NO_ANSWER}
    assert [first.is_label(code) for code in (-1, 0, OPEN_LABELS - 3, OPEN_LABELS - 2)] == [False, True, True, False]


@settings(max_examples=15)
@given(st.lists(st.lists(st.text(max_size=3), max_size=5), max_size=8))
def test_sessions_agree_on_codes(tmp_path_factory: pytest.TempPathFactory, sessions: list[list[str]]) -> None:
    file = located(tmp_path_factory.mktemp("v") / "vocabulary.json")
    seen: dict[str, int] = {}
    for labels in sessions:
        codes = writable(file).codes(labels)
        for label, code in zip(labels, codes, strict=True):
            assert seen.setdefault(label, code) == code
        assert read_vocabulary(file) == sorted(seen, key=lambda label: seen[label])


def test_a_label_without_counts_is_harmless(file: Location) -> None:
    """As after a crash between the vocabulary and the counts."""
    writable(file).codes(["Dog"])
    again = writable(file)
    assert again.codes(["Cat", "Dog"]) == [1, 0]


def test_a_write_that_fails_leaves_no_code(file: Location) -> None:
    def refuse() -> None:
        raise RaysmoothError("another process writes")

    vocabulary = OpenVocabulary(file, refuse)
    with pytest.raises(RaysmoothError, match="another process"):
        vocabulary.codes(["Dog"])
    assert not file.exists()
    assert vocabulary.names().get(0) is None


def test_reading_writes_nothing(file: Location) -> None:
    writable(file).codes(["Dog"])
    before = file.read_bytes()
    assert OpenVocabulary(file, None).codes(["Cat", "Dog"]) == [1, 0]
    assert file.read_bytes() == before


def test_5000_labels_fit_and_more_than_all_are_refused(file: Location) -> None:
    vocabulary = writable(file)
    labels = [f"label {number}" for number in range(5000)]
    began = time.process_time()
    for start in range(0, 5000, 250):
        assert vocabulary.codes(labels[start : start + 250]) == list(range(start, start + 250))
    print(f"5,000 labels in 20 writes: {time.process_time() - began:.2f} s of this processor")
    assert writable(file).codes(labels) == list(range(5000))
    with pytest.raises(RaysmoothError, match=r"more than 16,382 different labels.*among:FILE"):
        vocabulary.codes(f"other {number}" for number in range(OPEN_LABELS - 2 - 5000 + 1))
    assert len(read_vocabulary(file)) == 5000


@pytest.mark.parametrize("content", ["{", "[]", '{"labels": [1]}', '{"labels": ["a", "a"]}', '{"codes": {}}'])
def test_another_file_is_refused(file: Location, content: str) -> None:
    file.write_atomic(content.encode())
    with pytest.raises(RaysmoothError, match=r"vocabulary\.json"):
        read_vocabulary(file)


def test_closed_labels_have_the_codes_of_their_order() -> None:
    vocabulary = ClosedVocabulary(["Dog", "Cat", OTHER])
    assert vocabulary.num_labels == 5
    assert vocabulary.codes(["Cat", OTHER, "Dog"]) == [1, 2, 0]
    assert vocabulary.names() == {0: "Dog", 1: "Cat", 2: OTHER, 3: NO_TAGS, 4: NO_ANSWER}
    with pytest.raises(RaysmoothError, match="'Bird', which is none of the labels"):
        vocabulary.codes(["Bird"])
    with pytest.raises(RaysmoothError, match="'Dog' is there twice"):
        ClosedVocabulary(["Dog", "Dog"])


ANSWERS: Sequence[Answer] = (
    Answer((Tag("Dog", 0.9), Tag("Cat", 0.2))), Answer(), Answer((), "content filter"), Answer((Tag("Cat", 0.2),)),
    Answer((Tag("Dog", 0.9),), "unreadable"),
)  # fmt: skip


def opened(folder: Path) -> OpenVocabulary:
    """The open vocabulary of a folder, which may be written."""
    return OpenVocabulary(located(folder) / VOCABULARY, lambda: None)


def test_draws_without_a_label_are_rejected_draws(tmp_path: Path) -> None:
    labelling = Labelling(
        read_label_rule("top"), vocabulary_of(opened(tmp_path), read_label_rule("top"), ["Cat", "Dog"])
    )
    assert labelling.num_labels == 4
    assert labelling.draw_codes(ANSWERS) == [1, 4 + 2, 4 + 3, 0, 4 + 3]
    assert labelling.draw_code(ANSWERS[0]) == 1
    assert labelling.label(ANSWERS[4]) is None


def test_rule_api_and_neither_say_what_is_closed(tmp_path: Path) -> None:
    has, top, queries = read_label_rule("has:Dog@0.5"), read_label_rule("top"), opened(tmp_path)
    assert vocabulary_of(queries, has, ["Cat", "Dog"]).names()[0] == "Dog"
    assert vocabulary_of(queries, has, None).num_labels == 4
    open_labels = vocabulary_of(queries, top, None)
    assert Labelling(top, open_labels).draw_codes(ANSWERS) == [
        0,
        2 * OPEN_LABELS - 2,
        2 * OPEN_LABELS - 1,
        1,
        2 * OPEN_LABELS - 1,
    ]
    assert read_vocabulary(located(tmp_path) / "vocabulary.json") == ["Dog", "Cat"]


NAMES = {0: "cat", 1: "dog"}


def accepted(text: str, tmp_path: Path, names: dict[int, str] = NAMES, classes: int = 3) -> Accepted:
    file = tmp_path / "accepted.yaml"
    file.write_text(text)
    return read_accepted(str(file), names, classes)


def test_accepted_labels_become_classes_of_the_data(tmp_path: Path) -> None:
    found = accepted("cat: [Cat, Feline]\n1: [Dog, 'no', 007]\n2: []\n", tmp_path)
    assert found.classes == ("cat", "dog", "2")
    assert found.class_of == {"Cat": 0, "Feline": 0, "Dog": 1, "no": 1, "007": 1}
    top, queries = read_label_rule("top"), opened(tmp_path)
    vocabulary = vocabulary_of(queries, top, None, found)
    assert vocabulary.num_labels == 3 + OPEN_LABELS
    assert vocabulary.codes(["Feline", "Tree", "Dog", "cat"]) == [0, 3, 1, 4]
    assert vocabulary.names() == {
        0: "cat", 1: "dog", 2: "2", 3: "Tree", 4: "cat", OPEN_LABELS + 1: NO_TAGS, OPEN_LABELS + 2: NO_ANSWER
    }  # fmt: skip
    closed = vocabulary_of(queries, top, ["Dog", "Bird", "Cat"], found)
    assert closed.num_labels == 3 + 1 + 2
    assert closed.codes(["Dog", "Bird", "Cat"]) == [1, 3, 0]


def test_names_and_numbers_need_no_file() -> None:
    assert read_accepted("numbers", NAMES, 3).class_of == {"0": 0, "1": 1, "2": 2}
    assert read_accepted("names", NAMES, 2).class_of == {"cat": 0, "dog": 1}
    with pytest.raises(RaysmoothError, match="class 2 of the data has no name"):
        read_accepted("names", NAMES, 3)
    with pytest.raises(RaysmoothError, match="no labels"):
        read_accepted("numbers", {}, 0)


def test_what_is_accepted_is_described_by_its_content(tmp_path: Path) -> None:
    one = accepted("cat: [A, B]\ndog: [C]", tmp_path).describe()
    assert accepted("1: [C]\n0: [B, A]\n", tmp_path).describe() == one
    assert accepted("1: [C, B]\n0: [A]\n", tmp_path).describe() != one


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cat: [A]\ndog: [B, A]", "classes 'cat' and 'dog' both accept 'A'"),
        ("cat: [A]\nbird: [B]", "line 2: the data has no class 'bird'"),
        ("cat: [A]\n0: [B]", "line 2: class '0' is there twice"),
        ("cat: [A, A]", "line 1: a label is there twice"),
        ("cat: A", "line 1: write a list"),
        ("cat: [[A]]", "line 1: expected a label"),
        ("cat: ['']", "line 1: expected a label"),
        ("cat: [(none)]", r"\(none\) has a meaning of its own"),
        ("- cat", "write a line"),
        ("", "write a line"),
        ("cat: [", "is not YAML"),
    ],
)
def test_other_files_of_accepted_labels_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(RaysmoothError, match=problem):
        accepted(text, tmp_path)


def test_a_name_that_is_another_class_s_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match="'1' is the name of class 0 and the number of another"):
        accepted("'1': [A]", tmp_path, {0: "1"}, 2)
    assert accepted("7: [A]", tmp_path, {0: "7", 1: "8"}, 2).class_of == {"A": 0}
