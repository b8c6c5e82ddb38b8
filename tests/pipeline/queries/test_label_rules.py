"""Which label an answer gives: worked out by hand, whatever the order of its tags."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.actors.apis.answers import OTHER, Tag
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries.label_rules import LABEL_RULES, read_label_rule

VULTURE = (Tag("Animal", 0.99), Tag("Bird", 0.99, ("Animal",)), Tag("Vulture", 0.99, ("Bird", "Animal")))
"""As AWS answers: ancestors have the score of the leaf."""

FEW_TAGS = st.lists(
    st.builds(
        Tag,
        st.sampled_from(["Cat", "Dog", "Bird", "Animal"]),
        st.sampled_from([0.0, 0.5, 0.6, 1.0, math.nan]),
        st.lists(st.sampled_from(["Cat", "Dog", "Bird", "Animal"]), max_size=2).map(tuple),
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_text("Dog\nCat\n")
    return file


def test_top_takes_the_best_and_ties_by_name() -> None:
    rule = read_label_rule("top")
    assert rule.label_of([Tag("Dog", 0.4), Tag("Cat", 0.6)]) == "Cat"
    assert rule.label_of(VULTURE[::-1]) == "Animal"
    assert rule.label_of([Tag("b", math.nan), Tag("c", 0.0), Tag("a", math.nan)]) == "c"
    assert rule.label_of([]) is None
    assert rule.closed_labels is None


def test_leaf_takes_no_parents() -> None:
    rule = read_label_rule(" leaf ")
    assert rule.label_of(VULTURE) == "Vulture"
    assert rule.label_of([Tag("Tree", 0.8), *VULTURE]) == "Vulture"
    assert rule.label_of([Tag("own", 0.8, ("own",)), Tag("low", 0.1)]) == "own"
    assert rule.label_of([Tag("a", 0.8, ("b",)), Tag("b", 0.9, ("a",))]) == "b"


def test_among_knows_its_labels_alone(labels: Path) -> None:
    rule = read_label_rule(f"among:{labels}")
    assert rule.closed_labels == ("Dog", "Cat", OTHER)
    assert rule.label_of([Tag("Bird", 0.9), Tag("Dog", 0.1), Tag("Cat", 0.1)]) == "Cat"
    assert rule.label_of([Tag("Bird", 0.9), Tag("dog", 0.1)]) == OTHER
    assert rule.label_of([]) is None


def test_among_is_its_labels_wherever_their_file_is(labels: Path, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved.txt", tmp_path / "other.txt"
    moved.write_bytes(b"\xef\xbb\xbfDog\r\nCat")
    other.write_text("Cat\nDog")
    rule = read_label_rule(f"among:{labels}").describe()
    assert read_label_rule(f"among:{moved}").describe() == rule
    assert read_label_rule(f"among:{other}").describe() != rule


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty: write labels"),
        ("Dog\n\nCat", "line 2 is empty"),
        ("Dog\n \n", "line 2 is empty"),
        ("Dog\nCat \n", "line 2 begins or ends with a blank: write 'Cat'"),
        ("Dog\nCat\nDog\n", "line 3 repeats line 1, 'Dog'"),
        ("Dog\n(other)\n", r"has the label \(other\)"),
        (b"\xff\xfeD\0", "UTF-16"),
        (b"D\xe9", r"not UTF-8 \(byte 2\)"),
    ],
)
def test_other_files_of_labels_are_refused(tmp_path: Path, content: str | bytes, problem: str) -> None:
    file = tmp_path / "l.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RaysmoothError, match=problem) as refusal:
        read_label_rule(f"among:{file}")
    assert "--label-rule" in str(refusal.value)


@pytest.mark.parametrize(("score", "label"), [(0.6, "Dog"), (math.nextafter(0.6, 0), OTHER), (math.nan, OTHER)])
def test_has_compares_with_its_threshold(score: float, label: str) -> None:
    rule = read_label_rule("has:Dog@0.6")
    assert str(rule) == "has:Dog@0.6"
    assert rule.closed_labels == ("Dog", OTHER)
    assert rule.label_of([Tag("Cat", 1.0), Tag("Dog", score)]) == label
    assert rule.label_of([Tag("Dog", 0.1), Tag("Dog", 0.7)]) == "Dog"
    assert rule.label_of([]) is None


def test_a_tag_may_hold_an_at_and_a_colon() -> None:
    assert read_label_rule("has:a: b@c@3/4").label_of([Tag("a: b@c", 0.75)]) == "a: b@c"


@pytest.mark.parametrize(
    "text", ["first", "", "top:3", "leaf:", "among", "among:", "among:/no/such", "has:Dog", "has:@0.6", "has:Dog@nan",
             "has:Dog@", "has:(other)@0.5", "among:/"]
)  # fmt: skip
def test_other_texts_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        read_label_rule(text)
    assert "\n" not in str(refusal.value)


@given(FEW_TAGS, st.randoms())
def test_the_order_of_tags_decides_nothing(labels: Path, tags: list[Tag], random: "st.Random") -> None:
    shuffled = random.sample(tags, len(tags))
    for text in ("top", "leaf", f"among:{labels}", "has:Dog@0.6"):
        rule = read_label_rule(text)
        label = rule.label_of(tags)
        assert rule.label_of(shuffled) == label, text
        assert (label is None) == (not tags)
        known = rule.closed_labels or tuple(tag.name for tag in tags)
        assert label is None or label in known


def test_written_forms_name_their_entries() -> None:
    assert {name: entry.written.partition(":")[0] for name, entry in LABEL_RULES.items()} == {n: n for n in LABEL_RULES}
