"""A summary of runs as a table: for a terminal, a README, a paper, a program."""

from collections.abc import Callable
from math import ceil
from typing import Literal

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from actors.table import Table
from pipeline.metrics import FIXED, decided_at, floored, percent
from pipeline.wording import (
    caption,
    differing,
    is_imported,
    origins,
    short_denoisers,
    short_samplings,
    twins,
    varies,
)


def markdown(summary: pd.DataFrame) -> str:
    """A GitHub table of what `summarize` returned, below its caption; numbers rounded down."""
    printed = _printed(summary)
    table = printed.replace("[|]", r"\\|", regex=True).to_markdown(
        index=False, disable_numparse=True, colalign=[_side(column) for column in printed.columns.astype(str)]
    )
    return f"{_caption(summary)}\n\n{table}\n"


def latex(summary: pd.DataFrame) -> str:
    """The same for a paper, a `table` environment; needs the package booktabs."""
    printed = _printed(summary)
    return printed.to_latex(
        index=False,
        escape=True,
        caption=_caption(summary).translate(_LATEX),  # pandas escapes cells and headings, but no caption
        column_format="".join(_side(column)[0] for column in printed.columns.astype(str)),
        position="t",
    )


def csv(summary: pd.DataFrame) -> str:
    """All columns of `summarize`, in full precision, null as nothing. Read its run_id as text."""
    return summary.to_csv(index=False, lineterminator="\n")


def text(summary: pd.DataFrame, console: Console) -> None:
    """Print the same to a terminal; at each radius the best finished run on the same images is bold."""
    printed, best = _printed(summary), _best(summary)
    styles = pd.DataFrame("", printed.index, printed.columns)
    styles[best.columns] = best.replace({True: "bold", False: ""})
    columns = printed.columns.astype(str)
    repeated = columns.isin(best.columns[1:])  # "r=" stands above the first radius only
    for gap in (2, 1):
        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
        for column, bare in zip(columns, repeated, strict=True):
            heading = column.removeprefix("r=") if bare else column
            table.add_column(heading, justify=_side(column), no_wrap=True)
        for cells, look in zip(printed.to_numpy(), styles.to_numpy(), strict=True):
            table.add_row(*map(Text, cells, look))
        table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        if table.width <= console.width:
            break
    lines = Text(_caption(summary)).wrap(console, console.width)
    for line in lines:
        line.rstrip()  # rich leaves the blank at which it broke a line
    console.print(*lines, "", sep="\n")
    # A number that is cut off is a wrong number: in too narrow a terminal the lines run over instead.
    console.print(table, crop=False, no_wrap=True, overflow="ignore")


def _as_is(render: Callable[[pd.DataFrame], str]) -> Callable[[pd.DataFrame, Console], None]:
    return lambda summary, console: console.out(render(summary), highlight=False, end="")


FORMATS: Table[Callable[[pd.DataFrame, Console], None]] = Table(
    "report format", {"text": text, "markdown": _as_is(markdown), "latex": _as_is(latex), "csv": _as_is(csv)}
)
"""How a summary is printed to a console, by the name of the format."""

_NUMBERS = {"sigma", "n0", "n", "alpha", "finished", "ACR", "abstain", "undecided", "draws", "errors"}

_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def _side(column: str) -> Literal["left", "right"]:
    return "right" if column in _NUMBERS or column.startswith("r=") else "left"


