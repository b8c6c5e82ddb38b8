import io

import numpy as np
import pandas as pd
import pytest
from certificate_rows import BETTER, DECIDE, DECIDED, DENOISED, PLAIN, A, B, run_of, sampled_run
from sigma_rows import of_steps
from simulated_runs import interval, rows_of_counts

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.classes import classes_table
from raysmooth.pipeline.report.tables.comparison import comparison_table
from raysmooth.pipeline.report.tables.formats import csv, latex, markdown

N = 10_000


def drawn(run, counts):
    """A run whose rows say how many of N estimation draws the class got, pA (something below their share) too."""
    counts = pd.Series(counts, run.index, dtype="Int64")
    return run.assign(count_top=counts, n_used=N, draws=N + 100, p_lower=counts.astype("Float64") / N - 0.01)


PLAIN_RUN = drawn(run_of(A, PLAIN), [9000, 8000, N, 7000, 9500, 3000, 2000, None])
BETTER_RUN = drawn(run_of(B, BETTER, sigma=0.5, **DENOISED), [9000, 8000, N, 7000, N, 3000, 6000, 8000])
REJECTING_RUN = BETTER_RUN.assign(
    rejector="confidence:threshold=0.6", p_upper=0.3, count_rejected=pd.Series([500, 0, 0, 1000, 0, 7000, 0, 2000])
)
BOTH = ReportData(pd.concat([PLAIN_RUN, BETTER_RUN], ignore_index=True), [0, 0.25, 0.5])
REJECTING = ReportData(pd.concat([PLAIN_RUN, REJECTING_RUN], ignore_index=True), [0, 0.25, 0.5])
TOP_K_RUN = PLAIN_RUN.assign(
    top_k=5, radius_top_k=PLAIN_RUN["radius"], label_radius_top_k=[0.7, 0.5, 0.9, 0.2, 0.4, 0.05, None, None]
)
TOP_K = ReportData(TOP_K_RUN, [0, 0.25, 0.5])
SEARCHED = ReportData(pd.concat(of_steps(100, 200), ignore_index=True), [0, 0.25, 0.5])
WHOSE = ["denoiser", "objective", "sigma"]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("intervals", [False, True])
def test_every_table_says_of_which_images_and_at_which_n_and_alpha(name, intervals):
    data = {"rejection": REJECTING, "sigmas": SEARCHED, "steps": SEARCHED, "top-k": TOP_K}.get(name, BOTH)
    table = TABLES[name](data, intervals)
    for words in ("digits, test split, every 50th of 400 (8 images)", "n=10000", "alpha=0.001"):
        assert words in markdown(table)
    without = ("radii", "p-lower", "rejection", "sigmas", "cost", "wrong-certificates", "errors")
    assert ("95 %" in table.caption) == (intervals and name not in without)
    assert len(pd.read_csv(io.StringIO(csv(table)), dtype={"run_id": str})) > 0


def test_a_run_that_goes_on_says_so_in_every_table():
    runs = [
        PLAIN_RUN,
        REJECTING_RUN.head(6).assign(top_k=5, label_radius_top_k=0.1),
        *(run.head(6) for run in of_steps(100, 200)),
    ]
    unfinished = ReportData(pd.concat(runs), [0, 0.25])
    for name in TABLES:
        table = TABLES[name](unfinished, False)
        marked = "*: the run is unfinished" in table.caption if name == "envelope" else "6 of 8" in markdown(table)
        marked = marked or name == "errors"  # of the finished run alone
        assert marked, name


def test_noise_levels_are_one_below_the_other_and_the_best_are_those_of_a_level():
    other = drawn(run_of("c" * 16, BETTER, sigma=0.25, **DENOISED), [9000] * 8)
    table = TABLES["sigma"](ReportData(pd.concat([BETTER_RUN, PLAIN_RUN, other]), [0.25]), False)
    assert table.cells[["sigma", "denoiser", "r=0.25"]].to_numpy().tolist() == [
        ["0.25", "none", "37.5"],
        ["0.25", "dncnn", "62.5"],
        ["0.5", "dncnn", "62.5"],
    ]
    assert table.best["r=0.25"].tolist() == [False, True, False]  # a run alone is not the best


