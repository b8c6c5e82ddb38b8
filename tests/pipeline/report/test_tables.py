import io
import re

import numpy as np
import pandas as pd
import pytest
from certificate_rows import ADAPTIVE, BETTER, DECIDE, DECIDED, DENOISED, PLAIN, A, B, run_of, sampled_run
from rich.console import Console

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import certified_accuracy, certified_share
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.summary import summarize
from raysmooth.pipeline.report.tables.formats import FORMATS
from raysmooth.pipeline.report.tables.runs import best_of, csv, latex, markdown, run_cells, runs_table


@pytest.fixture
def rows():
    """Two runs: one finished, one of which 6 of 8 images are."""
    return pd.concat([run_of(A, PLAIN), run_of(B, BETTER[:6], **DENOISED)])


def printed(summary, width, **console):
    file = io.StringIO()
    FORMATS["text"].show(runs_table(summary), Console(file=file, width=width, **console))
    return file.getvalue()


def cells_of(table, separator):
    return [[cell.strip() for cell in line.strip().strip(separator).split(separator)] for line in table]


def test_the_csv_has_everything_in_full_precision(rows):
    summary = summarize(rows)
    back = pd.read_csv(io.StringIO(csv(summary)), dtype={"run_id": str})
    pd.testing.assert_frame_equal(back, summary, check_dtype=False)
    for run in (A, B):
        expected = certified_accuracy(rows[rows["run_id"] == run], [0, 0.25, 0.5, 0.75])
        shares = back.set_index("run_id").loc[run, ["r=0", "r=0.25", "r=0.5", "r=0.75"]]
        np.testing.assert_array_equal(shares.to_numpy(float), expected)


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)"])
def test_a_spreadsheet_sees_no_formulas_in_the_csv(rows, text):
    summary = summarize(rows.assign(classifier=text))
    back = pd.read_csv(io.StringIO(csv(summary)), dtype={"run_id": str})
    assert set(back["classifier"]) == {f"'{text}"}


HEADING = ["denoiser", "objective", "sigma", "finished", "r=0", "r=0.25", "r=0.5", "ACR", "abstain", "errors"]
BODY = [
    ["none", "none", "0.25", "all", "50.0", "37.5", "25.0", "0.206", "25.0", "1"],
    # ACR 0.425 is 0.42499...
    ["dncnn", "stab+mse", "0.25", "6 of 8", "83.3", "66.6", "50.0", "0.424", "16.7", "0"],
]


def test_the_markdown_table_says_the_same(rows):
    lines = markdown(summarize(rows, [0, 0.25, 0.5])).splitlines()
    of = "digits, test split, every 50th of 400 (8 images), classifier digits_cnn"
    assert lines[0].startswith(f"Certified accuracy at radius r, in percent: {of}")
    assert lines[-1].startswith("Each certificate holds with probability at least 0.999, ")
    heading, _, *body = cells_of(lines[2:-2], "|")
    assert heading == HEADING
    assert body == BODY


def test_the_latex_table_says_the_same_and_is_escaped(rows):
    lines = latex(summarize(rows, [0, 0.25, 0.5])).splitlines()
    assert r"\toprule" in lines
    (caption,) = [line for line in lines if line.startswith(r"\caption")]
    assert r"classifier digits\_cnn" in caption
    heading, *body = cells_of([line.removesuffix(r"\\") for line in lines if line.endswith(r"\\")], "&")
    assert [cell.replace("$", "").replace("\\sigma", "sigma") for cell in heading] == HEADING
    assert body == BODY


def test_latex_escapes_what_a_user_may_call_things():
    runs = [run_of(A, classifier="a_b&c%d"), run_of(B, classifier="plain")]
    table = latex(summarize(pd.concat(runs).assign(dataset=r"50%_{x}#$~^\y")))
    assert r"a\_b\&c\%d" in table
    caption = table[table.index(r"\caption") :].splitlines()[0]
    assert r"50\%\_\{x\}\#\$\textasciitilde \textasciicircum \textbackslash y" in caption


def test_markdown_escapes_the_bar():
    table = markdown(summarize(pd.concat([run_of(A, classifier="a|b"), run_of(B, classifier="plain")])))
    assert len({re.sub(r"\\\|", "", line).count("|") for line in table.splitlines()[2:-2]}) == 1


@pytest.mark.parametrize("width", [110, 80])
def test_the_terminal_table_fits_and_loses_nothing(rows, width):
    everything = printed(summarize(rows, [0, 0.25, 0.5]), width).splitlines()
    assert max(map(len, everything)) <= width
    lines = everything[: everything.index("")]
    rule = next(i for i, line in enumerate(lines) if line.startswith("──"))
    assert lines[rule - 1].split() == [*HEADING[:5], "0.25", "0.5", *HEADING[7:]]
    assert [re.split(r"(?<!of) +(?!of)", line.strip()) for line in lines[rule + 1 :]] == BODY


