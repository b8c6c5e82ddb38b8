"""Adaptive sampling: its promise by simulation, its numbers of draws by an independent computation, its limits."""

from functools import cache

import numpy as np
import pytest
from examples import repeats
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom, norm
from statsmodels.stats.proportion import proportion_confint

from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.adaptive import (
    DOUBT,
    PRIOR,
    SURE,
    Adaptive,
    Tolerance,
    default_pilot,
    refuse_hopeless_adaptive,
)
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate, certify_counts, lower_bound
from raysmooth.pipeline.certification.sampling_rule import Counts, SamplingRule

TRIALS = repeats(20_000)
TWO_PERCENT = Tolerance(0.02, "relative")


def draw(rule: SamplingRule, odds: list[float], generator: np.random.Generator) -> Counts:
    """The final counts of an image, drawn round by round as in a run; checks a rule's promises about its rounds."""
    counts = {role: np.zeros(len(odds), np.int64) for role in CERTIFYING}
    need = rule.first
    while need is not None:
        assert sum(need.values()) > sum(int(of_role.sum()) for of_role in counts.values())
        for role, draws in need.items():
            assert int(counts[role].sum()) <= draws <= rule.most[role]
            counts[role] += generator.multinomial(draws - counts[role].sum(), odds)
        need = rule.next(counts)
    return counts


def selected(rule: Adaptive, count: int, made: int) -> Counts:
    return {Role.SELECTION: np.array([made - count, count])}


bound = cache(lower_bound)


def wrong(rule: Adaptive, p: float, generator: np.random.Generator, reuse: bool = False) -> int:
    """How many of TRIALS images, of classes with probabilities 1 - p and p, get a bound above their class's
    probability and are certified; `reuse` estimates from the selection draws as well, which is no sound rule.

    Images with equal counts need equal draws, so each group of them is drawn for at once.
    """
    count, truth = 0, (1 - p, p)
    started = rule.first[Role.SELECTION]
    groups = [(started, top, images) for top, images in _tally(generator.binomial(started, p, TRIALS))]
    while groups:
        made, successes, images = groups.pop()
        selection = np.array([made - successes, successes])
        need = rule.next({Role.SELECTION: selection, Role.ESTIMATION: np.zeros(2, np.int64)})
        if need is None:
            continue
        more = need[Role.SELECTION] - made
        if more:
            assert Role.ESTIMATION not in need
            found = _tally(generator.binomial(more, p, images))
            groups += [(made + more, successes + further, number) for further, number in found]
            continue
        draws, top = need[Role.ESTIMATION], int(selection.argmax())
        for of_one, number in _tally(generator.binomial(draws, p, images)):
            estimation = np.array([draws - of_one, of_one])
            assert rule.next({Role.SELECTION: selection, Role.ESTIMATION: estimation}) is None
            used = estimation + selection if reuse else estimation
            p_lower = bound(int(used[top]), int(used.sum()), rule.alpha)
            count += number * (p_lower > max(0.5, truth[top]))
    return count


def _tally(values: np.ndarray) -> list[tuple[int, int]]:
    return [(int(value), int(times)) for value, times in zip(*np.unique(values, return_counts=True), strict=True)]