def test_radii_by_hand():
    # PLAIN: right 0.1 | 0.25 | 0.5, 0.8; one wrong, two abstain, one failed.
    cells = TABLES["radii"](BOTH, False).cells
    assert cells.drop(columns=WHOSE).to_dict("records") == [
        {"0 to 0.25": "12.5", "0.25 to 0.5": "12.5", "0.5 or more": "25.0", "wrong": "12.5", "abstain": "25.0",
         "failed": "12.5"},
        {"0 to 0.25": "25.0", "0.25 to 0.5": "25.0", "0.5 or more": "37.5", "wrong": "0.0", "abstain": "12.5",
         "failed": "0.0"},
    ]  # fmt: skip


def test_p_lower_by_hand():
    table = TABLES["p-lower"](BOTH, False)
    first, second = table.cells.drop(columns=WHOSE).to_dict("records")
    # Seven images did not fail: pA 0.19, 0.29, 0.69, 0.79, 0.89, 0.94, 0.99.
    assert (first["5%"], first["50%"], first["95%"]) == ("0.1900", "0.7900", "0.9399")  # 0.95 - 0.01 is a little below
    assert (first["ACR"], first["all draws agree"], first["their ACR"]) == ("0.206", "14.2", "48.4")  # 0.8 of 1.65
    assert (second["all draws agree"], second["their ACR"]) == ("25.0", "53.4")  # 1.55 of 2.9
    assert list(table.values)[:4] == ["run_id", "pA 5%", "pA 25%", "pA 50%"]


def test_a_decision_gives_nothing_at_other_radii():
    decided = sampled_run("d" * 16, "decide:radius=0.5", [(1, 0.5)] * 3 + DECIDED[3:])
    for radii, cells in (
        ([0, 0.25, 0.5], ["-", "-", "37.5"]),
        ([0, 0.25], ["-", "-"]),
        ([0, 0.25, 0.5, 0.75], ["-", "-", "-", "-"]),
    ):
        table = TABLES["radii"](ReportData(pd.concat([PLAIN_RUN, decided]), radii), False)
        assert [cell for name, cell in table.cells.iloc[1].items() if name[0].isdigit()] == cells


def test_where_it_abstains_depends_on_the_bound():
    assert "probability: CERTIFY abstains where it is at most 0.5." in TABLES["p-lower"](BOTH, False).note
    own = PLAIN_RUN.assign(p_upper=0.3, run_id="e" * 16)
    assert (
        "probability: CERTIFY abstains where it does not exceed the runner-up's upper bound."
        in TABLES["p-lower"](ReportData(own), False).note
    )
    both = TABLES["p-lower"](ReportData(pd.concat([PLAIN_RUN, own])), False).note
    assert "with the 1 - pA bound, CERTIFY abstains where it is at most 0.5; with the runner-up bound, CERTIFY" in both


def test_p_lower_of_runs_that_record_none():
    decided = sampled_run("d" * 16, DECIDE, DECIDED)
    cells = TABLES["p-lower"](ReportData(pd.concat([PLAIN_RUN, decided])), False).cells
    assert cells.iloc[1][["5%", "all draws agree"]].tolist() == ["-", "-"]
    for name, words in (
        ("p-lower", "no pA available: runs with --sampling decide and imported logs do not"),
        ("radii", "all these runs decide one radius"),
    ):
        with pytest.raises(RaysmoothError, match=words):
            TABLES[name](ReportData(decided), False)


def test_classes_by_hand():
    rows = PLAIN_RUN.assign(label=[3, 3, 3, 7, 7, 7, 3, None])
    table = TABLES["classes"](ReportData(rows, [0, 0.5]), True)
    columns = ["class", "images", "r=0", "r=0.5"]
    # Labels do not touch `correct`: 3 has 0.5, 0.25, 0.8 and an abstention; 7 has 0.1, one wrong, one abstention.
    assert table.cells[columns].to_numpy().tolist() == [
        ["3", "4", "75.0", "50.0"],
        ["7", "3", "33.3", "0.0"],
        ["unknown", "1", "0.0", "0.0"],
    ]
    assert table.values.loc[0, ["r=0 low", "r=0.5 high"]].tolist() == pytest.approx(
        [interval(3, 4)[0], interval(2, 4)[1]], abs=1e-12
    )


