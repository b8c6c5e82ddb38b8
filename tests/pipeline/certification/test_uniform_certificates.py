"""The l1 radius against base classifiers on the line, whose smoothed classifier is known exactly: all that there are on
a few blocks, with exact probabilities; and a threshold, from draws.
"""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import binom

from raysmooth.actors.noise.families import Uniform
from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.pipeline.certification.certificate import ABSTAIN, certify_counts, certify_runner_up

CELL, REACH = Fraction(1, 4), 2
"""Width of a cell, and lambda in blocks."""

NOISE = Uniform(Uniform.sigma_of(float(CELL * REACH)))


def probabilities(labels: tuple[int, ...], classes: int) -> np.ndarray:
    """Of each class at x = -8, -7.5, -7, ... blocks, int (positions, classes), in units of 1 / (4 REACH): the base
    classifier gives `labels` to the blocks [0, 1), [1, 2), ... and 0 to all others; noise reaches to REACH from x.
    """
    halves = np.zeros(2 * (len(labels) + 32), int)
    halves[32 : 32 + 2 * len(labels)] = np.repeat(labels, 2)
    of_class = np.stack([np.cumsum(halves == label) for label in range(classes)], axis=1)
    position = np.arange(16, len(halves) - 16)
    return of_class[position + 2 * REACH - 1] - of_class[position - 2 * REACH - 1]


def reach_of(p: np.ndarray, start: int) -> Fraction | float:
    """How far, in blocks, the likeliest class at position `start` stays so: between neighbouring positions all
    probabilities are linear, so a lead that ends there ends where the line says.
    """
    top = int(p[start].argmax())
    lead = p[:, [top]] - np.delete(p, top, axis=1)
    nearest: Fraction | float = float("inf")
    for step in (1, -1):
        place = start
        while 0 <= place + step < len(p):
            ends = [
                Fraction(int(now), int(now - then))
                for now, then in zip(lead[place], lead[place + step], strict=True)
                if then <= 0
            ]
            if ends:
                nearest = min(nearest, (abs(place - start) + min(ends)) / 2)
                break
            place += step
    return nearest


@pytest.mark.parametrize(("classes", "blocks"), [(2, 9), (3, 6)])
def test_certificates_of_every_classifier_on_the_line_are_true_and_some_are_tight(classes: int, blocks: int) -> None:
    """With exact probabilities, both bounds: no radius is beyond where the smoothed class changes, and for each
    probability there is a classifier whose class changes right there.
    """
    nearest: dict[tuple[int, int | None], Fraction | float] = {}
    whole = 4 * REACH
    for labels in product(range(classes), repeat=blocks):
        p = probabilities(labels, classes)
        assert (p.sum(axis=1) == whole).all()
        for place in range(12, len(p) - 12):
            second, first = np.sort(p[place])[-2:]
            if first == second:
                continue
            true = reach_of(p, place) * CELL
            for key in ((int(first), None), (int(first), int(second))):
                if key not in nearest or true < nearest[key]:
                    nearest[key] = true
    known = {key for key in nearest if key[1] is not None}
    assert known == ({(8, 0), (7, 1), (6, 2), (5, 3)} | ({(6, 1), (5, 2), (4, 3), (4, 2)} if classes == 3 else set()))
    slack = set()
    for (first, second), true in nearest.items():
        radius = NOISE.radius(first / whole, None if second is None else second / whole)
        assert Fraction(radius) <= true
        if Fraction(radius) < true:
            slack.add((first, second))
    # Where A is more likely than not, all else may be one class; and the runner-up may be what comes in on one side as
    # A goes out on the other: so it is for (4, 2). With odd numbers x is in mid-cell, and half a cell of what comes in
    # is in already: where there is a third class, that is too coarse for the worst case.
    assert slack == ({(4, None), (6, 1), (5, 2), (4, 3)} if classes == 3 else set())


class Threshold:
    """Class 1 above `at`, else 0: images are single numbers."""

    num_classes = num_labels = 2

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        return (batch.flatten(1)[:, 0] > self.at).long()


@pytest.fixture(scope="module")
def drawn() -> list[tuple[float, dict[Role, np.ndarray]]]:
    """Distance from the threshold 0.5, and counts, of 41 images on the line: n0 = 50, n = 4000."""
    images = []
    for number, x in enumerate(np.linspace(0, 1, 41)):
        pixels = {number: np.full((1, 1, 1), x, np.float32)}
        counts = {}
        for role, draws in ((Role.SELECTION, 50), (Role.ESTIMATION, 4000)):
            unit = WorkUnit(0, role, (Block(number, 0, draws),))
            answer = draw(unit, pixels, Threshold(0.5), NOISE, seed=3, batch_size=500, device=torch.device("cpu"))
            counts[role] = answer.counts[0]
        images.append((x - 0.5, counts))
    return images


def test_draws_have_the_probability_of_their_distance(drawn: list) -> None:
    """P(class 1) = 1/2 + distance / (2 lambda), lambda = 0.5."""
    for distance, counts in drawn:
        p = 0.5 + distance
        low, high = binom.ppf([1e-5, 1 - 1e-5], 4000, p)
        assert low <= counts[Role.ESTIMATION][1] <= high


@pytest.mark.parametrize("certify", [certify_counts, certify_runner_up])
def test_drawn_radii_end_before_the_threshold_and_not_long_before(drawn: list, certify) -> None:
    certified = 0
    for distance, counts in drawn:
        certificate = certify(counts[Role.SELECTION], counts[Role.ESTIMATION], NOISE, 0.001)
        if certificate.prediction == ABSTAIN:
            assert abs(distance) < 0.05
            continue
        certified += 1
        assert certificate.prediction == (distance > 0)
        assert abs(distance) - 0.06 < certificate.radius <= abs(distance)
    assert certified >= 36


def test_counts_do_not_depend_on_which_cells_are_drawn_together() -> None:
    """Nor on the batch: three blocks of two images in one unit, one by one, and in other batches."""
    pixels = {number: np.full((1, 2, 2), 0.1 + 0.3 * number, np.float32) for number in range(2)}
    blocks = tuple(Block(image, block, 70) for image in range(2) for block in range(3))

    def counted(units: list[tuple[Block, ...]], batch_size: int) -> np.ndarray:
        answers = [
            draw(
                WorkUnit(0, Role.ESTIMATION, unit),
                pixels,
                Threshold(0.4),
                NOISE,
                seed=0,
                batch_size=batch_size,
                device=torch.device("cpu"),
            )
            for unit in units
        ]
        return np.concatenate([answer.counts for answer in answers])

    together = counted([blocks], 64)
    assert len(np.unique(together, axis=0)) > 2
    np.testing.assert_array_equal(together, counted([(block,) for block in blocks], 64))
    np.testing.assert_array_equal(together, counted([blocks[:2], blocks[2:]], 7))
