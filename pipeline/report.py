"""From certificates on disk to the table and the figure of a paper."""

from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from matplotlib import rc_context
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from actors.refusal import Refusal
from actors.table import Table
from pipeline.curves import (
    LABELLED,
    SETTINGS,
    caption,
    describe_runs,
    differing,
    draw_curves,
    short_denoisers,
    twins,
)
from pipeline.metrics import (
    abstention_rate,
    average_certified_radius,
    certified_accuracy,
    certified_share,
    error_count,
    floored,
    percent,
)

_NEEDED = {*SETTINGS, "image_id", "abstain", "correct", "radius", "status"}
_MOST_RADII = 7
"""Radii in a default table: what fits, with the rest, into a terminal of 100 columns."""


def read_certificates(out: str | Path) -> pd.DataFrame:
    """All rows under `<out>/certificates`, one an image of a run, with the column run_id (str).

    Files and folders whose names begin with "." or "_" are ignored. Raises Refusal, naming the file, for one
    that is torn or not a part of a run's certificates; also if there are no rows, or two of the same image.
    """
    folder = Path(out) / "certificates"
    if not folder.is_dir():
        if (Path(out) / "predictions").is_dir():
            raise Refusal(f"{out} holds only predictions: report needs what 'raysmooth certify' writes")
        raise Refusal(f"there is no {folder}: give the results folder (--out) of 'raysmooth certify'")
    run_id = pa.schema([("run_id", pa.string())])
    # Left to itself pyarrow opens one part at once, unnamed if it is torn, and takes a run id of digits for a
    # number: so both schemas are given.
    layout = ds.partitioning(run_id, flavor="hive")
    parts = list(ds.dataset(folder, schema=run_id, format="parquet", partitioning=layout).get_fragments())
    schema = run_id
    for part in parts:
        schema = _widened(schema, part)
    rows = pa.concat_tables([run_id.empty_table(), *(_read(part, schema) for part in parts)], promote_options="default")
    if rows.num_rows == 0:
        raise Refusal(f"{folder} has no rows yet: let 'raysmooth certify' finish an image, then report again")
    frame = rows.to_pandas()
    if (again := frame.duplicated(["run_id", "image_id"])).any():
        run, image = frame.loc[again, ["run_id", "image_id"]].iloc[0]
        raise Refusal(f"{folder / f'run_id={run}'} has two rows of image {image}: move the copied part away")
    return frame


def summarize(rows: pd.DataFrame, radii: Sequence[float] | None = None) -> pd.DataFrame:
    """One row a run, in full precision: what it is, and how well it does.

    Columns: run_id, those of `describe_runs`, `r=<radius>` for each of `radii` (shares in [0, 1]), `ACR`,
    `abstain` (share), `errors` (count). The r= columns are certified accuracies; or, where `measure` says
    that the run has no labels, shares certified right or wrong, and then ACR is NaN. Default radii: 0, 0.25,
    ... up to the largest that any image reached, the step doubled until seven suffice. Raises Refusal if
    there are no rows, or if a radius is negative or not finite.
    """
    runs = describe_runs(rows)
    grid = sorted({float(r) for r in radii}) if radii is not None else _default_radii(rows["radius"])
    if wrong := [r for r in grid if not (isfinite(r) and r >= 0)]:
        raise Refusal(f"radius {wrong[0]} for the report: write finite numbers >= 0, such as 0,0.25,0.5")
    # Not :g, which would print 0.1234567 as the larger 0.123457.
    headings = [f"r={np.format_float_positional(r, trim='-')}" for r in grid]
    measured = []
    for run, measure in runs["measure"].items():
        own = rows[rows["run_id"] == run]
        shares = (certified_accuracy if measure == LABELLED else certified_share)(own, grid)
        rates = {
            "ACR": average_certified_radius(own),
            "abstain": abstention_rate(own),
            "errors": error_count(own),
        }
        measured.append(dict(zip(headings, shares, strict=True)) | rates)
    return runs.join(pd.DataFrame(measured, runs.index)).reset_index()


def write_report(out: str | Path, radii: Sequence[float] | None = None, folder: str | Path | None = None) -> list[Path]:
    """Write table.md, table.tex, table.csv, curves.png and curves.pdf, over an earlier report's.

    They go into `folder`, by default `<out>/report`, which is made. Returns their paths. Raises Refusal as
    `read_certificates` and `summarize` do.
    """
    rows = read_certificates(out)
    summary, figure = summarize(rows, radii), draw_curves(rows)
    folder = Path(folder) if folder is not None else Path(out) / "report"
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"table.md": markdown, "table.tex": latex, "table.csv": csv}
    for name, render in tables.items():
        (folder / name).write_text(render(summary), encoding="utf-8")
    with rc_context({"pdf.fonttype": 42}):  # publishers refuse matplotlib's default, Type 3
        for name in (drawings := ["curves.png", "curves.pdf"]):
            figure.savefig(folder / name, dpi=150)
    return [folder / name for name in [*tables, *drawings]]


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
        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), show_edge=False)
        for column, bare in zip(columns, repeated, strict=True):
            heading = column.removeprefix("r=") if bare else column
            table.add_column(heading, justify=_side(column), no_wrap=True)
        for cells, look in zip(printed.to_numpy(), styles.to_numpy(), strict=True):
            table.add_row(*map(Text, cells, look))
        table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
        if table.width <= console.width:
            break
    console.print(Text(_caption(summary)), "", sep="\n")
    # A number that is cut off is a wrong number: in too narrow a terminal the lines run over instead.
    console.print(table, crop=False, no_wrap=True, overflow="ignore")