def test_classes_have_their_names():
    names = ["cat", "cat", "cat", "c" * 300, "c" * 300, "c" * 300, "cat", None]
    rows = PLAIN_RUN.assign(label=[3, 3, 3, 7, 7, 7, 3, None], label_name=names)
    table = classes_table(ReportData(rows, [0]), False)
    assert table.cells["class"].tolist() == ["3 (cat)", f"7 ({'c' * 37}...)", "unknown"]
    assert table.values["label_name"].dropna().tolist() == ["cat", "c" * 300]
    assert "class" in table.text_columns


def test_errors_by_hand():
    table = TABLES["errors"](ReportData(pd.concat([PLAIN_RUN, BETTER_RUN]), [0]), False)
    assert table.cells[["failed", "first", "reason"]].to_numpy().tolist() == [["1", "350", "unreadable"]]
    rows = PLAIN_RUN.assign(file="=cat/<b>.png")
    table = TABLES["errors"](ReportData(rows, [0]), False)
    assert table.cells["first"].tolist() == ["350 (=cat/<b>.png)"]
    assert csv(table).splitlines()[1].endswith(",1,350,'=cat/<b>.png,unreadable")
    assert r"350 (=cat/\<b>.png)" in markdown(table)
    assert r"350 (=cat/\textless{}b\textgreater{}.png)" in latex(table)
    with pytest.raises(RaysmoothError, match="no image failed"):
        TABLES["errors"](ReportData(BETTER_RUN, [0]), False)


def test_of_too_many_classes_the_least_certified_are_kept():
    rows = PLAIN_RUN.assign(label=range(8))  # radii 0.5, 0.25, 0.8, 0.1, and four that count nowhere
    table = classes_table(ReportData(rows, [0, 0.3]), False, most=5)
    assert table.cells["class"].tolist() == ["1", "3", "4", "5", "6"]
    assert "Of 8 lines, only each run's 5 classes least certified at r=0.3 are shown." in table.note


def test_classes_know_nothing_beyond_a_decided_radius():
    cells = TABLES["classes"](ReportData(sampled_run(A, DECIDE, DECIDED), [0.3, 0.5]), True).cells
    assert cells[["r=0.3", "r=0.5", "r=0.5 95 %"]].to_numpy().tolist() == [["37.5", "-", "-"]]


def test_without_labels_there_are_no_classes():
    with pytest.raises(RaysmoothError, match="no run has labels"):
        TABLES["classes"](ReportData(run_of(A, label=None)), False)


def test_costs_by_hand():
    table = TABLES["cost"](ReportData(BOTH.rows, price_per_hour=1700), False)
    first = table.cells.iloc[0]
    # Eight images took 0.1 s each, and seven of them 10,100 draws.
    assert first[["images", "draws", "draws/image", "s/image", "hours"]].tolist() == [
        "8", "70,700", "10,100", "0.115", "0.01",
    ]  # fmt: skip
    assert first["price"] == "0.38"  # 0.8 s of 1700 / 3600: 0.3777...
    assert first["price/1000"] == "53.97"  # 1000 / 7 of that: 53.968...
    assert "Price: 1700 per hour of one replica." in table.note
    assert "price" not in TABLES["cost"](BOTH, False).cells


def test_wrong_certificates_by_hand():
    # 500 images at 0.01: 5 are wrong on average; Poisson(5) nearly, P(<= 12) = 0.998, P(<= 13) = 0.9993.
    run = rows_of_counts(np.full(500, 900), 1000, 0.01, dataset="digits", split="test", index_set="all 500 images",
                         classifier="c", denoiser="none", objective="none", n0=100, error=None)  # fmt: skip
    table = TABLES["wrong-certificates"](ReportData(run, [0]), False)
    assert table.cells.iloc[0, -5:].tolist() == ["500", "500", "5.00", "13", "0.6"]  # 0.99^500 = 0.00657
    assert table.values["any_wrong"].tolist() == pytest.approx([1 - 0.99**500])
    # Of eight images five are certificates, one of them wrong; 0.999^8 = 0.99203.
    cells = TABLES["wrong-certificates"](
        ReportData(pd.concat([PLAIN_RUN, run_of("e" * 16, PLAIN, alpha=None)])), False
    ).cells
    assert cells.iloc[:, -5:].to_numpy().tolist() == [["8", "5", "0.01", "1", "99.2"], ["8", "5", "-", "-", "-"]]
    # No more than there are, and never sure: (1 - 1e-30)^8.
    few = TABLES["wrong-certificates"](
        ReportData(run_of("f" * 16, PLAIN[:1] + [(-1, 0.0)] * 7, alpha=0.5)), False
    ).cells
    assert few["wrong at most"].tolist() == ["1"]
    assert TABLES["wrong-certificates"](ReportData(run_of("f" * 16, PLAIN, alpha=1e-30)), False).cells[
        "all right"
    ].tolist() == ["99.9"]
    with pytest.raises(RaysmoothError, match="no run records its alpha"):
        TABLES["wrong-certificates"](ReportData(run_of("f" * 16, PLAIN, alpha=None)), False)


