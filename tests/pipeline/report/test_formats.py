import re
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from raysmooth.pipeline.report.captions import Caption
from raysmooth.pipeline.report.latex import latex_figure
from raysmooth.pipeline.report.tables.formats import FORMATS, PrintedTable, csv, latex, markdown, text

ABOUT = Caption("About", "")
CELLS = pd.DataFrame({"name": ["a_b & c", "d|e"], "r=0.5": ["1.0", "-"], "r=0.5 95 %": ["0.1 to 2.0", "-"]})
VALUES = pd.DataFrame({"name": ["a_b & c", "d|e"], "r=0.5": [0.0101, None]})
TABLE = PrintedTable(
    "some",
    "Some",
    Caption("100 % of it", "it holds"),
    "Read so.",
    CELLS,
    VALUES,
    frozenset({"name"}),
    intervals_note="Surely.",
)


def test_latex_is_one_whole_table_environment():
    lines = latex(TABLE).splitlines()
    opened = re.findall(r"\\begin\{(\w+)\}", latex(TABLE))
    assert opened == list(reversed(re.findall(r"\\end\{(\w+)\}", latex(TABLE)))) == ["table", "tabular"]
    assert r"\begin{tabular}{lrr}" in lines
    rules = [lines.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
    assert rules == sorted(rules)
    body = [line for line in lines if line.endswith(r" \\")]
    assert len(body) == 3
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {2}
    assert body[1] == r"a\_b \& c & 1.0 & 0.1 to 2.0 \\"
    assert r"\caption{100 \% of it.}" in lines
    assert r"\parbox{\linewidth}{\footnotesize It holds. Read so. Surely.}" in lines[lines.index(r"\end{tabular}") :]
    assert r"\label{tab:some}" in lines
    assert r"\centering" in lines
    assert latex(TABLE).count("{") - latex(TABLE).count("}") == 0
    assert not re.search(r"(?<!\\)[%_#]", latex(TABLE))


HOSTILE = r"a_b & c%d #1 {x} $y$ ~ ^2 \cmd"
MARKED = PrintedTable(
    "some",
    "Some",
    Caption(r"50 % of f_1, \cmd{x}~y", ""),
    "Read so.",
    pd.DataFrame({"name": [HOSTILE, "plain"], "r=0.5": ["62.5", "50.0"], "r_0 %": ["-", "1.0 to 2.0"]}, ["run a", "b"]),
    VALUES,
    frozenset({"name"}),
    pd.DataFrame({"r=0.5": [True, False], "r_0 %": [False, True]}, ["run a", "b"]),
)


def test_latex_by_hand():
    assert (
        latex(MARKED)
        == r"""\begin{table*}[t]
\centering
\caption{50 \% of f\_1, \textbackslash cmd\{x\}\textasciitilde y.}
\label{tab:some}
\begin{tabular}{lrr}
\toprule
name & $r=0.5$ & r\_0 \% \\
\midrule
a\_b \& c\%d \#1 \{x\} \$y\$ \textasciitilde \space \textasciicircum 2 \textbackslash cmd & \textbf{62.5} & - \\
plain & 50.0 & \textbf{1.0 to 2.0} \\
\bottomrule
\end{tabular}

\smallskip
\parbox{\linewidth}{\footnotesize Read so.}
\end{table*}
"""
    )


def test_latex_has_symbols_for_norms_sigma_and_radii_and_a_label_of_ones_own():
    cells = pd.DataFrame({"sigma": ["0.5"], "r=0.25": ["1.0"], "r=0.25 95 %": ["-"], "r=x": ["l2 radius"]})
    table = PrintedTable(
        "table", "Noise levels", Caption("net_l2, l2 norm, l2", ""), "At that linf radius.", cells, cells
    )
    lines = latex(table).splitlines()
    assert r"\caption{net\_l2, $\ell_2$ norm, l2.}" in lines
    assert r"\parbox{\linewidth}{\footnotesize At that $\ell_\infty$ radius.}" in lines
    assert r"\label{tab:noise-levels}" in lines
    assert r"$\sigma$ & $r=0.25$ & $r=0.25$ 95 \% & r=x \\" in lines
    assert r"0.5 & 1.0 & - & l2 radius \\" in lines  # a cell is a user's word
    assert r"\label{tab:salman2020-table8}" in latex(table, "Salman2020: table8 \\x").replace("-x", "")


def test_a_figure_in_latex_is_centred_with_caption_and_label():
    assert latex_figure("curves.pdf", "50 % of f_1, l2 radius", "curves") == (
        "\\begin{figure}[t]\n\\centering\n\\includegraphics{curves.pdf}\n"
        "\\caption{50 \\% of f\\_1, $\\ell_2$ radius}\n\\label{fig:curves}\n\\end{figure}\n"
    )
    assert latex_figure("a.pdf", "b", "c", spans_page=True).count("{figure*}") == 2


def test_a_wide_table_spans_both_columns():
    cells = pd.DataFrame([["63.5"] * 8], columns=[f"r=0.{number}" for number in range(8)])
    for table, name in ((cells, "table*"), (cells.iloc[:, :6], "table")):
        lines = latex(PrintedTable("t", "T", ABOUT, "Note.", table, table)).splitlines()
        assert (lines[0], lines[-1]) == (f"\\begin{{{name}}}[t]", f"\\end{{{name}}}")


def test_latex_leaves_out_no_line_of_a_large_table():
    cells = pd.DataFrame({"name": [str(number) for number in range(40)]})
    with pd.option_context("styler.render.max_elements", 10):
        table = latex(PrintedTable("large", "Large", ABOUT, "Note.", cells, cells))
    assert [line.removesuffix(r" \\") for line in table.splitlines()[8:48]] == list(cells["name"])


def test_markdown_marks_the_best_cells():
    *_, first, second, _, _ = markdown(MARKED).splitlines()
    assert first.endswith("| **62.5** |              - |")
    assert second.endswith("|     50.0 | **1.0 to 2.0** |")


def test_markdown_has_the_caption_and_the_cells():
    lines = markdown(TABLE).splitlines()
    assert (lines[0], lines[-1]) == ("100 % of it.", "It holds. Read so. Surely.")
    assert re.fullmatch(r"\|:-+\|-+:\|-+:\|", lines[3])
    assert lines[5].startswith(r"| d\|e")


def test_csv_has_the_values():
    assert csv(TABLE) == "name,r=0.5\na_b & c,0.0101\nd|e,\n"


def test_files_are_written_with_and_without_intervals():
    written = {shown.ending: shown.intervals for shown in FORMATS.values()}
    assert written == {None: False, "md": True, "tex": False, "csv": True}


def test_a_long_radius_is_cut_in_the_terminal_and_whole_in_files() -> None:
    cells = pd.DataFrame([["1", "2", "3"]], columns=["r=0", "r=0.25098039215686274", "ACR"])
    table = PrintedTable("t", "", ABOUT, "", cells, cells)
    console = Console(width=80, record=True, file=StringIO())
    text(table, console)
    assert ["r=0", "0.2509803", "ACR"] in [line.split() for line in console.export_text().splitlines()]
    assert "0.25098039215686274" in markdown(table)


def test_text_wraps_where_a_terminal_is_too_narrow_and_numbers_do_not() -> None:
    cells = pd.DataFrame({"index_set": ["every image of 400, 0 to 19 (20 images)"], "r=0": ["60.0"], "ACR": ["0.157"]})
    table = PrintedTable("table", "Runs", ABOUT, "Note.", cells, cells, frozenset({"index_set"}))

    def lines(width: int) -> list[str]:
        console = Console(width=width, record=True, file=StringIO())
        text(table, console)
        printed = console.export_text()
        table_lines, _, _ = printed.partition("\n\n")
        return [line.rstrip() for line in table_lines.splitlines()]

    assert lines(80)[2] == "every image of 400, 0 to 19 (20 images)  60.0  0.157"
    narrow = lines(32)
    assert max(map(len, narrow)) <= 32
    assert narrow[2].endswith(" 60.0 0.157")
    assert " ".join(line[:21].strip() for line in narrow[2:]) == "every image of 400, 0 to 19 (20 images)"


@pytest.mark.parametrize("width", [80, 60])
def test_no_number_is_cut_where_intervals_need_more_than_the_terminal(width: int) -> None:
    names = [name for radius in ("0", "0.25", "0.5", "0.75") for name in (f"r={radius}", f"r={radius} 95 %")]
    cells = pd.DataFrame([["a long name", *["61.25", "60.0 to 62.5"] * 4, "12"]], columns=["name", *names, "errors"])
    console = Console(width=width, file=(printed := StringIO()))
    text(PrintedTable("t", "", ABOUT, "", cells, cells, frozenset({"name"})), console)
    heading, _, *rows = printed.getvalue().partition("\n\n")[0].splitlines()
    assert heading.split()[:4] == ["name", "r=0", "0", "95"]
    assert " ".join(rows[0].split()).endswith(" ".join(["61.25 60.0 to 62.5"] * 4 + ["12"]))
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed.getvalue()


def screen(table: PrintedTable, width: int) -> list[str]:
    console = Console(width=width, file=(printed := StringIO()))
    text(table, console)
    return printed.getvalue().splitlines()


def test_a_terminal_leaves_out_what_is_equal_in_every_line_then_describes_runs_in_one_column() -> None:
    """As of recertified runs: no line is wider than the terminal, and all that distinguishes runs is there."""
    shares = [f"r={radius}" for radius in ("0", "0.1", "0.2", "0.3", "0.4", "0.5")]
    cells = pd.DataFrame(
        [
            ["1000", "0.001", "own", "none", "gaussian", "0.25", *["55.0"] * 6, "0.169", "27.5"],
            ["500", "0.01", "recertified", "none", "gaussian", "0.25", *["50.0"] * 6, "0.177", "25.0"],
        ],
        columns=["n", "alpha", "source", "denoiser", "objective", "sigma", *shares, "ACR", "abstain"],
    )
    table = PrintedTable("t", "", ABOUT, "", cells, cells, frozenset({"source", "denoiser", "objective"}))
    lines = screen(table, 80)
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["n", "alpha", "source", "sigma", *shares[:1], *(s[2:] for s in shares[1:]), "ACR",
                                "abstain"]  # fmt: skip
    assert lines[3].split()[:4] == ["500", "0.01", "recertified", "0.25"]
    assert lines[-1] == "Every line: denoiser none, objective gaussian. About."
    narrow = screen(table, 66)
    assert max(map(len, narrow)) <= 66
    assert narrow[0].split()[:2] == ["run", "sigma"]
    described = " ".join(line.split("   ")[0] for line in narrow[2 : narrow.index("")])
    assert described.split(", ") == ["n=1000", "alpha=0.001", "own n=500", "alpha=0.01", "recertified"]
