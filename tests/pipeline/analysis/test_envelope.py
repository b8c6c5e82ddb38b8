import numpy as np
import pandas as pd
import pytest
from certificate_rows import BETTER, DECIDED, DENOISED, A, B, run_of, sampled_run
from simulated_runs import interval

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.envelope import default_groups, envelope
from raysmooth.pipeline.analysis.metrics import certified_radii
from raysmooth.pipeline.analysis.summary import summarize
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.envelope import envelope_table

C, D = "c" * 16, "d" * 16

# Ten images each. At r = 0, 0.25, 0.5, 1 certified: LOW 9, 6, 0, 0; MIDDLE 8, 6, 4, 0; HIGH 5, 5, 4, 2.
LOW = [(1, 0.3)] * 6 + [(1, 0.1)] * 3 + [(-1, 0.0)]
MIDDLE = [(1, 0.6)] * 4 + [(1, 0.4)] * 2 + [(1, 0.2)] * 2 + [(2, 2.0)] * 2
HIGH = [(1, 1.0)] * 2 + [(1, 0.5)] * 2 + [(1, 0.25)] + [(-1, 0.0)] * 5
SWEPT = pd.concat(
    [
        run_of(A, LOW, sigma=0.25, images=10),
        run_of(B, MIDDLE, sigma=0.5, images=10),
        run_of(C, HIGH, sigma=1.0, images=10),
        run_of(D, MIDDLE[:8], sigma=0.5, images=10, **DENOISED),
    ],
    ignore_index=True,
)
RADII = [0, 0.25, 0.5, 1]


def test_the_best_at_each_radius_and_its_accuracy_at_0_by_hand():
    best = envelope(summarize(SWEPT, RADII))
    plain = best[best["denoiser"] == "none"]
    assert plain["radius"].tolist() == RADII
    assert plain["share"].tolist() == [0.9, 0.6, 0.4, 0.2]
    # At 0.25 two tie, and at 0.5 two others: the more accurate at 0 wins.
    assert plain["run_id"].tolist() == [A, A, B, C]
    assert plain["sigma"].tolist() == [0.25, 0.25, 0.5, 1.0]
    assert plain["at_zero"].tolist() == [0.9, 0.9, 0.8, 0.5]
    denoised = best[best["denoiser"] != "none"]
    assert denoised["share"].tolist() == [1.0, 6 / 8, 4 / 8, 0.0]
    assert set(denoised["run_id"]) == {D}
    assert denoised[["rows", "images"]].drop_duplicates().to_numpy().tolist() == [[8, 10]]


def test_of_those_that_tie_in_both_the_first_wins():
    two = pd.concat([run_of(A, LOW, sigma=0.5, images=10), run_of(B, LOW, sigma=0.25, images=10)])
    assert set(envelope(summarize(two, RADII), ["denoiser"])["run_id"]) == {B}  # tables are ordered by sigma


def test_groups_are_what_differs_but_sigma_unless_named():
    summary = summarize(SWEPT, RADII)
    assert default_groups(summary) == ["denoiser", "objective"]
    assert default_groups(summary.assign(n=[1, 2, 3, 4])) == ["n", "denoiser", "objective"]
    for by in (["classifier"], []):
        best = envelope(summary, by)
        assert best["share"].tolist() == [1.0, 6 / 8, 4 / 8, 0.2]
        assert best["run_id"].tolist() == [D, D, D, C]
    assert len(envelope(summary, ["sigma"])) == 3 * len(RADII)


@pytest.mark.parametrize(("column", "other"), [("dataset", "mnist"), ("split", "train"), ("norm", "linf")])
def test_runs_that_cannot_be_compared_have_no_envelope(column, other):
    rows = pd.concat([run_of(A), run_of(B, sigma=0.5, **{column: other})])
    with pytest.raises(RaysmoothError, match=rf"more than one {column} \(.*{other}.*--where {column}="):
        envelope(summarize(rows, RADII), ["denoiser"])
    assert len(envelope(summarize(rows, RADII))) == 2 * len(RADII)  # a line each


def test_runs_with_and_without_labels_are_never_one_group():
    rows = pd.concat([run_of(A), run_of(B, label=None, sigma=0.5)])
    best = envelope(summarize(rows, [0]), ["denoiser"])
    assert best["share"].tolist() == [4 / 8, 5 / 8]
    assert best["quantity"].nunique() == 2


def test_a_decision_competes_at_its_own_radius_and_is_not_known_at_0():
    decided = sampled_run(B, "decide:radius=0.5", [(1, 0.5)] * 5 + DECIDED[4:7], sigma=0.5)
    rows = pd.concat([run_of(A), decided])
    best = envelope(summarize(rows, [0, 0.25, 0.5, 0.75]), ["denoiser"])
    assert best["run_id"].tolist() == [A, A, B, A]
    assert best["share"].tolist() == [4 / 8, 3 / 8, 5 / 8, 1 / 8]
    assert best["at_zero"].tolist()[:2] == [4 / 8, 4 / 8]
    assert np.isnan(best["at_zero"].iloc[2])
    alone = envelope(summarize(decided, [0, 0.5]), ["denoiser"])
    assert alone["share"].isna().tolist() == [True, False]
    assert envelope_table(ReportData(rows, [0.25, 0.5], ["denoiser"]), False).cells.to_numpy().tolist() == [
        ["none", "37.5 (50.0)", "62.5 (?)"]
    ]


