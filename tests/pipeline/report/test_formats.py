import re
from io import StringIO

import pandas as pd
from rich.console import Console

from raysmooth.pipeline.report.tables.formats import FORMATS, PrintedTable, csv, latex, markdown, text

CELLS = pd.DataFrame({"name": ["a_b & c", "d|e"], "r=0.5": ["1.0", "-"], "r=0.5 95 %": ["0.1 to 2.0", "-"]})
VALUES = pd.DataFrame({"name": ["a_b & c", "d|e"], "r=0.5": [0.0101, None]})
TABLE = PrintedTable(
    "some", "Some", "100 % of it", "Read so.", CELLS, VALUES, frozenset({"name"}), intervals_note="Surely."
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
    assert r"\caption{100 \% of it. Read so. Surely.}" in lines
    assert latex(TABLE).count("{") - latex(TABLE).count("}") == 0
    assert not re.search(r"(?<!\\)[%_#$]", latex(TABLE))


HOSTILE = r"a_b & c%d #1 {x} $y$ ~ ^2 \cmd"
MARKED = PrintedTable(
    "some",
    "Some",
    r"50 % of f_1, \cmd{x}~y",
    "Read so.",
    pd.DataFrame({"name": [HOSTILE, "plain"], "r=0.5": ["62.5", "50.0"], "r_0 %": ["-", "1.0 to 2.0"]}, ["run a", "b"]),
    VALUES,
    frozenset({"name"}),
    pd.DataFrame({"r=0.5": [True, False], "r_0 %": [False, True]}, ["run a", "b"]),
)


def test_latex_by_hand():
    assert (
        latex(MARKED)
        == r"""\begin{table}[t]
\caption{50 \% of f\_1, \textbackslash cmd\{x\}\textasciitilde y. Read so.}
\begin{tabular}{lrr}
\toprule
name & r=0.5 & r\_0 \% \\
\midrule
a\_b \& c\%d \#1 \{x\} \$y\$ \textasciitilde \space \textasciicircum 2 \textbackslash cmd & \textbf{62.5} & - \\
plain & 50.0 & \textbf{1.0 to 2.0} \\
\bottomrule
\end{tabular}
\end{table}
"""
    )


def test_latex_leaves_out_no_line_of_a_large_table():
    cells = pd.DataFrame({"name": [str(number) for number in range(40)]})
    with pd.option_context("styler.render.max_elements", 10):
        table = latex(PrintedTable("large", "Large", "About", "Note.", cells, cells))
    assert [line.removesuffix(r" \\") for line in table.splitlines()[6:46]] == list(cells["name"])


def test_markdown_marks_the_best_cells():
    *_, first, second = markdown(MARKED).splitlines()
    assert first.endswith("| **62.5** |              - |")
    assert second.endswith("|     50.0 | **1.0 to 2.0** |")


def test_markdown_has_the_caption_and_the_cells():
    lines = markdown(TABLE).splitlines()
    assert lines[0] == "100 % of it. Read so. Surely."
    assert re.fullmatch(r"\|:-+\|-+:\|-+:\|", lines[3])
    assert lines[5].startswith(r"| d\|e")


def test_csv_has_the_values():
    assert csv(TABLE) == "name,r=0.5\na_b & c,0.0101\nd|e,\n"


def test_files_are_written_with_and_without_intervals():
    written = {shown.ending: shown.intervals for shown in FORMATS.values()}
    assert written == {None: False, "md": True, "tex": False, "csv": True}


def test_a_long_radius_is_cut_in_the_terminal_and_whole_in_files() -> None:
    cells = pd.DataFrame([["1", "2", "3"]], columns=["r=0", "r=0.25098039215686274", "ACR"])
    table = PrintedTable("t", "", "", "", cells, cells)
    console = Console(width=80, record=True, file=StringIO())
    text(table, console)
    assert ["r=0", "0.2509803", "ACR"] in [line.split() for line in console.export_text().splitlines()]
    assert "0.25098039215686274" in markdown(table)