def _printed(summary: pd.DataFrame) -> pd.DataFrame:
    """A table's cells as text: what the caption does not say already, numbers rounded down; "-" is unknown."""
    runs = summary.set_index("run_id")
    decides = _decided_at(summary).notna().to_numpy()
    columns = [column for column in differing(runs) if column != "sigma"]
    printed = runs[columns].astype(str).where(runs[columns].notna(), "-")
    if "sampling" in printed:
        printed["sampling"] = short_samplings(runs)
    if "n" in printed:
        printed["n"] = printed["n"].where(runs["sampling"] == FIXED, "up to " + printed["n"])
    if varies(origins(runs)):
        printed["source"] = origins(runs)
    if twins(runs).any():
        printed["run"] = runs.index.str[:8]
    for column, cells in (("denoiser", short_denoisers(runs)), ("objective", runs["objective"])):
        printed[column] = cells.astype(object).where(cells.notna(), "unknown")
    printed["sigma"] = runs["sigma"].astype(str)
    if len(set(runs["measure"])) > 1:
        printed["measure"] = runs["measure"]
    if (runs["rows"] < runs["images"]).any():
        done = runs["rows"].astype(str) + " of " + runs["images"].astype(str)
        printed["finished"] = done.where(runs["rows"] < runs["images"], "all")
    for column in _radii_of(runs):
        printed[column] = _percents(runs, column)
    if not decides.all():
        printed["ACR"] = ["-" if np.isnan(acr) else floored(acr, 3) for acr in runs["ACR"]]
        printed["abstain"] = _percents(runs, "abstain", up=True)
    if decides.any():
        printed["undecided"] = _percents(runs, "undecided", up=True)
    if (runs["sampling"] != FIXED).any():
        printed["draws"] = ["-" if np.isnan(draws) else f"{ceil(draws):,}" for draws in runs["draws"]]
    if runs["errors"].any():
        printed["errors"] = runs["errors"].astype(str)
    return printed.reset_index(drop=True)


def _percents(runs: pd.DataFrame, column: str, up: bool = False) -> list[str]:
    shares = zip(runs[column], runs["rows"], strict=True)
    return ["-" if np.isnan(share) else percent(share, of, up) for share, of in shares]


def _caption(summary: pd.DataFrame) -> str:
    measures = summary["measure"].unique()
    measure = measures[0] if len(measures) == 1 else "the measure"
    asked = _decided_at(summary).notna()
    up = [] if asked.all() else ["abstentions"]
    sentences = [
        f"{caption(summary.set_index('run_id'), without={'sigma'})}.",
        f"Columns r: {measure} at that radius, in percent.",
    ]
    if asked.any():
        up.append("undecided images")
        sentences.append(
            "A run that decides one radius tells what is certified at it: at smaller ones this is a lower bound; at "
            "larger ones, and of ACR and abstentions, nothing is known (-)."
        )
    if (summary["sampling"] != FIXED).any():
        up.append("draws")
        sentences.append("Draws: mean an image, selection included.")
    rounded_up = " and ".join(filter(None, [", ".join(up[:-1]), up[-1]]))
    sentences.append(f"Percentages{'' if asked.all() else ' and ACR'} are rounded down, {rounded_up} up.")
    if not (summary["errors"].any() or is_imported(summary).any()):  # a log does not tell
        sentences.append("No image failed.")
    return " ".join(sentences)


def _best(summary: pd.DataFrame) -> pd.DataFrame:
    """Which shares are the best of several at their radius; bool, a column a radius.

    An unfinished run is left out: its images so far may be the easy ones. A run that decides one radius competes at
    that one alone.
    """
    shares = summary[_radii_of(summary)].where(summary["rows"] >= summary["images"])
    asked = _decided_at(summary)
    for column in _radii_of(shares):
        shares[column] = shares[column].where(asked.isna() | (asked == float(column.removeprefix("r="))))
    same_images = ["dataset", "split", "index_set", "norm", "measure"]
    rivals = shares.groupby([summary[column] for column in same_images])
    return (shares == rivals.transform("max")) & (rivals.transform("count") > 1) & (shares > 0)


def _decided_at(summary: pd.DataFrame) -> pd.Series:
    """The one radius that each run decides, NaN for a run of another kind; float64, rows as in `summary`."""
    return summary["sampling"].map(decided_at).replace(np.inf, np.nan)


def _radii_of(summary: pd.DataFrame) -> list[str]:
    return [column for column in summary.columns.astype(str) if column.startswith("r=")]