def test_too_narrow_a_terminal_cuts_no_number(rows):
    summary = summarize(rows, [0, 0.25, 0.5])
    assert " ".join(BODY[1][2:]) in re.sub(" +", " ", printed(summary, 40))


@pytest.mark.parametrize("width", range(40, 121, 10))
def test_no_line_in_a_terminal_ends_in_blanks(rows, width):
    lines = printed(summarize(rows), width).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    written = markdown(summarize(rows)).splitlines()
    assert " ".join(lines[lines.index("") + 1 :]) == f"{written[0]} {written[-1]}"


def test_the_terminal_marks_the_best_of_the_finished_runs():
    ahead_but_unfinished = run_of("c" * 16, [(1, 0.9)], **{**DENOISED, "objective": "clf"})
    runs = [run_of(A, PLAIN), run_of(B, BETTER, **DENOISED), ahead_but_unfinished]
    summary = summarize(pd.concat(runs), [0, 0.8, 2])
    marked = re.findall(r"\x1b\[1m *([\d.]+)", printed(summary, 110, force_terminal=True).split("──")[-1])
    assert marked == ["12.5", "87.5", "12.5"]  # at 0.8 both runs, at 2 none


def test_an_unlabelled_run_shows_shares_under_another_name():
    rows = run_of(A, label=None, objective=None, denoiser="dncnn")
    summary = summarize(rows, [0, 0.5])
    assert summary.loc[0, ["r=0", "r=0.5"]].tolist() == certified_share(rows, [0, 0.5]).tolist() == [5 / 8, 3 / 8]
    table = markdown(summary)
    assert "Certified (class unchecked) at radius r, in percent: " in table
    assert "accuracy" not in table
    (cells,) = cells_of(table.splitlines()[4:-2], "|")
    assert cells == ["dncnn", "unknown", "0.25", "62.5", "37.5", "-", "25.0", "1"]


def test_runs_equal_in_every_column_show_their_id():
    table = markdown(summarize(pd.concat([run_of(A), run_of(B)])))
    assert [row[0] for row in cells_of(table.splitlines()[4:-2], "|")] == [A[:8], B[:8]]


@pytest.mark.parametrize("name", ["markdown", "latex", "csv"])
def test_other_formats_are_printed_as_they_are(rows, name):
    summary = summarize(rows)
    file = io.StringIO()
    FORMATS[name].show(runs_table(summary), Console(file=file, width=30))
    assert file.getvalue() == {"markdown": markdown, "latex": latex, "csv": csv}[name](summary)


def test_an_unknown_format_is_refused():
    with pytest.raises(RaysmoothError, match="unknown report format 'markdwn': did you mean 'markdown'"):
        FORMATS["markdwn"]


MIXED = [run_of("f" * 16), sampled_run(A, ADAPTIVE), sampled_run(B, DECIDE, DECIDED, undecided=1)]


def test_runs_sampled_otherwise_by_hand():
    lines = markdown(summarize(pd.concat(MIXED), [0, 0.3, 0.5])).splitlines()
    heading, _, *body = cells_of(lines[2:-2], "|")
    settings = ["denoiser", "objective", "sigma"]
    assert heading == ["sampling", *settings, "r=0", "r=0.3", "r=0.5", "ACR", "abstain", "undecided", "draws", "errors"]
    same = ["none", "none", "0.25"]
    assert body == [
        ["fixed", *same, "**50.0**", "25.0", "**25.0**", "0.206", "25.0", "-", "10,100", "1"],
        ["adaptive 2%", *same, "**50.0**", "25.0", "**25.0**", "0.206", "25.0", "-", "901", "1"],
        # Beyond 0.3 nothing is known: no 0, and no ACR; what is not certified at 0.3 is no abstention.
        ["decide r=0.3", *same, "37.5", "**37.5**", "-", "-", "-", "12.5", "901", "1"],
    ]
    assert "at larger radii, and for ACR and abstentions, nothing is known (-)" in lines[-1]
    assert "Percentages and ACR are rounded down, abstentions, undecided images and draws up." in lines[-1]


def test_decisions_alone_have_no_column_for_what_they_do_not_know():
    lines = markdown(summarize(MIXED[2])).splitlines()
    assert "(decided at r = 0.3, mean 901 draws per image)" in lines[0]
    assert "Percentages are rounded down, undecided images and draws up." in lines[-1]
    heading, _, cells = cells_of(lines[2:-2], "|")
    assert heading == ["denoiser", "objective", "sigma", "r=0.3", "undecided", "draws", "errors"]
    assert cells == ["none", "none", "0.25", "37.5", "12.5", "901", "1"]