def test_a_price_below_nothing_is_refused():
    for price in (-1, float("inf"), float("nan")):
        with pytest.raises(
            RaysmoothError, match=f"--price-per-hour {price:g}: write the price of one replica for an hour"
        ):
            ReportData(BOTH.rows, price_per_hour=price)


def test_norms_are_not_mixed():
    with pytest.raises(RaysmoothError, match="different norms"):
        ReportData(pd.concat([PLAIN_RUN, BETTER_RUN.assign(norm="linf")]))


def test_a_comparison_by_hand():
    table = comparison_table(BOTH, A[:4], B, 0.3)
    # At 0.3 PLAIN counts images 0 and 2, BETTER 0, 1, 2, 4 and 7.
    assert table.cells.to_numpy().tolist() == [["A certified", "2", "0"], ["A not certified", "3", "3"]]
    assert table.values["image_id"].tolist() == [50, 200, 350]
    assert set(table.values["certified_by"]) == {"b"}
    assert "of the 8 images" not in table.note
    assert "of the 8 that both runs have. Only A certifies 0, only B 3" in table.note
    assert "would have probability 0.2500 (McNemar's exact test)" in table.note  # 2 / 2^3
    assert "-37.5 percentage points" in table.note
    tiny = PLAIN_RUN.iloc[:1].assign(images=2000)
    many = pd.concat([tiny] * 2000).assign(image_id=range(2000), correct=[i > 0 for i in range(2000)])
    ahead = comparison_table(ReportData(pd.concat([many.assign(run_id=B, correct=True), many])), B, A, 0.3)
    assert "A's share minus B's: +0.0 percentage points" in ahead.note  # 1 of 2,000 is 0.05
    assert f"A: no denoiser, sigma 0.25 ({A[:8]}). B: STAB+MSE denoiser, sigma 0.5 ({B[:8]})." in table.note


def test_intervals_and_what_they_are_of_are_in_the_csv():
    back = pd.read_csv(io.StringIO(csv(TABLES["runs"](BOTH, True))), dtype={"run_id": str})
    for certified, radius in ((4, "0"), (3, "0.25"), (2, "0.5")):
        ends = back.loc[back["run_id"] == A, [f"r={radius} low", f"r={radius} high"]].to_numpy(float)[0]
        np.testing.assert_allclose(ends, interval(certified, 8), atol=1e-12)


def test_top_k_accuracy_counts_the_labels_own_radius_and_fails_errors():
    """Six of eight labels stay among the five at 0, four of them within 0.25, three within 0.5."""
    table = TABLES["top-k"](TOP_K, True)
    line = table.values.iloc[0]
    assert (line["top_k"], line["rows"]) == (5, 8)
    assert [line[column] for column in ("r=0", "r=0.25", "r=0.5")] == [0.75, 0.5, 0.375]
    assert table.cells["k"].tolist() == ["5"]
    assert table.cells["r=0.25"].tolist() == ["50.0"]
    low, high = interval(4, 8)
    assert (line["r=0.25 low"], line["r=0.25 high"]) == (pytest.approx(low), pytest.approx(high))
    assert "stays among the k most likely classes" in table.caption
    assert "no alpha" in table.caption
    with pytest.raises(RaysmoothError, match="no run has top-k certificates: write 'raysmooth recertify RESULTS"):
        TABLES["top-k"](BOTH, False)


def test_without_labels_top_k_is_of_the_selected_class():
    unlabelled = run_of(A, PLAIN, label=None).assign(top_k=5, label_radius_top_k=None, radius_top_k=0.3)
    unlabelled.loc[0, "radius_top_k"] = None
    table = TABLES["top-k"](ReportData(unlabelled, [0, 0.5]), False)
    assert table.values["r=0"].tolist() == [7 / 8]
    assert "whose selected class does, unchecked" in table.caption
