"""The sigmas of images by what became of the images, as a table of a report."""

from fractions import Fraction

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.sigmas.distribution import (
    OUTCOMES,
    QUANTILES,
    fixed_counterparts,
    grew,
    has_image_sigmas,
    image_sigmas,
    sigma_distribution,
)
from raysmooth.pipeline.analysis.sigmas.rules import LATER_QUERIES
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import text_columns

_OUTCOMES = {"unlabelled": "class unchecked"}
"""Words for outcomes that need others."""

_NUMBERS = ("mean", *QUANTILES)


def sigmas_table(data: ReportData, intervals: bool = False) -> PrintedTable:
    """One line for all images of each run with image sigmas, and one for each outcome. Raises RaysmoothError where no
    run has image sigmas.
    """
    runs = runs_with_sigmas(data)
    if not runs:
        raise RaysmoothError(
            "all runs have one sigma for all images: certify with --sigmas, and a run of 'raysmooth optimize-sigma', "
            "for example"
        )
    fixed = fixed_counterparts(data.runs, data.parts)
    lines = [sigma_distribution(data.parts[run]).assign(run_id=run, grew=_grown(data, run, fixed)) for run in runs]
    values = pd.concat(lines, ignore_index=True)
    cells = data.run_cells.loc[values["run_id"]].reset_index(drop=True)
    cells["outcome"] = values["outcome"].replace(_OUTCOMES)
    cells["images"] = values["images"].map("{:,}".format)
    for column in _NUMBERS:
        cells[column] = values[column].map("{:.4f}".format)
    for column, heading in (("at_least", "at lower end"), ("at_most", "at upper end")):
        if values[column].notna().any():
            cells[heading] = _percents(values[column], values["images"])
    if values["grew"].notna().any():
        cells["larger radius"] = _percents(values["grew"], values["images"])
    note = (
        "Sigmas of images without error; quantiles are those of an image. At the ends: percent "
        "of the images whose sigma is the smallest or the largest that the rule allows, rounded down."
    )
    if "larger radius" in cells:
        note += (
            " Larger radius: percent of the images certified with a larger one than in the run with one sigma for all."
        )
    first = ["run_id", "outcome"]
    words = text_columns(data.run_cells) | {"outcome"}
    values = values[[*first, *values.columns.drop(first)]]
    return PrintedTable("sigmas", "Sigmas of images", data.caption, note, cells, values, words)


def runs_with_sigmas(data: ReportData) -> list[str]:
    """The runs with image sigmas, without those of a memory where there are others: it keeps the sigmas of its run."""
    runs = [run for run in data.runs.index if has_image_sigmas(data.parts[run])]
    return [run for run in runs if data.runs["about"][run] != LATER_QUERIES] or runs


def _grown(data: ReportData, run: str, fixed: dict[str, str]) -> list[float]:
    """The share of images that grew, for each line of the run's `sigma_distribution`; NaN without a counterpart."""
    rows = data.parts[run]
    lines = sigma_distribution(rows)["outcome"]
    if run not in fixed:
        return [float("nan")] * len(lines)
    found = image_sigmas(rows)
    larger = grew(rows, data.parts[fixed[run]])[found.index]
    by_outcome = {name: larger[found["outcome"] == place] for place, name in enumerate(OUTCOMES)}
    return [float(larger.mean() if name == "all" else by_outcome[name].mean()) for name in lines]


def _percents(shares: pd.Series, images: pd.Series) -> list[str]:
    """In percent, rounded down from the number of images; "-" is unknown."""
    pairs = zip(shares, images, strict=True)
    return ["-" if share != share else floored(Fraction(100 * round(share * of), of), 1) for share, of in pairs]