def test_intervals_hold_for_all_runs_of_a_group_at_once():
    best = envelope(summarize(SWEPT, RADII))
    parts = {run: SWEPT[SWEPT["run_id"] == run] for run in (A, B, C, D)}
    for line in best.to_dict("records"):
        runs = 3 if line["denoiser"] == "none" else 1
        radii = certified_radii(parts[line["run_id"]])
        ends = interval(int((radii >= line["radius"]).sum()), len(radii), delta=0.05 / runs)
        assert (line["low"], line["high"]) == pytest.approx(ends, abs=1e-12)


def test_the_papers_layout():
    table = envelope_table(ReportData(SWEPT, RADII), False)
    assert table.cells.to_dict("list") == {
        "denoiser": ["none", "dncnn"],
        "objective": ["none", "stab+mse"],
        "r=0.25": ["60.0 (90.0)", "75.0 (100.0)*"],
        "r=0.5": ["40.0 (80.0)", "50.0 (100.0)*"],
        "r=1": ["20.0 (50.0)", "0.0 (100.0)*"],
    }
    assert not table.best.any(axis=None)  # of the two one goes on, and its images so far may be the easy ones
    assert "Best of sigma 0.25, 0.5, 1.0 at each radius" in table.caption
    assert "*: the run is unfinished." in table.caption
    assert "every 50th of 400" in table.caption


def test_the_best_line_is_bold_where_it_is_on_the_same_images_and_finished():
    finished = pd.concat(
        [SWEPT[SWEPT["run_id"] != D], run_of(D, MIDDLE[:8] + MIDDLE[:2], sigma=0.5, images=10, **DENOISED)]
    )
    table = envelope_table(ReportData(finished, RADII), False)
    assert table.cells["r=0.5"].tolist() == ["40.0 (80.0)", "60.0 (100.0)"]
    assert table.best.to_numpy().tolist() == [[False, False, True], [True, True, False]]
    for column, other in (("dataset", "imagenet"), ("alpha", 0.1)):
        elsewhere = finished.assign(**{column: finished[column].where(finished["run_id"] != D, other)})
        table = envelope_table(ReportData(elsewhere, RADII), False)
        assert len(table.cells) == 2
        assert not table.best.any(axis=None)


@pytest.mark.parametrize(("column", "other"), [("n", 1000), ("alpha", 0.1), ("bound", "runner-up")])
def test_runs_that_promise_otherwise_are_no_line(column, other):
    loose = run_of(B, BETTER, sigma=0.5)
    loose = loose.assign(p_upper=0.1) if column == "bound" else loose.assign(**{column: other})
    rows = pd.concat([run_of(A), loose])
    with pytest.raises(RaysmoothError, match=rf"more than one {column} \(.*{other}.*: add {column} to --group-by"):
        envelope_table(ReportData(rows, group_by=["classifier"]), False)
    assert len(envelope_table(ReportData(rows, group_by=["classifier", column]), False).cells) == 2


def test_lines_may_be_of_any_column_that_runs_have():
    rows = pd.concat([run_of(A), run_of(B, sigma=0.5)]).assign(classifier_fingerprint="abc", source=None)
    for column, cells in (("classifier_fingerprint", ["abc"]), ("run_id", [A, B]), ("source", ["unknown"])):
        table = envelope_table(ReportData(rows, [0.25], group_by=[column]), False)
        assert table.cells[column].tolist() == cells


def test_with_intervals_each_radius_has_a_column_more():
    cells = envelope_table(ReportData(SWEPT, [0.25]), True).cells
    assert list(cells) == ["denoiser", "objective", "r=0.25", "r=0.25 95 %"]
    low, high = envelope(summarize(SWEPT, [0, 0.25]))[["low", "high"]].to_numpy()[1]
    below, above = (float(end) for end in cells["r=0.25 95 %"].iloc[0].split(" to "))
    assert 100 * low - 0.1 < below <= 100 * low
    assert 100 * high <= above < 100 * high + 0.1


def test_shares_are_rounded_down():
    rows = run_of(A, [(1, 0.3)] * 2 + [(-1, 0.0)], images=3)
    assert envelope_table(ReportData(rows, [0.25]), False).cells["r=0.25"].tolist() == ["66.6 (66.6)"]


def test_other_images_in_one_line_are_mentioned():
    rows = pd.concat([run_of(A), run_of(B, sigma=0.5, index_set="all 400 images")])
    assert envelope_table(ReportData(rows), False).cells["index_set"].nunique() == 2  # lines of their own
    grouped = envelope_table(ReportData(rows, group_by=["denoiser"]), False)
    assert "Not all runs of a line are on the same images." in grouped.caption