RULES = {
    "relative": Adaptive(20, 2000, 0.05, Gaussian(0.5), 40, TWO_PERCENT),
    "absolute": Adaptive(20, 2000, 0.01, Gaussian(0.5), 40, Tolerance(0.05, "absolute")),
    "coarse": Adaptive(20, 1000, 0.05, Gaussian(0.5), 300, Tolerance(0.2, "relative")),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("p", [0.5, 0.505, 0.55, 0.75, 0.99, 0.9999])
def test_error_of_the_stopping_rule_is_at_most_alpha(name: str, p: float) -> None:
    rule, generator = RULES[name], np.random.default_rng([len(name), round(p * 1e4)])
    # The number of wrong bounds is at most Binomial(TRIALS, alpha): beyond its 1 - 1e-6 quantile is no chance.
    assert wrong(rule, p, generator) <= binom.ppf(1 - 1e-6, TRIALS, rule.alpha)


def test_the_check_sees_a_pilot_that_is_reused_in_the_bound() -> None:
    rule = RULES["coarse"]
    assert wrong(rule, 0.5, np.random.default_rng(1), reuse=True) > binom.ppf(1 - 1e-6, TRIALS, rule.alpha)


def radius(share: float, n: int, alpha: float, sigma: float) -> float:
    lower = proportion_confint(share * n, n, alpha=2 * alpha, method="beta")[0]
    return max(0.0, float(sigma * norm.ppf(lower)))


@pytest.mark.parametrize("count", [1100, 1099, 1080, 990, 800, 700])
@pytest.mark.parametrize("tolerance", [TWO_PERCENT, Tolerance(0.01, "absolute")])
def test_estimation_draws_equal_an_independent_computation(count: int, tolerance: Tolerance) -> None:
    rule = Adaptive(100, 100_000, 0.001, Gaussian(0.25), 1000, tolerance)
    need = rule.next(selected(rule, count, 1100))
    assert need is not None
    assert need[Role.SELECTION] == 1100
    draws = need[Role.ESTIMATION]
    posterior = beta(count + PRIOR[0], 1100 - count + PRIOR[1])
    # By parts of equal posterior probability, four thousand of them.
    shares = posterior.ppf((np.arange(4000) + 0.5) / 4000)

    def expected(n: int) -> float:
        lower = proportion_confint(shares * n, n, alpha=2 * rule.alpha, method="beta")[0]
        return float(np.maximum(0.25 * norm.ppf(lower), 0.0).mean())

    full = expected(rule.n)
    least = 0.98 * full if tolerance.kind == "relative" else full - 0.01
    assert expected(min(rule.n, round(draws * 1.02))) >= least or draws == rule.n - rule.pilot
    assert expected(round(draws / 1.05)) < least


def test_rounds_by_hand() -> None:
    """An image that is certain to abstain stops; one near 1/2 gets a longer pilot; no image is certain after 100 draws,
    even if all of them agree.
    """
    rule = Adaptive(100, 100_000, 0.001, Gaussian(0.25), 1000, TWO_PERCENT)
    assert rule.first == {Role.SELECTION: 100}
    assert rule.most == {Role.SELECTION: 5100, Role.ESTIMATION: 99_000}
    assert rule.next(selected(rule, 100, 100)) == {Role.SELECTION: 1100}
    assert rule.next(selected(rule, 60, 100)) == {Role.SELECTION: 1100}
    few_of_many = {Role.SELECTION: np.array([30, 25, 25, 20])}  # 30 % of 100: seven deviations below 1/2 by a class
    assert rule.next(few_of_many) is None
    assert rule.conclude(few_of_many) == Certificate(ABSTAIN, 0.0, 0.0, 0)
    assert rule.next({Role.SELECTION: np.array([560, 540])}) == {Role.SELECTION: 5100}
    after_long = rule.next({Role.SELECTION: np.array([2700, 2400])})
    assert after_long is not None
    assert after_long[Role.SELECTION] == 5100
    assert after_long[Role.ESTIMATION] <= 95_000
    assert rule.next({Role.SELECTION: np.array([2300, 2200, 600])}) is None


def test_a_pilot_is_longer_only_where_that_leaves_nine_tenths_of_n() -> None:
    assert Adaptive(100, 10_000, 0.001, Gaussian(0.25), 200, TWO_PERCENT).long_pilot == 1000
    assert Adaptive(100, 10_000, 0.001, Gaussian(0.25), 201, TWO_PERCENT).long_pilot == 201


def test_abstaining_at_once_loses_less_than_the_doubt() -> None:
    """At the last count of the pilot that stops, the full sampling would certify with at most that probability, and at
    the first one that goes on with more: by integrating the posterior, without the grid.
    """
    rule = Adaptive(100, 100_000, 0.001, Gaussian(0.25), 1000, TWO_PERCENT)
    certifiable = next(c / rule.n for c in range(50_000, 51_000) if lower_bound(c, rule.n, rule.alpha) > 0.5)
    last = max(c for c in range(400, 700) if rule.next(selected_of_many(c, 1100)) is None)

    def probability(count: int) -> float:
        posterior = beta(count + PRIOR[0], 1100 - count + PRIOR[1])
        return float(quad(posterior.pdf, certifiable, 0.7, limit=200)[0])

    assert probability(last - 1) < DOUBT < probability(last + 2)
    longest = max(c for c in range(500, 700) if rule.next(selected_of_many(c, 1100)) == {Role.SELECTION: 5100})
    assert probability(longest - 1) < SURE < probability(longest + 2)


def selected_of_many(count: int, made: int) -> Counts:
    """The most frequent class of many got `count` draws, even if these are fewer than half."""
    others = made - count
    return {Role.SELECTION: np.array([count, others // 3, others // 3, others - 2 * (others // 3)])}


@given(
    st.integers(40, 20_000),
    st.floats(0.0, 0.5),
    st.floats(0.0, 1.0),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_never_more_than_n_and_certified_by_the_estimation_draws_alone(
    n: int, part: float, p: float, relative: bool, seed: int
) -> None:
    tolerance = Tolerance(0.03, "relative") if relative else Tolerance(0.02, "absolute")
    rule = Adaptive(10, n, 0.01, Gaussian(0.5), max(1, int(n * part)), tolerance)
    counts = draw(rule, [p, (1 - p) * 0.7, (1 - p) * 0.3], np.random.default_rng(seed))
    assert sum(int(of_role.sum()) for of_role in counts.values()) <= 10 + n
    certificate = rule.conclude(counts)
    if not counts[Role.ESTIMATION].any():
        assert certificate == rule.conclude({Role.SELECTION: counts[Role.SELECTION]})
        assert certificate.prediction == ABSTAIN
    else:
        assert certificate == certify_counts(counts[Role.SELECTION], counts[Role.ESTIMATION], rule.noise, 0.01)


@given(st.integers(0, 1100), st.integers(0, 2**32))
def test_estimation_counts_change_nothing_of_what_is_drawn(count: int, seed: int) -> None:
    rule = Adaptive(100, 10_000, 0.001, Gaussian(0.5), 1000, TWO_PERCENT)
    selection = selected(rule, count, 1100)
    need = rule.next(selection)
    assert need == rule.next({**selection, Role.ESTIMATION: np.zeros(2, np.int64)})
    if need is not None:
        draws, generator = need[Role.ESTIMATION], np.random.default_rng(seed)
        for p in (0.0, 0.5, generator.random(), 1.0):
            successes = generator.binomial(draws, p)
            assert rule.next({**selection, Role.ESTIMATION: np.array([draws - successes, successes])}) is None


def test_a_larger_tolerance_or_less_draws_more_radius() -> None:
    def estimation(tolerance: Tolerance, count: int) -> int:
        rule = Adaptive(100, 100_000, 0.001, Gaussian(0.25), 1000, tolerance)
        need = rule.next(selected(rule, count, 1100))
        return need[Role.ESTIMATION] if need is not None else 0

    for count in (680, 800, 1000, 1099, 1100):
        for kind in ("relative", "absolute"):
            draws = [estimation(Tolerance(value, kind), count) for value in (0.001, 0.005, 0.01, 0.02, 0.05, 0.2)]  # type: ignore[arg-type]
            assert draws == sorted(draws, reverse=True)
            assert draws[0] > draws[-1]
    # Where abstaining is within the tolerance, no draws are made at all.
    assert estimation(Tolerance(0.5, "absolute"), 700) == 0


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [
        ("2%", Tolerance(0.02, "relative")),
        (" 0.5 % ", Tolerance(0.005, "relative")),
        ("0.01", Tolerance(0.01, "absolute")),
        ("1e-3", Tolerance(0.001, "absolute")),
        ("2", Tolerance(2.0, "absolute")),
    ],
)
def test_tolerances(text: str, tolerance: Tolerance) -> None:
    assert Tolerance.parse(text) == tolerance
    assert Tolerance.parse(str(tolerance)) == tolerance
    assert tolerance.least(0.8) == pytest.approx(0.8 * (1 - tolerance.value) if "%" in text else 0.8 - tolerance.value)


@pytest.mark.parametrize(
    "text", ["", "%", "two", "2%%", "0%", "-1%", "100%", "nan", "nan%", "inf", "0", "-0.01", "2 px"]
)
def test_refused_tolerances(text: str) -> None:
    with pytest.raises(RaysmoothError, match=r"--tolerance .*write (2%|0\.01)") as refused:
        Tolerance.parse(text)
    assert "\n" not in str(refused.value)


def test_a_pilot_that_leaves_too_little_is_refused_with_what_would_do() -> None:
    with pytest.raises(RaysmoothError, match=r"--pilot 1000 leaves 0 of n=1000 .* --n 1010 or more, or --pilot 10$"):
        Adaptive(100, 1000, 0.001, Gaussian(0.25), 1000, TWO_PERCENT)
    refuse_hopeless_adaptive(1010, 0.001, 1000)
    refuse_hopeless_adaptive(1000, 0.001, 10)
    with pytest.raises(RaysmoothError, match=r"--n 1010 or more"):
        refuse_hopeless_adaptive(1009, 0.001, 1000)
    with pytest.raises(RaysmoothError, match=r"--n 11 or more$"):
        refuse_hopeless_adaptive(10, 0.001, 1)
    with pytest.raises(RaysmoothError, match="can only abstain: write --n 10 or more"):
        refuse_hopeless_adaptive(9, 0.001, 1)
    assert [default_pilot(n) for n in (10, 1000, 10_000, 100_000)] == [1, 10, 100, 1000]
