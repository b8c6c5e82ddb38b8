"""Draws that a vision API leaves unanswered: they count in n, for no class, and never win."""

from itertools import product
from math import ceil, comb, inf
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from raysmooth.actors.models.rejectors import NO_REJECTOR, REJECTORS, UNANSWERED, read_rejector
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.adaptive import Adaptive, Tolerance
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate
from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.sampling_rule import Fixed, FixedPrediction, SamplingRule
from raysmooth.pipeline.certification.sequential_test import CERTIFIED, Decide

NOISE = Gaussian(0.5)
TEN_PERCENT = Tolerance(0.1, "relative")


def counts(kept: list[int], unanswered: int) -> np.ndarray:
    """As a run has them: K kept labels, then K for draws without one, of which the last is used."""
    return np.array([*kept, *[0] * (len(kept) - 1), unanswered])


def test_no_one_can_write_it() -> None:
    assert UNANSWERED not in REJECTORS
    with pytest.raises(RaysmoothError, match="unknown rejector 'unanswered'"):
        read_rejector(UNANSWERED)


@pytest.mark.parametrize("rule", ["fixed", "adaptive"])
def test_they_are_draws_that_are_not_of_the_class(rule: str) -> None:
    drawn = {Role.SELECTION: counts([1, 60, 0], 39), Role.ESTIMATION: counts([40, 800, 10], 150)}
    if rule == "fixed":
        found: Any = Fixed(100, 1000, 0.001, NOISE, rejecting=True).conclude(drawn)
    else:
        found = Adaptive(50, 2000, 0.001, NOISE, 50, TEN_PERCENT, rejecting=True).conclude(drawn)
    p_lower = beta.ppf(0.001, 800, 201)  # 800 of all 1,000
    assert found.prediction == 1
    assert found.p_lower == pytest.approx(p_lower)
    assert found.radius == pytest.approx(0.5 * norm.ppf(p_lower))
    assert (found.count_top, found.count_rejected) == (800, 150)


def test_a_class_with_less_than_half_of_all_draws_is_not_certified_however_few_were_answered() -> None:
    drawn = {Role.SELECTION: counts([90, 0], 10), Role.ESTIMATION: counts([480, 0], 520)}
    found = Fixed(100, 1000, 0.001, NOISE, rejecting=True).conclude(drawn)
    assert (found.prediction, found.radius, found.count_top, found.count_rejected) == (ABSTAIN, 0.0, 480, 520)


def test_an_adaptive_run_plans_by_the_share_of_the_class_among_all_draws() -> None:
    rule, plain = (Adaptive(100, 10_000, 0.001, NOISE, 100, TEN_PERCENT, rejecting) for rejecting in (True, False))
    for top in (0, 30, 55, 80, 99, 100):
        others = 100 - top
        unanswered = {Role.SELECTION: counts([0, top], others)}
        another_class = {Role.SELECTION: np.array([0, top, *[1] * others])}  # each of them another one
        assert rule.next(unanswered) == plain.next(another_class) or top == 0
    assert rule.next({Role.SELECTION: counts([0, 0], 100)}) is None  # nothing was answered: no estimation draws
    nothing = rule.conclude({Role.SELECTION: counts([0, 0], 100)})
    assert nothing == Certificate(ABSTAIN, 0.0, 0.0, 0, count_rejected=0)


def test_a_decision_counts_them_among_its_draws() -> None:
    rule, plain = (Decide(20, 1000, 0.01, NOISE, 0.2, rejecting) for rejecting in (True, False))
    for top, other, unanswered in product((0, 50, 65, 80, 95, 100), (0, 3), (0, 5, 35)):
        rejecting = {Role.SELECTION: counts([20, 0], 0), Role.ESTIMATION: counts([top, other], unanswered)}
        merged = {Role.SELECTION: np.array([20, 0]), Role.ESTIMATION: np.array([top, other + unanswered])}
        assert rule.decision(rejecting) == plain.decision(merged)
        assert rule.next(rejecting) == plain.next(merged)
    certified = rule.conclude({Role.SELECTION: counts([20, 0], 0), Role.ESTIMATION: counts([95, 1], 4)})
    assert (certified.decision, certified.prediction, certified.count_rejected) == (CERTIFIED, 0, 4)


