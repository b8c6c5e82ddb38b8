"""Answers at one radius that hold together: by hand, by SciPy, and by whole simulated sets whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from certificate_rows import DECIDE, DECIDED, A, run_of, sampled_run
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm
from simulated_runs import SETS, bounds, most_failures, rows_of_counts
from statsmodels.stats.multitest import multipletests

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.holm import holm, holm_rejects
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.holm import holm_table

DELTA, P0 = 0.1, float(norm.cdf(0.5))  # radius 0.25 at sigma 0.5
WORDS = {
    "dataset": "digits", "split": "test", "index_set": "all 3 images", "classifier": "c", "denoiser": "none",
    "objective": "none", "n0": 100, "error": None,
}  # fmt: skip


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
        np.testing.assert_array_equal(holm(rows_of_counts(count, 300, DELTA), 0.25, DELTA)["holm"], in_set)


def test_holm_rejects_what_statsmodels_does() -> None:
    generator = np.random.default_rng(5)
    families = np.round(generator.random((3, 60)) ** 6, 3)  # with ties
    rejected = holm_rejects(families, 0.1)
    assert 0 < rejected.sum() < rejected.size
    np.testing.assert_array_equal(rejected, [multipletests(family, 0.1, "holm")[0] for family in families])


def test_holm_by_hand() -> None:
    # At radius 0 of 10 draws each, p0 = 1/2: P(10 of 10) = 1/1024, P(>= 9) = 11/1024, P(>= 8) = 56/1024.
    rows = rows_of_counts(np.array([8, 10, 9]), 10, 0.2)
    answers = holm(rows, 0.0, 0.05)
    assert list(answers["p_value"] * 1024) == pytest.approx([56, 1, 11])
    # 1/1024 <= 0.05/3, 11/1024 = 0.0107 <= 0.05/2, 56/1024 = 0.0547 > 0.05.
    assert list(answers["holm"]) == [False, True, True]
    assert list(answers["bonferroni"]) == [False, True, True]  # 11/1024 <= 0.05/3 too
    assert list(answers["alone"]) == [True, True, True]
    assert list(answers["image_id"]) == [0, 1, 2]
    more = holm(rows, 0.0, 0.055)
    assert more["holm"].all()
    assert list(more["bonferroni"]) == [False, True, True]  # 56/1024 is above 0.055/3
    assert list(holm(rows, 0.0, 0.02)["holm"]) == [False, True, False]  # 11/1024 is too much for 0.02/2
    # What is too much ends it: 0.011 is above 0.025/3, so that 0.0125 is never held against 0.025/2.
    assert not holm_rejects(np.array([0.011, 0.0125, 0.0125]), 0.025).any()


@given(st.lists(st.integers(0, 400), min_size=1, max_size=12), st.floats(0, 1.5), st.floats(0.001, 0.5))
@examples(30)
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
    assert not (answers["bonferroni"] & ~answers["holm"]).any()
    # Bonferroni's are those whose certificates at delta / N reach the radius.
    levels = bounds(400, delta / len(counts))[np.array(counts)]
    clear = np.abs(levels - norm.cdf(radius / 0.5)) > 1e-9
    reaches = stands.to_numpy() & (levels >= norm.cdf(radius / 0.5))
    np.testing.assert_array_equal(answers["bonferroni"][clear], reaches[clear])
    # Rejected one by one, as the paper has it.
    left, rejected = len(counts), set()
    for place in np.argsort(answers["p_value"], kind="stable"):
        if answers["p_value"][place] > delta / left:
            break
        rejected.add(place)
        left -= 1
    assert set(np.flatnonzero(answers["holm"])) == rejected


def test_a_run_not_finished_is_counted_whole_and_errors_are_not_certified() -> None:
    rows = rows_of_counts(np.array([990, 800, 0]), 1000, 0.001, images=40)
    failed = {"status": "error", "prediction": None, "radius": None, "p_lower": None, "count_top": None, "n_used": None}
    rows = rows.astype(dict.fromkeys(failed, object))
    rows.loc[2, list(failed)] = list(failed.values())
    rows.loc[2, ["abstain", "correct"]] = False
    answers = holm(rows, 0.0, 0.05)
    assert list(answers["holm"]) == [True, True, False]
    assert answers["p_value"][2] == 1
    assert not answers["alone"][2]
    # 9 of 10 at radius 0, p = 11/1024: enough for 0.05/3, and not where images are still to come.
    assert holm(rows_of_counts(np.array([9]), 10, 0.2, images=3), 0.0, 0.05)["holm"].item()
    assert not holm(rows_of_counts(np.array([9]), 10, 0.2, images=40), 0.0, 0.05)["holm"].item()


def test_an_image_that_abstained_still_does_and_rows_older_than_n_used_were_fixed() -> None:
    rows = rows_of_counts(np.array([900, 550]), 1000, 1e-6, label=None, correct=None)
    assert list(rows["abstain"]) == [False, True]
    assert list(holm(rows, 0.0, 0.1)["holm"]) == [True, False]  # though P(>= 550 at 1/2) = 0.0009
    old = rows.drop(columns=["n_used", "sampling"])
    pd.testing.assert_frame_equal(holm(old, 0.1, 0.01), holm(rows, 0.1, 0.01))


def test_the_table_by_hand() -> None:
    """As above: at radius 0 and delta 0.055 Bonferroni has two of the three, the third is of a wrong class."""
    rows = rows_of_counts(np.array([8, 10, 9]), 10, 0.2, **WORDS).assign(correct=[True, True, False])
    decided = sampled_run("d" * 16, DECIDE, DECIDED)
    table = holm_table(ReportData(pd.concat([rows, decided])), 0.055, 0.0)
    columns = ["images", "each alone", "Bonferroni", "Holm"]
    assert sorted(table.cells[columns].to_numpy().tolist()) == [["-"] * 4, ["3", "2", "1", "2"]]
    assert table.values[["image_id", "alone", "bonferroni", "holm", "correct"]].to_numpy().tolist() == [
        [0, True, False, True, True],
        [1, True, True, True, True],
        [2, True, True, True, False],
    ]
    assert "at r=0. Each alone" in table.note
    assert "all answers of a run are right at once with probability at least 0.945, at this one radius" in table.note
    assert "-: the run decides one radius" in table.note
    with pytest.raises(RaysmoothError, match="decides one radius"):
        holm_table(ReportData(decided), 0.05, 0.3)
    for radius in (-1.0, float("inf")):
        with pytest.raises(RaysmoothError, match=f"--radius {radius}"):
            holm_table(ReportData(rows), 0.05, radius)


def test_uniform_noise_takes_another_probability() -> None:
    # lambda = 0.5: radius 0.25 takes 1/2 + 0.25 / (2 * 0.5) = 3/4; P(10 of 10 at 3/4) = 0.75^10 = 0.0563.
    rows = rows_of_counts(np.array([10]), 10, 0.2, noise="uniform", norm="l1", sigma=0.5 / 3**0.5)
    assert holm(rows, 0.25, 0.05)["p_value"].item() == pytest.approx(0.75**10)


def test_refusals() -> None:
    cases = [
        (sampled_run(A, DECIDE, DECIDED), r"run 0123456789012345 decides one radius: .* --sampling fixed or adaptive"),
        (run_of(A), "has no count_top"),
        (run_of(A).assign(count_top=[9900, *[None] * 7]), "certificates without count_top and n_used"),
        (rows_of_counts(np.array([9]), 10, 0.2, norm="linf"), "has the linf norm: use its source run in l2"),
        (rows_of_counts(np.array([9]), 10, 0.2).head(0), "no certificate rows"),
    ]
    for rows, message in cases:
        with pytest.raises(RaysmoothError, match=message):
            holm(rows, 0.1, 0.05)
    with pytest.raises(RaysmoothError, match=r"delta 1\.5"):
        holm(rows_of_counts(np.array([9]), 10, 0.2), 0.1, 1.5)