def _as_is(render: Callable[[pd.DataFrame], str]) -> Callable[[pd.DataFrame, Console], None]:
    return lambda summary, console: console.out(render(summary), highlight=False, end="")


FORMATS: Table[Callable[[pd.DataFrame, Console], None]] = Table(
    "report format", {"text": text, "markdown": _as_is(markdown), "latex": _as_is(latex), "csv": _as_is(csv)}
)
"""How a summary is printed to a console, by the name of the format."""

_NUMBERS = {"sigma", "n0", "n", "alpha", "finished", "ACR", "abstain", "errors"}

_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def _side(column: str) -> Literal["left", "right"]:
    return "right" if column in _NUMBERS or column.startswith("r=") else "left"


def _printed(summary: pd.DataFrame) -> pd.DataFrame:
    """A table's cells as text: what the caption does not say already, numbers rounded down."""
    runs = summary.set_index("run_id")
    printed = runs[[column for column in differing(runs) if column != "sigma"]].astype(str)
    if twins(runs).any():
        printed["run"] = runs.index.str[:8]
    printed["denoiser"] = short_denoisers(runs)
    printed["objective"] = runs["objective"].astype(object).where(runs["objective"].notna(), "unknown")
    printed["sigma"] = runs["sigma"].astype(str)
    if len(set(runs["measure"])) > 1:
        printed["measure"] = runs["measure"]
    if (runs["rows"] < runs["images"]).any():
        done = runs["rows"].astype(str) + " of " + runs["images"].astype(str)
        printed["finished"] = done.where(runs["rows"] < runs["images"], "all")
    for column in _radii_of(runs):
        printed[column] = [percent(share, of) for share, of in zip(runs[column], runs["rows"], strict=True)]
    printed["ACR"] = ["-" if np.isnan(acr) else floored(acr, 3) for acr in runs["ACR"]]
    printed["abstain"] = [percent(share, of) for share, of in zip(runs["abstain"], runs["rows"], strict=True)]
    if runs["errors"].any():
        printed["errors"] = runs["errors"].astype(str)
    return printed.reset_index(drop=True)


def _caption(summary: pd.DataFrame) -> str:
    measures = summary["measure"].unique()
    measure = measures[0] if len(measures) == 1 else "the measure"
    errors = "" if summary["errors"].any() else " No image failed."
    return (
        f"{caption(summary.set_index('run_id'), without={'sigma'})}. Columns r: {measure} at that radius, in "
        f"percent. Percentages and ACR are rounded down.{errors}"
    )


def _best(summary: pd.DataFrame) -> pd.DataFrame:
    """Which shares are the best of several at their radius; bool, a column a radius.

    An unfinished run is left out: its images so far may be the easy ones.
    """
    shares = summary[_radii_of(summary)].where(summary["rows"] >= summary["images"])
    same_images = ["dataset", "split", "index_set", "norm", "measure"]
    rivals = shares.groupby([summary[column] for column in same_images])
    return (shares == rivals.transform("max")) & (rivals.transform("count") > 1) & (shares > 0)


def _radii_of(summary: pd.DataFrame) -> list[str]:
    return [column for column in summary.columns.astype(str) if column.startswith("r=")]


def _default_radii(radius: pd.Series) -> list[float]:
    reach, step = max([0.25, *radius.dropna()]), 0.25
    while reach // step >= _MOST_RADII:
        step *= 2
    return [step * i for i in range(int(reach // step) + 1)]


def _widened(schema: pa.Schema, part: ds.Fragment) -> pa.Schema:
    """`schema` with the part's columns (one that is all null in a part may have no type there)."""
    try:
        own = part.physical_schema
        if missing := sorted(_NEEDED - set(own.names)):
            raise _foreign(part, f"is no part of a run's certificates: it lacks {', '.join(missing)}")
        if "run_id" not in ds.get_partition_keys(part.partition_expression):
            raise _foreign(part, "lies outside the run_id=... folders")
        return pa.unify_schemas([schema, own], promote_options="permissive")
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"is torn or foreign ({_first_line(error)})") from None


def _read(part: ds.Fragment, schema: pa.Schema) -> pa.Table:
    try:
        return part.to_table(schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise _foreign(part, f"cannot be read ({_first_line(error)})") from None


def _foreign(part: ds.Fragment, what: str) -> Refusal:
    return Refusal(f"{part.path} {what}: move it out of the certificates, then report again")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