def test_a_prediction_is_between_the_two_most_frequent_classes() -> None:
    found = FixedPrediction(100, 0.05, rejecting=True).conclude({Role.ESTIMATION: counts([3, 12, 1], 84)})
    assert (found.prediction, found.count_top, found.count_rejected) == (1, 12, 84)
    assert found.p_value == pytest.approx(binomtest(12, 15, 0.5).pvalue)
    nothing = FixedPrediction(100, 0.05, rejecting=True).conclude({Role.ESTIMATION: counts([0, 0], 100)})
    assert (nothing.prediction, nothing.p_value, nothing.count_top) == (ABSTAIN, 1.0, 0)


def outcomes(n: int, odds: tuple[float, ...]) -> list[tuple[np.ndarray, float]]:
    """All counts of n draws of two classes and of no answer, as a run has them, with their probabilities."""
    found = []
    for first in range(n + 1):
        for second in range(n - first + 1):
            third = n - first - second
            probability = comb(n, first) * comb(n - first, second) * odds[0] ** first * odds[1] ** second
            found.append((counts([first, second], third), probability * odds[2] ** third))
    return found


def reached(rule: SamplingRule, odds: tuple[float, ...]) -> list[tuple[dict[Role, np.ndarray], float]]:
    """All counts with which the rule stops, with their probabilities: every path of its rounds is followed, and paths
    that meet in the same counts are joined.
    """
    open_counts: dict[tuple[tuple[int, ...], ...], float] = {((0,) * 4, (0,) * 4): 1.0}
    needs, stopped = {((0,) * 4, (0,) * 4): rule.first}, []
    while open_counts:
        following: dict[tuple[tuple[int, ...], ...], float] = {}
        for state, weight in open_counts.items():
            made = {Role.SELECTION: np.array(state[0]), Role.ESTIMATION: np.array(state[1])}
            more = {role: needs[state].get(role, 0) - int(made[role].sum()) for role in made}
            more = {role: max(0, draws) for role, draws in more.items()}
            for (chosen, one), (drawn, other) in product(
                outcomes(more[Role.SELECTION], odds), outcomes(more[Role.ESTIMATION], odds)
            ):
                now = made[Role.SELECTION] + chosen, made[Role.ESTIMATION] + drawn
                key = tuple(map(int, now[0])), tuple(map(int, now[1]))
                following[key] = following.get(key, 0.0) + weight * one * other
        open_counts = {}
        for state, weight in following.items():
            final = {Role.SELECTION: np.array(state[0]), Role.ESTIMATION: np.array(state[1])}
            need = rule.next(final)
            if need is None:
                stopped.append((final, weight))
            else:
                open_counts[state], needs[state] = weight, need
    return stopped


ODDS = [(0.5, 0.1, 0.4), (0.52, 0.0, 0.48), (0.7, 0.05, 0.25), (0.4, 0.35, 0.25), (0.3, 0.0, 0.7), (0.0, 0.0, 1.0)]
"""Probabilities of two classes and of no answer."""

RULES: dict[str, SamplingRule] = {
    "fixed": Fixed(2, 14, 0.1, NOISE, rejecting=True),
    "adaptive": Adaptive(3, 24, 0.1, NOISE, 4, Tolerance(0.3, "relative"), rejecting=True),
    "decide": Decide(2, 24, 0.1, NOISE, 0.05, rejecting=True),
}


