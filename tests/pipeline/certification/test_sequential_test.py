"""Decisions at one radius: the evidence by hand and by independent computations, its errors exactly and by chance."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from math import exp, inf, log, pi

import numpy as np
import pytest
from examples import repeats
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom, norm

from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate, lower_bound
from raysmooth.pipeline.certification.sampling_rule import Counts
from raysmooth.pipeline.certification.sequential_test import (
    CERTIFIED,
    NOT_CERTIFIED,
    UNDECIDED,
    Decide,
    evidence_above,
    evidence_below,
    refuse_hopeless_decide,
)

TRIALS = repeats(20_000)
Decision = Callable[[int, int], str]


def counts_of(count: int, made: int, n0: int = 20) -> Counts:
    return {Role.SELECTION: np.array([0, n0, 0]), Role.ESTIMATION: np.array([made - count, count, 0])}


def rounds(rule: Decide) -> list[int]:
    """Estimation draws after each round of an image that stays undecided, whether or not one could."""
    sizes = [rule.first[Role.ESTIMATION]]
    while sizes[-1] < rule.n:
        undecided = (c for c in range(sizes[-1] + 1) if rule.decision(counts_of(c, sizes[-1])) == UNDECIDED)
        if (found := next(undecided, None)) is None:
            break
        need = rule.next(counts_of(found, sizes[-1]))
        assert need is not None
        sizes.append(need[Role.ESTIMATION])
    return sizes


def shares(sizes: list[int], decide: Decision, p: float) -> dict[str, float]:
    """Exact probabilities of the decisions of a class of probability p, looked at after each of `sizes` draws."""
    alive, ended, before = np.ones(1), {CERTIFIED: 0.0, NOT_CERTIFIED: 0.0}, 0
    for size in sizes:
        alive = np.convolve(alive, binom.pmf(np.arange(size - before + 1), size - before, p))
        before = size
        for count in range(size + 1):
            if alive[count] > 0 and (decision := decide(count, size)) != UNDECIDED:
                ended[decision] += alive[count]
                alive[count] = 0.0
    return {**ended, UNDECIDED: float(alive.sum())}


def simulated(sizes: list[int], decide: Decision, p: float, generator: np.random.Generator) -> dict[str, int]:
    """The decisions of TRIALS images."""
    counts, decided, before = np.zeros(TRIALS, int), np.full(TRIALS, UNDECIDED, object), 0
    for size in sizes:
        alive = decided == UNDECIDED
        counts[alive] += generator.binomial(size - before, p, alive.sum())
        before = size
        decided[alive] = [decide(int(count), size) for count in counts[alive]]
    return {name: int((decided == name).sum()) for name in (CERTIFIED, NOT_CERTIFIED, UNDECIDED)}


def decision_of(rule: Decide) -> Decision:
    return cache(lambda count, made: rule.decision(counts_of(count, made)))


def log_kt(count: int, n: int, p0: float) -> float:
    """Krichevsky-Trofimov's ratio as the product of its predictions, (successes + 1/2) / (draws + 1)."""
    ratio = 0.0
    for i in range(count):
        ratio += log((i + 0.5) / (i + 1)) - log(p0)
    for i in range(n - count):
        ratio += log((i + 0.5) / (count + i + 1)) - log(1 - p0)
    return ratio


def test_evidence_by_hand() -> None:
    # One success against 1/2: the mean of q over q > 1/2 is 1/2 + 1/pi under Beta(1/2, 1/2), over 1/2: 1 + 2/pi.
    assert evidence_above(0, 0, 0.5) == pytest.approx(0.0, abs=1e-12)
    assert exp(evidence_above(1, 1, 0.5)) == pytest.approx(1 + 2 / pi)
    assert exp(evidence_above(0, 1, 0.5)) == pytest.approx(1 - 2 / pi)
    assert exp(evidence_below(0, 1, 0.5)) == pytest.approx(1 + 2 / pi)
    assert exp(evidence_below(1, 1, 0.5)) == pytest.approx(1 - 2 / pi)


@pytest.mark.parametrize("p0", [0.5, 0.8413447, 0.9772499])
@pytest.mark.parametrize(("count", "n"), [(0, 3), (7, 9), (60, 64), (100, 100), (470, 500), (495, 500)])
def test_evidence_equals_sequential_predictions_and_an_integral(count: int, n: int, p0: float) -> None:
    # The predictions of the whole mixture, times the share of posterior and prior that lies on the one side.
    kt, posterior, prior = log_kt(count, n, p0), beta(count + 0.5, n - count + 0.5), beta(0.5, 0.5)
    assert evidence_above(count, n, p0) == pytest.approx(kt + posterior.logsf(p0) - prior.logsf(p0), rel=1e-8)
    assert evidence_below(count, n, p0) == pytest.approx(kt + posterior.logcdf(p0) - prior.logcdf(p0), rel=1e-8)
    # And by its definition: q = sin^2 t, t uniform, makes the prior flat.
    low, high = np.arcsin(np.sqrt(p0)), pi / 2

    def ratio(t: float) -> float:
        q = np.sin(t) ** 2
        return float((q / p0) ** count * (np.cos(t) ** 2 / (1 - p0)) ** (n - count))

    peak = min(max(np.arcsin(np.sqrt(count / n)), low + 1e-9), high - 1e-9)
    integral = quad(ratio, low, high, points=[peak], limit=200)[0] / (high - low)
    assert exp(evidence_above(count, n, p0)) == pytest.approx(integral, rel=1e-6, abs=1e-12)


