"""The classifier that remembers its answers: balls of different classes never meet, whatever is asked and when."""

import tracemalloc
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.pipeline.certification.memory import METRICS, Remembered, remember


def asked(points: list[list[float]], radii: list[float], classes: list[int], norm: str = "l2") -> Remembered:
    return remember(np.array(points, np.float32), np.array(radii, float), np.array(classes), norm)


@pytest.mark.parametrize(
    ("point", "radius", "label", "expected"),
    [
        ([3, 4], 3.0, 1, (1, 3.0)),  # left in the figure: balls of one class may meet
        ([0, 2], 0.5, 0, (1, 0.5)),  # inside the ball of another class, and all of its own with it: only the class
        ([0, 2], 3.0, 0, (1, 1.0)),  # middle: the largest ball around it inside both
        ([3, 4], 3.0, 0, (0, 2.0)),  # right: 5 apart from a ball of radius 3
        ([3, 4], 1.5, 0, (0, 1.5)),  # they do not meet
        ([0, 3], 1.0, 0, (0, 0.0)),  # on the sphere
        ([0, 2], 0.0, ABSTAIN, (1, 0.0)),  # an abstention inside a ball gets its class, and nothing around it
        ([3, 4], 0.0, ABSTAIN, (ABSTAIN, 0.0)),
    ],
)
def test_the_cases_of_the_figure(point: list[float], radius: float, label: int, expected: tuple[int, float]) -> None:
    found = asked([[0, 0], point], [3.0, radius], [1, label])
    assert (found.classes[0], found.radii[0]) == (1, 3.0)
    assert (found.classes[1], found.radii[1]) == (expected[0], pytest.approx(expected[1], abs=1e-12))
    assert found.radii[1] <= expected[1]


@pytest.mark.parametrize(("norm", "apart"), [("l2", 5.0), ("l1", 7.0), ("linf", 4.0)])
def test_distances_are_those_of_the_norm(norm: str, apart: float) -> None:
    found = asked([[0, 0], [3, 4]], [3.0, 9.0], [1, 0], norm)
    assert found.radii.tolist() == [3.0, pytest.approx(apart - 3)]


def test_an_abstention_blocks_no_one() -> None:
    found = asked([[0.0], [0.5], [4.0]], [0.0, 1.0, 2.0], [ABSTAIN, 1, 0])
    assert found.classes.tolist() == [ABSTAIN, 1, 0]
    assert found.radii.tolist() == [0.0, 1.0, 2.0]
    # Nor does one that got a class: it is not stored, and the third query meets the first ball alone.
    found = asked([[0.0], [0.9], [3.0]], [1.0, 0.0, 2.0], [1, ABSTAIN, 0])
    assert found.classes.tolist() == [1, 1, 0]
    assert found.radii.tolist() == [1.0, 0.0, pytest.approx(2.0)]


def test_another_order_gives_other_answers() -> None:
    points, radii, classes = [[0.0], [1.0], [2.5]], [2.0, 0.5, 1.0], [0, 1, 2]
    answers = set()
    for order in permutations(range(3)):
        found = asked([points[i] for i in order], [radii[i] for i in order], [classes[i] for i in order])
        by_image = sorted(zip(order, found.classes.tolist(), found.radii.round(9).tolist(), strict=True))
        answers.add(tuple(by_image))
    assert ((0, 0, 2.0), (1, 0, 0.5), (2, 2, 0.5)) in answers  # as given: the second is inside the first
    assert ((0, 0, 0.5), (1, 1, 0.5), (2, 2, 1.0)) in answers  # the second one first
    assert len(answers) > 2


@examples(60)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 8), min_size=2, max_size=2), st.floats(0, 6), st.sampled_from([ABSTAIN, 0, 1, 2])
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(sorted(METRICS)),
)
def test_every_later_query_inside_a_ball_gets_its_class(queries: list[tuple[list[int], float, int]], norm: str) -> None:
    """By distances computed here, one by one; and against the paper's rules, stored ball by stored ball."""
    points = np.array([point for point, _, _ in queries], float) / 4
    classes = np.array([label for _, _, label in queries])
    radii = np.array([0.0 if label == ABSTAIN else radius for _, radius, label in queries])
    found = remember(points.astype(np.float32), radii, classes, norm)
    order = {"l1": 1, "l2": 2, "linf": np.inf}[norm]
    for later in range(len(points)):
        assert found.radii[later] <= radii[later]
        changed = found.classes[later] != classes[later]
        inside = []
        for earlier in range(later):
            apart = np.linalg.norm(points[later] - points[earlier], order)
            if classes[earlier] == ABSTAIN:
                continue
            if apart < found.radii[earlier] - 1e-9:
                assert found.classes[later] == found.classes[earlier]
                inside.append(found.classes[earlier] != classes[later])
            if found.classes[later] != found.classes[earlier] and classes[later] != ABSTAIN:
                assert apart >= found.radii[later] + found.radii[earlier] - 1e-9
        assert not changed or any(inside) or found.radii[later] < 1e-9


def test_ten_thousand_images_need_no_table_of_all_distances() -> None:
    rng = np.random.default_rng(0)
    points, classes = rng.random((10_000, 4), np.float32), rng.integers(0, 3, 10_000)
    tracemalloc.start()
    found = remember(points, np.full(10_000, 0.01), classes, "l2")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6  # 10,000 x 10,000 distances are 800 MB
    assert (found.classes != classes).any()
    assert ((found.radii > 0) & (found.radii < 0.01)).any()


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    points, radii, classes = rng.random((70, 3)), rng.random(70) / 2, rng.integers(ABSTAIN, 3, 70)
    radii[classes == ABSTAIN] = 0
    whole = remember(points, radii, classes, "l2")
    monkeypatch.setattr("raysmooth.pipeline.certification.memory._ROWS", 8)
    parts = remember(points, radii, classes, "l2")
    np.testing.assert_array_equal(whole.classes, parts.classes)
    np.testing.assert_array_equal(whole.radii, parts.radii)
    assert (whole.classes != classes).any()


def test_radii_are_not_rounded_up() -> None:
    one, other = np.float32(0.9), np.float32(0.3)
    found = asked([[float(one)], [float(other)]], [0.1, 9.0], [0, 1])
    exact = Fraction(float(one)) - Fraction(float(other)) - Fraction(0.1)
    assert Fraction(float(found.radii[1])) <= exact
    assert float(found.radii[1]) == pytest.approx(float(exact), rel=1e-12)
