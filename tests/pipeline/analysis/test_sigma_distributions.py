"""Distributions of the sigmas of images, and radii against those of a fixed sigma, by hand."""

from math import isnan, sqrt

import numpy as np
import pandas as pd
import pytest
from certificate_rows import run_of
from scipy.stats import binom, norm
from sigma_rows import (
    DDRS,
    ENVELOPE,
    FIXED,
    GRID,
    SEARCHED,
    SELECTOR,
    envelope_run,
    fixed_run,
    memory_run,
    of_steps,
    searched_run,
)

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.comparison import compare
from raysmooth.pipeline.analysis.envelope import default_groups, envelope
from raysmooth.pipeline.analysis.holm import holm
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.run_selection import where
from raysmooth.pipeline.analysis.sigmas.distribution import (
    fixed_counterparts,
    grew,
    image_sigmas,
    sigma_distribution,
    sigma_limits,
)
from raysmooth.pipeline.analysis.sigmas.rules import ABOUT, read_rule, steps_of, without_steps
from raysmooth.pipeline.analysis.sigmas.steps import step_series
from raysmooth.pipeline.analysis.summary import summarize


def described(*runs: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    rows = pd.concat(runs, ignore_index=True)
    return describe_runs(rows), by_run(rows)


def test_the_distribution_by_hand() -> None:
    found = sigma_distribution(searched_run()).set_index("outcome")
    assert found["images"].to_dict() == {"all": 7, "correct": 4, "wrong": 1, "abstained": 2}
    assert found.loc["all", "mean"] == pytest.approx((0.3 + 0.25 + 0.4 + 0.0625 + 0.35 + 0.25 + 1.0) / 7)
    quantiles = found[["min", "25 %", "median", "75 %", "max"]]
    assert quantiles.loc["all"].tolist() == [0.0625, 0.25, 0.3, 0.35, 1.0]
    assert quantiles.loc["correct"].tolist() == [0.0625, 0.0625, 0.25, 0.3, 0.4]
    assert found["at_least"].tolist() == [1 / 7, 1 / 4, 0, 0]
    assert found["at_most"].tolist() == [1 / 7, 0, 0, 1 / 2]
    unlabelled = sigma_distribution(searched_run(label=None))
    assert unlabelled["outcome"].tolist() == ["all", "unlabelled", "abstained"]


def test_a_missing_sigma_is_that_of_the_run() -> None:
    rows = searched_run(sigmas=(None, 0.3, *[None] * 6))
    assert image_sigmas(rows)["sigma"].tolist() == [0.25, 0.3, *[0.25] * 5]
    with pytest.raises(RaysmoothError, match="has one sigma for all images: certify with --sigmas"):
        image_sigmas(fixed_run())


def test_the_ends_of_a_search() -> None:
    assert sigma_limits(DDRS, "gaussian", 0.5) == (0.125, 2.0)
    assert sigma_limits(DDRS + ",least=0.1,most=0.7", "gaussian", 0.5) == (0.1, 0.7)
    lower, upper = sigma_limits(GRID + ",least=0.3,most=0.6", "uniform", 0.25) or (0, 0)  # those of lambda
    assert (lower, upper) == (pytest.approx(0.3 / sqrt(3)), pytest.approx(0.6 / sqrt(3)))
    assert sigma_limits(SELECTOR, "gaussian", 0.25) == (0.25, 1.0)
    assert sigma_limits(ENVELOPE, "gaussian", None) == (0.25, 1.0)
    for rule, noise, sigma in (("novel:x=1", "gaussian", 0.5), (DDRS, "cauchy", 0.5), (DDRS, "gaussian", None)):
        assert sigma_limits(rule, noise, sigma) is None
    assert sigma_distribution(searched_run(rule="novel"))["at_least"].isna().all()


def test_radii_grow_for_the_right_class_only() -> None:
    larger = grew(searched_run(), fixed_run())
    assert larger.tolist() == [True, False, True, False, False, False, False, False]
    lost = fixed_run().iloc[1:]
    assert not grew(searched_run(), lost).iloc[0]
    abstained = fixed_run(outcomes=[(-1, 0.0)] * 8)
    assert grew(searched_run(), abstained).tolist() == [True] * 4 + [False] * 4


def test_a_counterpart_is_equal_in_all_else() -> None:
    others = [
        fixed_run("2" * 16, sigma=0.5),
        fixed_run("3" * 16, n=1000),
        fixed_run("4" * 16, objective="macer"),
        fixed_run("5" * 16).assign(classifier_fingerprint="b"),
        fixed_run("6" * 16).assign(source=f"recertified from {FIXED}"),
    ]
    own = searched_run().assign(classifier_fingerprint="a")
    assert fixed_counterparts(*described(*others, own)) == {}
    right = fixed_run().assign(classifier_fingerprint="a")
    assert fixed_counterparts(*described(*others, own, right)) == {SEARCHED: FIXED}


def test_facts_of_rules() -> None:
    runs, _ = described(memory_run(), envelope_run(), searched_run(), fixed_run(), searched_run("3" * 16, SELECTOR))
    assert runs.index.str[0].tolist() == ["0", "1", "f", "3", "e"]  # fixed sigmas first, envelopes last
    one, each, later = ABOUT
    assert runs["about"].tolist() == [one, each, later, one, one]
    assert runs["sigma"].isna().tolist() == [False] * 4 + [True]
    old, _ = described(run_of("a" * 16))
    assert old[["sigma_rule", "about"]].to_numpy().tolist() == [["fixed", one]]
    assert steps_of(DDRS) == 400
    assert isnan(steps_of("fixed"))
    assert without_steps(DDRS) == without_steps(DDRS.replace("400", "100")) == DDRS.removesuffix(",steps=400")
    assert read_rule("not a rule").name == "not a rule"
    assert set(where(pd.concat([fixed_run(), searched_run()]), ["sigma_rule=ddrs"])["run_id"]) == {SEARCHED}


def test_runs_are_in_the_order_of_their_steps() -> None:
    runs, _ = described(*of_steps(1000, 100, 900))
    assert runs["sigma_rule"].map(steps_of).tolist() == [100, 900, 1000]


def test_a_series_differs_in_its_steps_alone() -> None:
    alone = searched_run("9" * 16, DDRS.replace("draws=1", "draws=8"))
    runs, parts = described(*of_steps(100, 300), *of_steps(200, 400, sigma=0.5), alone, fixed_run())
    first, second = step_series(runs, parts)
    assert {steps: runs.loc[run, "sigma"] for steps, run in first.items()} == {0: 0.25, 100: 0.25, 300: 0.25}
    assert first[0] == FIXED
    assert {steps: runs.loc[run, "sigma"] for steps, run in second.items()} == {200: 0.5, 400: 0.5}
    assert step_series(*described(alone, fixed_run())) == []


def test_memories_and_classifiers_for_each_image_are_never_in_one_line_of_an_envelope() -> None:
    summary = summarize(pd.concat([fixed_run(), *of_steps(100, 200), memory_run()], ignore_index=True), [0.0, 0.25])
    assert default_groups(summary) == ["about", "denoiser", "objective", "sigma_rule"]
    best = envelope(summary, ["objective"])
    assert best[best["radius"] == 0.25][["about", "share"]].to_numpy().tolist() == [
        [ABOUT[0], 0.375],
        [ABOUT[1], 0.25],
        [ABOUT[2], 0.25],
    ]


def test_a_fixed_sigma_and_a_search_are_compared_image_by_image() -> None:
    found = compare(searched_run(), fixed_run(), 0.45)
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 1, 0, 6)
    assert found.differing["image_id"].tolist() == [0]


def test_holm_asks_of_each_image_what_its_own_sigma_needs() -> None:
    count = pd.array([9000, 8000, 10_000, 9000, 9500, 3000, 2000, None], "Int64")
    rows = searched_run().assign(count_top=count, n_used=pd.array([10_000] * 7 + [None], "Int64"))
    found = holm(rows, 0.2, 0.05)["p_value"].to_numpy()
    for place in range(5):
        p0 = norm.cdf(0.2 / rows["image_sigma"][place])
        assert found[place] == pytest.approx(binom.sf(count[place] - 1, 10_000, p0), rel=1e-6, abs=1e-300)
    assert np.all(found[5:] == 1)
    with pytest.raises(RaysmoothError, match="certifies the sigma of each image too"):
        holm(rows.assign(sigma_rule=SELECTOR), 0.2, 0.05)