@given(
    st.integers(0, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(0.5, 0.9999),
    st.floats(0.0, 1.0),
)
def test_evidence_does_not_grow_on_average_where_the_hypothesis_holds(
    pair: tuple[int, int], p0: float, part: float
) -> None:
    """What Ville's inequality asks: whatever the counts so far, under p <= p0 the next draw is no gain on average."""
    (count, n) = pair
    for evidence, p in ((evidence_above, part * p0), (evidence_below, p0 + part * (1 - p0))):
        now = evidence(count, n, p0)
        failure, success = (evidence(count + more, n + 1, p0) for more in (0, 1))
        if now > -inf:  # what floats cannot hold counts as no evidence, which is less than there is
            assert (1 - p) * exp(failure - now) + p * exp(success - now) <= 1 + 1e-6


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))), st.floats(0.5, 0.999))
def test_evidence_grows_with_the_count(pair: tuple[int, int], p0: float) -> None:
    count, n = pair
    assert evidence_above(count, n, p0) >= evidence_above(count - 1, n, p0)
    assert evidence_below(count, n, p0) <= evidence_below(count - 1, n, p0)
    assert evidence_above(n, n, p0) >= evidence_above(n - 1, n - 1, p0)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("sigma", [0.25, 0.5])
def test_errors_both_ways_exactly_and_by_simulation(alpha: float, sigma: float) -> None:
    rule = Decide(20, 1500, alpha, Gaussian(sigma), 0.5)
    sizes, decide, p0 = rounds(rule), decision_of(rule), rule.p0
    assert sizes[0] == 100
    assert sizes[-1] == 1500
    generator = np.random.default_rng([round(alpha * 100), round(sigma * 100)])
    for p in (0.1, 0.49, 0.51, p0 - 0.02, p0 - 0.001, p0):
        assert shares(sizes, decide, p)[CERTIFIED] <= alpha
        # The number of wrong decisions is at most Binomial(TRIALS, alpha): beyond its 1 - 1e-6 quantile is no chance.
        assert simulated(sizes, decide, p, generator)[CERTIFIED] <= binom.ppf(1 - 1e-6, TRIALS, alpha)
    for p in (p0, p0 + 0.001, p0 + (1 - p0) / 2, 0.999, 1 - 1e-6):
        assert shares(sizes, decide, p)[NOT_CERTIFIED] <= alpha
        assert simulated(sizes, decide, p, generator)[NOT_CERTIFIED] <= binom.ppf(1 - 1e-6, TRIALS, alpha)
    # Not by never deciding anything.
    assert shares(sizes, decide, p0 - 0.1)[NOT_CERTIFIED] > 0.9
    assert shares(sizes, decide, 1 - 1e-6)[CERTIFIED] > 0.99


def test_the_check_sees_wrong_rules() -> None:
    """The ratio of all q without the condition on the share, and a fixed-n bound at alpha in every round."""
    alpha, rule = 0.05, Decide(20, 1500, 0.05, Gaussian(0.5), 0.5)
    sizes, p0, allowed = rounds(rule), rule.p0, binom.ppf(1 - 1e-6, TRIALS, 0.05)
    generator = np.random.default_rng(3)
    without_share = cache(lambda c, n: CERTIFIED if log_kt(c, n, p0) >= -log(alpha) else UNDECIDED)
    assert simulated(sizes[:3], without_share, p0 - 0.2, generator)[CERTIFIED] > allowed
    every_round = cache(lambda c, n: CERTIFIED if lower_bound(c, n, alpha) > p0 else UNDECIDED)
    assert simulated(sizes, every_round, p0, generator)[CERTIFIED] > allowed


def test_a_certified_image_is_certified_by_clopper_pearson_too() -> None:
    rule = Decide(20, 1500, 0.01, Gaussian(0.5), 0.5)
    for made in rounds(rule):
        enough = next((c for c in range(made + 1) if rule.decision(counts_of(c, made)) == CERTIFIED), None)
        if enough is not None:
            assert enough / made > rule.p0
            assert lower_bound(enough, made, rule.alpha) >= rule.p0


