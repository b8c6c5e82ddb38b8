"""Certificates that hold together: by hand, by SciPy, and by whole simulated sets whose truth is known."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from certificate_rows import DECIDE, DECIDED, A, run_of, sampled_run
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest, norm
from simulated_runs import SETS, bounds, most_failures, needed_count, rows_of_counts
from statsmodels.stats.multitest import multipletests

from actors.noise import Gaussian
from actors.refusal import Refusal
from pipeline.certificate import certify_counts
from pipeline.familywise import familywise, holm, holm_rejects, wrong_certificates_bound
from pipeline.metrics import certified_radii

DELTA, P0 = 0.1, float(norm.cdf(0.5))  # radius 0.25 at sigma 0.5


def test_all_certificates_of_a_set_hold_together() -> None:
    """50 images a set, of several numbers of draws, near 1/2 and far from it, the class right or wrong."""
    generator = np.random.default_rng(1)
    truth = np.repeat([0.5, P0, 0.9, 0.99, 0.3], 10)
    used = np.tile([200, 150, 300, 500, 1000], 10)
    counts = generator.binomial(used, truth, (SETS, 50))
    wrong, alone = np.zeros((SETS, 50), bool), np.zeros((SETS, 50), bool)
    for n in np.unique(used):
        # What becomes of each count in a set of 50 images, fifty counts at a time.
        every = [rows_of_counts(part, n, DELTA, images=50) for part in np.array_split(np.arange(n + 1), n // 50 + 1)]
        together = pd.concat([familywise(rows, DELTA) for rows in every])
        for rows, verdict in ((together, wrong), (pd.concat(every), alone)):
            radius = np.where(rows["abstain"], -np.inf, rows["radius"])
            verdict[:, used == n] = radius[counts[:, used == n]] > 0.5 * norm.ppf(truth[used == n])
    assert 0.3 * DELTA * SETS < wrong.any(1).sum() <= most_failures(DELTA)
    # Certificates each at level delta would be caught.
    assert alone.any(1).sum() > 5 * most_failures(DELTA)
    # The sets are what they are taken for.
    for count, in_set in zip(counts[:20], wrong, strict=False):
        rows = familywise(rows_of_counts(count, used, DELTA), DELTA)
        np.testing.assert_array_equal(~rows["abstain"] & (rows["radius"] > 0.5 * norm.ppf(truth)), in_set)


def test_holms_answers_hold_together() -> None:
    """30 images that have the radius for sure, 10 that just have not, 10 that hardly have it."""
    generator = np.random.default_rng(2)
    truth = np.repeat([0.99, P0 - 1e-9, P0 + 0.03], [30, 10, 10])
    counts = generator.binomial(300, truth, (SETS, 50))
    p_values = binom.sf(np.arange(-1, 300), 300, P0)[counts]
    certified = holm_rejects(p_values, DELTA)
    assert 0.2 * DELTA * SETS < certified[:, truth < P0].any(1).sum() <= most_failures(DELTA)
    together = bounds(300, DELTA / 50)[counts] >= P0
    assert not (together & ~certified).any()
    assert (certified & ~together).sum() > SETS / 10  # what it is good for
    # Benjamini and Hochberg's procedure, which bounds another error, would be caught.
    discovered = np.array([multipletests(of_set, DELTA, "fdr_bh")[0] for of_set in p_values])
    assert discovered[:, truth < P0].any(1).sum() > most_failures(DELTA)
    # The sets are what they are taken for.
    for count, in_set in zip(counts[:20], certified, strict=False):
        np.testing.assert_array_equal(holm(rows_of_counts(count, 300, DELTA), 0.25, DELTA)["certified"], in_set)


def test_holm_rejects_what_statsmodels_does() -> None:
    generator = np.random.default_rng(5)
    families = np.round(generator.random((3, 60)) ** 6, 3)  # with ties
    rejected = holm_rejects(families, 0.1)
    assert 0 < rejected.sum() < rejected.size
    np.testing.assert_array_equal(rejected, [multipletests(family, 0.1, "holm")[0] for family in families])


def test_the_number_of_wrong_certificates_is_bounded() -> None:
    """No image is certifiable, so every certificate is wrong: the worst case."""
    n, alpha, images = 75, 0.05, 400
    chance = bounds_above(n, alpha)
    assert 0.8 * alpha < chance <= alpha
    certified = np.random.default_rng(3).binomial(images, chance, SETS)  # all of them wrongly
    assert (certified > wrong_certificates_bound(images, alpha, 0.1)).sum() <= most_failures(0.1)
    # Counting only those that came out certified, or as many as are wrong on average, would be caught.
    bound = {count: wrong_certificates_bound(int(count), alpha, 0.1) for count in np.unique(certified)}
    assert sum(count > bound[count] for count in certified) > most_failures(0.1)
    assert (certified > images * alpha).sum() > most_failures(0.1)


def bounds_above(n: int, alpha: float) -> float:
    """The probability that the bound of an image whose class has (nearly) P0 reaches P0."""
    return float(binom.sf(needed_count(n, alpha, P0) - 1, n, P0))


def test_wrong_certificates_by_hand() -> None:
    # (1 - alpha)^N = 0.99^10 = 0.904: with 90 % none is wrong, with 95 % at most one (0.99^10 + 0.1 * 0.99^9 = 0.9957).
    assert wrong_certificates_bound(10, 0.01, 0.1) == 0
    assert wrong_certificates_bound(10, 0.01, 0.05) == 1
    # Poisson(0.5), nearly: P(<= 1) = 0.910, P(<= 2) = 0.986. Poisson(10): P(<= 14) = 0.917, P(<= 15) = 0.951.
    assert wrong_certificates_bound(500, 0.001, 0.05) == 2
    assert wrong_certificates_bound(10_000, 0.001, 0.05) == 15


def test_familywise_equals_certify_at_delta_over_n() -> None:
    generator = np.random.default_rng(4)
    count, used = generator.binomial(1000, generator.uniform(0.4, 1, 60)), np.full(60, 1000)
    count[:3], used[:3] = [1000, 0, 700], [1000, 0, 800]  # the second: an adaptive run's image not worth any draws
    rows = rows_of_counts(count, used, 0.001)
    rows.loc[1, ["p_lower", "abstain", "prediction", "correct", "radius"]] = [0.0, True, -1, False, 0.0]
    together = familywise(rows, 0.05)
    assert list(together["alpha"]) == [0.05 / 60] * 60
    for row, old, top, made in zip(together.itertuples(), rows.itertuples(), count, used, strict=True):
        certificate = certify_counts(np.array([0, 1]), np.array([made - top, top]), Gaussian(0.5), 0.05 / 60)
        assert row.p_lower == pytest.approx(certificate.p_lower, rel=1e-12)
        assert row.radius == pytest.approx(certificate.radius, rel=1e-12)
        assert (row.prediction, row.abstain) == (certificate.prediction, certificate.prediction == -1)
        assert row.correct == (row.prediction == 1)
        assert row.radius <= old.radius
    kept = ["run_id", "image_id", "label", "count_top", "n_used", "n", "sigma", "status", "images", "sampling"]
    pd.testing.assert_frame_equal(together[kept], rows[kept])
    assert list(together.columns) == list(rows.columns)


def test_familywise_by_hand() -> None:
    # Two images, delta 27/32, so 27/64 each: 3 of 3 draws give p_lower = (27/64)^(1/3) = 3/4, radius 0.5 PhiInv(3/4).
    rows = rows_of_counts(np.array([3, 2]), 3, 0.6)
    together = familywise(rows, 27 / 32)
    assert together["p_lower"][0] == pytest.approx(0.75)
    assert together["radius"][0] == pytest.approx(0.5 * NormalDist().inv_cdf(0.75))
    # The other: 1 - P(2 or more of 3) ... p with 3 p^2 - 2 p^3 = 27/64 is 0.45, below 1/2.
    p = together["p_lower"][1]
    assert 3 * p**2 - 2 * p**3 == pytest.approx(27 / 64)
    assert list(together["abstain"]) == [False, True]
    assert list(together["prediction"]) == [1, -1]
    assert list(together["correct"]) == [True, False]
    assert together["radius"][1] == 0


def test_a_run_not_finished_is_counted_whole_and_its_errors_stay_errors() -> None:
    rows = rows_of_counts(np.array([990, 800, 0]), 1000, 0.001, images=40)
    failed = {"status": "error", "prediction": None, "radius": None, "p_lower": None, "count_top": None, "n_used": None}
    rows = rows.astype(dict.fromkeys(failed, object))
    rows.loc[2, list(failed)] = list(failed.values())
    rows.loc[2, ["abstain", "correct"]] = False
    together = familywise(rows, 0.05)
    assert list(together["alpha"]) == [0.05 / 40] * 3
    assert together.loc[2, ["prediction", "radius", "p_lower"]].isna().all()
    assert not together["abstain"][2]
    np.testing.assert_array_equal(certified_radii(together) > 0, [True, True, False])
    answers = holm(rows, 0.0, 0.05)
    assert list(answers["certified"]) == [True, True, False]
    assert answers["p_value"][2] == 1
    # 9 of 10 at radius 0, p = 11/1024: enough for 0.05/3, and not where images are still to come.
    assert holm(rows_of_counts(np.array([9]), 10, 0.2, images=3), 0.0, 0.05)["certified"].item()
    assert not holm(rows_of_counts(np.array([9]), 10, 0.2, images=40), 0.0, 0.05)["certified"].item()


def test_an_image_that_abstained_still_does_and_a_label_unknown_stays_so() -> None:
    rows = rows_of_counts(np.array([900, 550]), 1000, 1e-6, label=None, correct=None)
    assert list(rows["abstain"]) == [False, True]
    together = familywise(rows, 0.1)  # at 0.05 an image, 550 of 1000 would be certified: P(>= 550 at 1/2) = 0.0009
    assert together["p_lower"][1] > 0.5
    assert list(together["abstain"]) == [False, True]
    assert together["correct"].isna().all()
    assert list(holm(rows, 0.0, 0.1)["certified"]) == [True, False]


def test_rows_older_than_n_used_were_fixed() -> None:
    rows = rows_of_counts(np.array([900, 800]), 1000, 0.01)
    old = rows.drop(columns=["n_used", "sampling"])
    np.testing.assert_array_equal(familywise(old, 0.01)["radius"], familywise(rows, 0.01)["radius"])


def test_holm_by_hand() -> None:
    # At radius 0 of 10 draws each, p0 = 1/2: P(10 of 10) = 1/1024, P(>= 9) = 11/1024, P(>= 8) = 56/1024.
    rows = rows_of_counts(np.array([8, 10, 9]), 10, 0.2)
    answers = holm(rows, 0.0, 0.05)
    assert list(answers["p_value"] * 1024) == pytest.approx([56, 1, 11])
    # 1/1024 <= 0.05/3, 11/1024 = 0.0107 <= 0.05/2, 56/1024 = 0.0547 > 0.05.
    assert list(answers["certified"]) == [False, True, True]
    assert list(answers["correct"]) == [False, True, True]
    assert list(answers["image_id"]) == [0, 1, 2]
    assert holm(rows, 0.0, 0.055)["certified"].all()
    assert list(holm(rows, 0.0, 0.02)["certified"]) == [False, True, False]  # 11/1024 is too much for 0.02/2
    # What is too much ends it: 0.011 is above 0.025/3, so that 0.0125 is never held against 0.025/2.
    assert not holm_rejects(np.array([0.011, 0.0125, 0.0125]), 0.025).any()


@given(st.lists(st.integers(0, 400), min_size=1, max_size=12), st.floats(0, 1.5), st.floats(0.001, 0.5))
@settings(max_examples=30, deadline=None)
def test_holm_follows_the_binomial_test_and_never_certifies_fewer(
    counts: list[int], radius: float, delta: float
) -> None:
    rows = rows_of_counts(np.array(counts), 400, 0.05)
    answers = holm(rows, radius, delta)
    stands = ~rows["abstain"]
    for row, count in zip(answers[stands].itertuples(), np.array(counts)[stands], strict=True):
        p_value = binomtest(int(count), 400, norm.cdf(radius / 0.5), alternative="greater").pvalue
        assert row.p_value == pytest.approx(p_value, rel=1e-6, abs=1e-300)
    assert (answers["p_value"][~stands] == 1).all()
    together = familywise(rows, delta)
    assert not (together["correct"] & (together["radius"] > radius * (1 + 1e-9)) & ~answers["certified"]).any()
    # Rejected one by one, as the paper has it.
    left, rejected = len(counts), set()
    for place in np.argsort(answers["p_value"], kind="stable"):
        if answers["p_value"][place] > delta / left:
            break
        rejected.add(place)
        left -= 1
    assert set(np.flatnonzero(answers["certified"])) == rejected


def test_refusals() -> None:
    decided = sampled_run(A, DECIDE, DECIDED)
    for ask in (lambda rows: familywise(rows, 0.05), lambda rows: holm(rows, 0.1, 0.05)):
        with pytest.raises(Refusal, match=r"run 0123456789012345 decides one radius: .* --sampling fixed or adaptive"):
            ask(decided)
        with pytest.raises(Refusal, match="has no count_top"):
            ask(run_of(A))
        with pytest.raises(Refusal, match="certificates without count_top and n_used"):
            ask(run_of(A).assign(count_top=[9900, *[None] * 7]))
        with pytest.raises(Refusal, match="gaussian noise and the linf norm: its noise must be given"):
            ask(rows_of_counts(np.array([9]), 10, 0.2, norm="linf"))
        with pytest.raises(Refusal, match="no certificate rows"):
            ask(rows_of_counts(np.array([9]), 10, 0.2).head(0))
    with pytest.raises(Refusal, match=r"delta 1\.5"):
        familywise(rows_of_counts(np.array([9]), 10, 0.2), 1.5)


def test_uniform_noise_has_its_own_radius() -> None:
    """990 of 1,000 draws at level 0.05 / 2 (two images), by SciPy; 2 lambda (pA - 1/2), lambda = sqrt(3) sigma."""
    rows = rows_of_counts(np.array([990, 990]), 1000, 0.2, noise="uniform", norm="l1", sigma=0.5)
    p_lower = beta.ppf(0.025, 990, 11)
    assert familywise(rows, 0.05)["radius"].to_numpy() == pytest.approx(2 * 3**0.5 * 0.5 * (p_lower - 0.5), rel=1e-12)


class Halved:
    """A noise family that is not the rows': half of Gaussian's radius."""

    name, norm, scale = "halved", "l2", 0.5

    def add_(self, stream: object, out: object, image: object) -> None:
        raise AssertionError("nothing is drawn")

    def radius(self, p_top: float, p_other: float | None = None) -> float:
        return Gaussian(0.5).radius(p_top) / 2

    def needed(self, radius: float) -> float:
        return Gaussian(0.5).needed(2 * radius)


def test_noise_may_be_given() -> None:
    rows = rows_of_counts(np.array([900, 990, 700]), 1000, 0.001)
    np.testing.assert_allclose(familywise(rows, 0.01, Halved())["radius"] * 2, familywise(rows, 0.01)["radius"])
    other = rows.assign(noise="halved")
    pd.testing.assert_frame_equal(holm(other, 0.15, 0.01, Halved()), holm(rows, 0.3, 0.01))