def test_shares_of_undecided_images_are_rounded_up_and_draws_too():
    rows = sampled_run(A, DECIDE, DECIDED[:3] + DECIDED[4:7], draws=[100, 100, 100, 100, 100, 101], undecided=1)
    (cells,) = cells_of(markdown(summarize(rows)).splitlines()[4:-2], "|")
    assert cells[-4:] == ["6 of 8", "50.0", "16.7", "101"]  # 1/6, and 100.17


def test_n_is_a_most_where_not_all_of_it_was_drawn():
    table = markdown(summarize(pd.concat([run_of(A), sampled_run(B, ADAPTIVE, n=2000)])))
    assert [row[:2] for row in cells_of(table.splitlines()[4:-2], "|")] == [
        ["fixed", "10000"],
        ["adaptive 2%", "up to 2000"],
    ]


def test_fixed_runs_alone_show_nothing_of_sampling(rows):
    for table in (markdown(summarize(rows)), markdown(summarize(rows.assign(sampling="fixed", draws=10_100)))):
        assert "sampling" not in table
        assert "draws" not in table
        assert "undecided" not in table


def test_a_decision_competes_at_its_own_radius_alone():
    summary = summarize(pd.concat([MIXED[0], MIXED[2]]), [0, 0.1, 0.3, 0.5])
    text = printed(summary, 110, force_terminal=True).split("──")[-1]
    assert re.findall(r"\x1b\[1m *([\d.]+)", text) == ["37.5"]


def test_csv_leaves_out_what_is_unknown():
    back = pd.read_csv(io.StringIO(csv(summarize(pd.concat(MIXED), [0.3, 0.5])))).set_index("sampling")
    assert back.loc[DECIDE, ["r=0.5", "ACR", "abstain"]].isna().all()
    assert back.loc[DECIDE, ["r=0.3", "undecided"]].tolist() == [3 / 8, 1 / 8]
    assert back.loc[ADAPTIVE, "draws"] == 6301 / 7
    assert back["undecided"].isna().tolist() == [True, True, False]


def test_a_terminal_of_100_columns_suffices_for_default_radii():
    far = [(1, 0.1 * i) for i in range(40)]
    runs = [run_of("f" * 16, far), sampled_run(A, ADAPTIVE, far, draws=[109_876] * 40)]
    runs = [run.assign(n=100_000, images=40, objective="gaussian") for run in runs]
    decided = sampled_run(B, DECIDE, DECIDED[:7], n=100_000, objective="gaussian", images=7)
    lines = printed(summarize(pd.concat([*runs, decided])), 100).splitlines()
    assert max(map(len, lines)) <= 100


def test_a_table_distinguishes_norms_bounds_and_levels_of_uniform_noise():
    uniform = {"noise": "uniform", "norm": "l1", "sigma": 0.5 / np.sqrt(3)}
    rows = pd.concat(
        [
            run_of("a" * 16, PLAIN),
            run_of("b" * 16, PLAIN, norm="linf"),
            run_of("c" * 16, PLAIN, **uniform),
            run_of("d" * 16, PLAIN).assign(p_upper=[0.1, 0.2, 0.1, 0.3, 0.1, 0.6, 0.6, None]),
        ]
    )
    with pytest.raises(RaysmoothError, match=r"different norms \(l1, l2, linf\)"):
        markdown(summarize(rows, [0]))
    found = run_cells(describe_runs(rows))[["noise", "norm", "bound", "sigma"]]
    assert set(found.itertuples(index=False, name=None)) == {
        ("gaussian", "l2", "1 - pA", "0.25"),
        ("gaussian", "linf", "1 - pA", "0.25"),
        ("uniform", "l1", "1 - pA", "0.288675"),
        ("gaussian", "l2", "runner-up", "0.25"),
    }
    assert "run" not in run_cells(describe_runs(rows))
    alone = markdown(summarize(rows[rows["run_id"] == "d" * 16], [0]))
    assert "gaussian noise, l2 norm, runner-up bound, n0=100" in alone
    assert "bound" not in markdown(summarize(rows[rows["run_id"] == "a" * 16], [0]))


def test_the_best_is_that_of_runs_that_promise_the_same():
    same = pd.concat([run_of("a" * 16, PLAIN), run_of("b" * 16, BETTER, **DENOISED)])
    assert best_of(summarize(same, [0]))["r=0"].tolist() == [False, True]
    for facts in ({"alpha": 0.1}, {"n": 1000}):
        other = pd.concat([run_of("a" * 16, PLAIN), run_of("b" * 16, BETTER, **DENOISED, **facts)])
        assert not best_of(summarize(other, [0]))["r=0"].any()
    runner_up = pd.concat([run_of("a" * 16, PLAIN), run_of("b" * 16, BETTER, **DENOISED).assign(p_upper=0.1)])
    assert not best_of(summarize(runner_up, [0]))["r=0"].any()