def test_rounds_are_few_and_end_at_n() -> None:
    rule = Decide(100, 100_000, 0.001, Gaussian(0.25), 0.5)
    need, sizes = rule.first, []
    assert need == {Role.SELECTION: 100, Role.ESTIMATION: 100}
    while need is not None:
        sizes.append(need[Role.ESTIMATION])
        assert need[Role.SELECTION] == 100
        need = rule.next(counts_of(round(sizes[-1] * rule.p0), sizes[-1], 100))
    assert sizes[-1] == 100_000 == rule.most[Role.ESTIMATION]
    assert len(sizes) <= 20
    assert all(a < b for a, b in pairwise(sizes))
    assert Decide(5, 30, 0.001, Gaussian(0.25), 0.1).first[Role.ESTIMATION] == 30


@given(st.integers(15, 3000), st.floats(0.0, 1.0), st.floats(0.05, 0.6), st.integers(0, 2**32))
def test_never_more_than_n_and_decided_again_from_the_stopped_counts(n: int, p: float, r: float, seed: int) -> None:
    rule, generator = Decide(10, n, 0.01, Gaussian(0.5), r), np.random.default_rng(seed)
    counts = {role: np.zeros(3, np.int64) for role in CERTIFYING}
    need = rule.first
    while need is not None:
        for role, draws in need.items():
            assert int(counts[role].sum()) <= draws <= rule.most[role]
            counts[role] += generator.multinomial(draws - counts[role].sum(), [p, (1 - p) * 0.7, (1 - p) * 0.3])
        need = rule.next(counts)
    stored = {role: array.copy() for role, array in counts.items()}
    assert rule.decision(stored) in (CERTIFIED, NOT_CERTIFIED) or int(stored[Role.ESTIMATION].sum()) == n
    certificate = rule.conclude(stored)
    assert certificate.decision == rule.decision(counts)
    assert (certificate.radius, certificate.prediction == ABSTAIN) == (
        (r, False) if certificate.p_lower else (0.0, True)
    )


def test_certificates_of_decisions() -> None:
    rule = Decide(20, 1000, 0.001, Gaussian(0.5), 0.5)
    certified = rule.conclude(counts_of(100, 100))
    assert certified == Certificate(1, 0.5, rule.p0, 100, CERTIFIED)
    assert rule.p0 == pytest.approx(norm.cdf(1.0))
    assert rule.noise.radius(certified.p_lower) >= certified.radius
    assert rule.conclude(counts_of(40, 100)) == Certificate(ABSTAIN, 0.0, 0.0, 40, NOT_CERTIFIED)
    # 841 of 1000 says nothing about 0.8413, and there are no more: the row says that this is unknown.
    assert rule.decision(counts_of(757, 900)) == UNDECIDED
    assert rule.next(counts_of(757, 900)) is not None
    assert rule.next(counts_of(841, 1000)) is None
    assert rule.conclude(counts_of(841, 1000)) == Certificate(ABSTAIN, 0.0, 0.0, 841, UNDECIDED)
    # The last draws may still settle it.
    assert rule.decision(counts_of(900, 1000)) == CERTIFIED
    assert rule.decision(counts_of(780, 1000)) == NOT_CERTIFIED


@pytest.mark.parametrize(("n", "alpha", "sigma"), [(100, 0.001, 0.25), (1000, 0.001, 0.25), (100, 0.05, 1.0)])
def test_unreachable_radii_are_refused_with_what_would_do(n: int, alpha: float, sigma: float) -> None:
    noise = Gaussian(sigma)

    def reachable(n: int, radius: float) -> bool:
        return noise.needed(radius) < 1 and evidence_above(n, n, noise.needed(radius)) >= -log(alpha)

    thousandths = [r / 1000 for r in range(1, 4000)]
    largest = max(r for r in thousandths if reachable(n, r))
    refuse_hopeless_decide(Decide(20, n, alpha, noise, largest))
    radius = largest + 0.1
    enough = next(m for m in range(n, 10**6) if reachable(m, radius))
    with pytest.raises(RaysmoothError, match=rf"--n {enough} or more, or --radius {largest:g} or less") as refused:
        refuse_hopeless_decide(Decide(20, n, alpha, noise, radius))
    assert "\n" not in str(refused.value)
    refuse_hopeless_decide(Decide(20, enough, alpha, noise, radius))
    with pytest.raises(RaysmoothError, match=r"write --radius"):
        refuse_hopeless_decide(Decide(20, n, alpha, noise, 100.0))
    for nonsense in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RaysmoothError, match=r"write --radius 0\.5"):
            refuse_hopeless_decide(Decide(20, n, alpha, noise, nonsense))
    with pytest.raises(RaysmoothError, match="larger --n"):
        refuse_hopeless_decide(Decide(20, 1, 1e-6, noise, 100.0))


def test_two_agreeing_draws_by_hand() -> None:
    # The evidence of n agreeing draws against 1/2 is the mean of (2q)^n over q > 1/2: 2^n times the integral of
    # sin^2n t over pi/4..pi/2, over pi/4. For n = 2: (3 pi/32 + 1/4) * 16/pi = 3/2 + 4/pi = 2.7732.
    assert exp(evidence_above(2, 2, 0.5)) == pytest.approx(1.5 + 4 / pi)
