"""Two runs image by image, as a table of a report."""

from fractions import Fraction

from raysmooth.pipeline.analysis.comparison import compare
from raysmooth.pipeline.analysis.metrics import floored
from raysmooth.pipeline.analysis.run_selection import find_run
from raysmooth.pipeline.report.captions import caption, run_names
from raysmooth.pipeline.report.report_data import DELTA, ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable


def comparison_table(reported: ReportData, a: str, b: str, radius: float) -> PrintedTable:
    """How many images both, one and none of two runs certify at `radius`; `a` and `b` are run ids, or how they begin.

    The table's values are the images on which they differ. Raises RaysmoothError for a run that is not among those reported,
    and as `compare` does.
    """
    ids = [find_run(reported.runs.index, name, "--compare") for name in (a, b)]
    result = compare(reported.parts[ids[0]], reported.parts[ids[1]], radius, DELTA)
    runs = reported.runs.loc[ids]
    names = [
        f"{name}, sigma {sigma} ({run[:8]})"
        for run, name, sigma in zip(ids, run_names(runs), runs["sigma"], strict=True)
    ]
    cells = result.table.astype(str)
    cells.columns = [f"B {side}" for side in cells.columns]
    cells.insert(0, "", [f"A {side}" for side in cells.index])
    others = f" {result.left_out} that only one has are left out." if result.left_out else ""
    note = (
        f"A: {names[0]}. B: {names[1]}. Images that count as certified at r={radius:g}, of the {result.images} that "
        f"both have.{others} A alone has {result.only_a}, B alone {result.only_b}: were neither better, so much "
        f"difference or more had probability {_p_value(result.p_value)} (McNemar's exact test). A's share less B's: "
        f"{_points(result.only_a - result.only_b, result.images)} percentage points; among images like these, with "
        f"probability 95 %, {floored(100 * result.low, 1)} to {_raised(100 * result.high)}."
    )
    return PrintedTable(
        "comparison", "Comparison", caption(runs), note, cells.reset_index(drop=True), result.differing, frozenset({""})
    )


def _points(ahead: int, of: int) -> str:
    """`ahead` of `of` images in percentage points, with its sign, rounded towards 0: never larger than it is."""
    sign = "" if ahead == 0 else "+" if ahead > 0 else "-"
    return sign + floored(Fraction(100 * abs(ahead), of), 1)


def _p_value(p: float) -> str:
    """Rounded up."""
    return "below 0.0001" if p < 1e-4 else _raised(p, 4)


def _raised(x: float, digits: int = 1) -> str:
    """`x` rounded up."""
    down = floored(-x, digits)
    return down.removeprefix("-") if down.startswith("-") or x == 0 else f"-{down}"
