import re

import pandas as pd

from raysmooth.pipeline.report.tables.formats import FORMATS, PrintedTable, csv, latex, markdown

CELLS = pd.DataFrame({"name": ["a_b & c", "d|e"], "r=0.5": ["1.0", "-"], "r=0.5 95 %": ["0.1 to 2.0", "-"]})
VALUES = pd.DataFrame({"name": ["a_b & c", "d|e"], "r=0.5": [0.0101, None]})
TABLE = PrintedTable("some", "Some", "100 % of it", "Read so.", CELLS, VALUES, frozenset({"name"}), sure="Surely.")


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