@pytest.mark.parametrize("odds", ODDS, ids=str)
@pytest.mark.parametrize("name", RULES)
def test_certificates_are_wrong_with_probability_at_most_alpha_over_all_counts_there_can_be(
    name: str, odds: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysmooth.pipeline.certification.sequential_test.FIRST", 8)  # more rounds of fewer draws
    total = wrong = 0.0
    for drawn, probability in reached(RULES[name], odds):
        total += probability
        found = RULES[name].conclude(drawn)
        if found.prediction == ABSTAIN:
            continue
        # The radius at which the smoothed classifier changes at the earliest, as far as pA says.
        true = odds[found.prediction]
        most = 0.5 * norm.ppf(true) if true > 0.5 else -inf
        wrong += probability * (found.radius > most + 1e-12)
    assert total == pytest.approx(1.0)
    assert wrong <= 0.1


@pytest.mark.parametrize("odds", ODDS, ids=str)
def test_a_wrong_class_is_predicted_with_probability_at_most_alpha(odds: tuple[float, ...]) -> None:
    rule, wrong = FixedPrediction(20, 0.1, rejecting=True), 0.0
    best = int(np.argmax(odds[:2]))
    for drawn, probability in outcomes(20, odds):
        found = rule.conclude({Role.ESTIMATION: drawn})
        assert found.prediction in (ABSTAIN, 0, 1)  # having no answer never wins
        wrong += probability * (found.prediction not in (ABSTAIN, best))
    assert wrong <= 0.1


def test_leaving_them_out_would_be_wrong_far_more_often() -> None:
    """What the rule is for: a class with half of the draws, and no answer to the other half, is no certain class."""
    odds, wrong = (0.5, 0.0, 0.5), 0.0
    for drawn, probability in outcomes(14, odds):
        kept = counts([int(drawn[0]), int(drawn[1])], 0)
        if not kept.any():
            continue
        without = Fixed(2, 14, 0.1, NOISE, rejecting=True).conclude({Role.SELECTION: kept, Role.ESTIMATION: kept})
        wrong += probability * (without.prediction != ABSTAIN)
    assert wrong > 0.9


def test_the_bound_of_such_a_run_is_the_complement_unless_another_is_asked_for() -> None:
    assert ChosenBound.of_run(None, None, UNANSWERED) == ChosenBound("complement")
    assert ChosenBound.of_run("runner-up", None, UNANSWERED) == ChosenBound("runner-up", 0.5)
    assert ChosenBound.of_run("rejection", 0.9, UNANSWERED) == ChosenBound("rejection", 0.9)
    assert ChosenBound.of_run(None, None, "margin:threshold=0.1") == ChosenBound("runner-up", 0.5)
    assert ChosenBound.of_run(None, None, NO_REJECTOR) == ChosenBound("complement")


def test_a_run_of_an_api_may_be_adaptive_and_its_rule_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.certification.sampling_methods import bound_of, refuse_hopeless, sampling_rule
    from raysmooth.pipeline.runs.settings import CertifySettings

    given = {"dataset": "digits", "classifier": "digits_cnn", "sigma": 0.25, "n": 1000}

    def settings(**changes: Any) -> CertifySettings:
        return checked(CertifySettings, {**given, **changes}).model_copy(update={"rejector": UNANSWERED})

    assert bound_of(settings()).name == "complement"
    refuse_hopeless(settings(sampling="adaptive"), NOISE)
    for method in ({}, {"sampling": "adaptive"}, {"sampling": "decide", "radius": 0.1}):
        rule: Any = sampling_rule(settings(**method), NOISE)
        assert rule.rejecting
    with pytest.raises(RaysmoothError, match="--noise-bound needs another --sampling"):
        refuse_hopeless(settings(sampling="adaptive", noise_bound="runner-up"), NOISE)


def test_the_rounds_of_a_decision_grow_as_they_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Decide(20, 1000, 0.01, NOISE, 0.2, rejecting=True)
    undecided = {Role.SELECTION: counts([20, 0], 0), Role.ESTIMATION: counts([67, 0], 33)}
    assert rule.next(undecided) == {Role.SELECTION: 20, Role.ESTIMATION: ceil(144)}
