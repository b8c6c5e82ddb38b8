import io
import re

import numpy as np
import pandas as pd
import pytest
from certificate_rows import BETTER, DENOISED, PLAIN, A, B, run_of
from rich.console import Console

from actors.refusal import Refusal
from pipeline.metrics import certified_accuracy, certified_share
from pipeline.report import summarize
from pipeline.tables import FORMATS, csv, latex, markdown


@pytest.fixture
def rows():
    """Two runs: one finished, one of which 6 of 8 images are."""
    return pd.concat([run_of(A, PLAIN), run_of(B, BETTER[:6], **DENOISED)])


def printed(summary, width, **console):
    file = io.StringIO()
    FORMATS["text"](summary, Console(file=file, width=width, **console))
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


HEADING = ["denoiser", "objective", "sigma", "finished", "r=0", "r=0.25", "r=0.5", "ACR", "abstain", "errors"]
BODY = [
    ["none", "none", "0.25", "all", "50.0", "37.5", "25.0", "0.206", "25.0", "1"],
    # ACR 0.425 is 0.42499...
    ["dncnn", "stab+mse", "0.25", "6 of 8", "83.3", "66.6", "50.0", "0.424", "16.7", "0"],
]


def test_the_markdown_table_says_the_same(rows):
    lines = markdown(summarize(rows, [0, 0.25, 0.5])).splitlines()
    assert lines[0].startswith("digits, test split, every 50th of 400 (8 images), classifier digits_cnn")
    heading, _, *body = cells_of(lines[2:], "|")
    assert heading == HEADING
    assert body == BODY


def test_the_latex_table_says_the_same_and_is_escaped(rows):
    lines = latex(summarize(rows, [0, 0.25, 0.5])).splitlines()
    assert r"\toprule" in lines
    (caption,) = [line for line in lines if line.startswith(r"\caption")]
    assert r"classifier digits\_cnn" in caption
    heading, *body = cells_of([line.removesuffix(r"\\") for line in lines if line.endswith(r"\\")], "&")
    assert heading == HEADING
    assert body == BODY


def test_latex_escapes_what_a_user_may_call_things():
    runs = [run_of(A, classifier="a_b&c%d"), run_of(B, classifier="plain")]
    table = latex(summarize(pd.concat(runs).assign(dataset=r"50%_{x}#$~^\y")))
    assert r"a\_b\&c\%d" in table
    caption = table[table.index(r"\caption") :].splitlines()[0]
    assert r"50\%\_\{x\}\#\$\textasciitilde{}\textasciicircum{}\textbackslash{}y" in caption


def test_markdown_escapes_the_bar():
    table = markdown(summarize(pd.concat([run_of(A, classifier="a|b"), run_of(B, classifier="plain")])))
    assert len({re.sub(r"\\\|", "", line).count("|") for line in table.splitlines()[2:]}) == 1


@pytest.mark.parametrize("width", [110, 80])
def test_the_terminal_table_fits_and_loses_nothing(rows, width):
    lines = printed(summarize(rows, [0, 0.25, 0.5]), width).splitlines()
    assert max(map(len, lines)) <= width
    rule = next(i for i, line in enumerate(lines) if line.startswith("──"))
    assert lines[rule - 1].split() == [*HEADING[:5], "0.25", "0.5", *HEADING[7:]]
    assert [re.split(r"(?<!of) +(?!of)", line.strip()) for line in lines[rule + 1 :]] == BODY


def test_too_narrow_a_terminal_cuts_no_number(rows):
    summary = summarize(rows, [0, 0.25, 0.5])
    assert " ".join(BODY[1]) in re.sub(" +", " ", printed(summary, 40))


@pytest.mark.parametrize("width", range(40, 121, 10))
def test_no_line_in_a_terminal_ends_in_blanks(rows, width):
    lines = printed(summarize(rows), width).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert " ".join(lines[: lines.index("")]) == markdown(summarize(rows)).splitlines()[0]


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
    assert "Columns r: certified (class unchecked) at that radius" in table
    assert "accuracy" not in table
    (cells,) = cells_of(table.splitlines()[4:], "|")
    assert cells == ["dncnn", "unknown", "0.25", "62.5", "37.5", "-", "25.0", "1"]


def test_runs_that_no_column_tells_apart_show_their_id():
    table = markdown(summarize(pd.concat([run_of(A), run_of(B)])))
    assert [row[0] for row in cells_of(table.splitlines()[4:], "|")] == [A[:8], B[:8]]


@pytest.mark.parametrize("name", ["markdown", "latex", "csv"])
def test_other_formats_are_printed_as_they_are(rows, name):
    summary = summarize(rows)
    file = io.StringIO()
    FORMATS[name](summary, Console(file=file, width=30))
    assert file.getvalue() == {"markdown": markdown, "latex": latex, "csv": csv}[name](summary)


def test_an_unknown_format_is_refused():
    with pytest.raises(Refusal, match="unknown report format 'markdwn': did you mean 'markdown'"):
        FORMATS["markdwn"]
