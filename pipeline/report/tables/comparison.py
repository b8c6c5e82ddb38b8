"""Two runs image by image, as a table of a report."""

from fractions import Fraction

from raysmooth.pipeline.analysis.comparison import compare
from raysmooth.pipeline.analysis.run_facts import AGREEING
from raysmooth.pipeline.analysis.run_selection import find_run
from raysmooth.pipeline.report.captions import caption, run_names
from raysmooth.pipeline.report.report_data import DELTA, ReportData
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.report.sigma_words import with_sigma
from raysmooth.pipeline.report.tables.formats import PrintedTable


def comparison_table(data: ReportData, a: str, b: str, radius: float) -> PrintedTable:
    """The numbers of images that both, one or neither of two runs certify at `radius`; `a` and `b` are run ids or their
    first characters.

    The table's values are the images on which the runs differ. Raises RaysmoothError for a run that the report does not
    include, and as `compare` does.
    """
    ids = [find_run(data.runs.index, name, "--compare") for name in (a, b)]
    result = compare(data.parts[ids[0]], data.parts[ids[1]], radius, DELTA)
    runs = data.runs.loc[ids]
    names = [
        f"{with_sigma(name, sigma)} ({run[:8]})"
        for run, name, sigma in zip(ids, run_names(runs), runs["sigma"], strict=True)
    ]
    cells = result.table.astype(str)
    cells.columns = [f"B {side}" for side in cells.columns]
    cells.insert(0, "", [f"A {side}" for side in cells.index])
    others = f" {result.left_out} images of only one run are left out." if result.left_out else ""
    note = (
        f"A: {names[0]}. B: {names[1]}. Images that count as certified at r={radius:g}, of the {result.images} that "
        f"both runs have.{others} Only A certifies {result.only_a}, only B {result.only_b}: if neither were better, a "
        f"difference at least this large would have probability {_p_value(result.p_value)} (McNemar's exact test). A's "
        f"share minus B's: {_points(result.only_a - result.only_b, result.images)} percentage points on these images; "
        f"95 % interval for images like these: {floored(100 * result.low, 1)} to {_raised(100 * result.high)}."
        f"{_labels(runs['quantity'].tolist())}"
    )
    return PrintedTable(
        "comparison", "Comparison", caption(runs), note, cells.reset_index(drop=True), result.differing, frozenset({""})
    )


def _labels(quantities: list[str]) -> str:
    """What to know where an image counts in the two runs by different labels, or by those of an API."""
    if AGREEING not in quantities:
        return ""
    if quantities[0] == quantities[1]:
        return (
            " In both an image counts by what the run's own API answers to it without noise; where the APIs differ, so "
            "do these labels."
        )
    a, b = ("what the API answers to it without noise" if one == AGREEING else "its true label" for one in quantities)
    return f" An image counts in A by {a}, in B by {b}: a difference may be one of labels, not of robustness."


def _points(ahead: int, of: int) -> str:
    """`ahead` of `of` images in percentage points, with its sign, rounded towards 0."""
    sign = "" if ahead == 0 else "+" if ahead > 0 else "-"
    return sign + floored(Fraction(100 * abs(ahead), of), 1)


def _p_value(p: float) -> str:
    """`p` as text, rounded up."""
    return "below 0.0001" if p < 1e-4 else _raised(p, 4)


def _raised(x: float, digits: int = 1) -> str:
    """`x` rounded up."""
    down = floored(-x, digits)
    return down.removeprefix("-") if down.startswith("-") or x == 0 else f"-{down}"
