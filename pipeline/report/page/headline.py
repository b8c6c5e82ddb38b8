"""The run, the radius and the image that a page opens with."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from raysmooth.pipeline.analysis.metrics import certified_radii
from raysmooth.pipeline.analysis.run_facts import AGREEING
from raysmooth.pipeline.analysis.sigmas.rules import ABOUT
from raysmooth.pipeline.analysis.summary import radius_columns, summarize
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.runs import decided_radii


@dataclass(frozen=True)
class Headline:
    """`certified` of the `images` finished images of the run are certified at `radius`, for the right class or, where
    there are no labels, for any. `others` are these two numbers of the other runs at this radius. `image_id` is a
    typical image of those certified, None if there are none.
    """

    run_id: str
    radius: float
    certified: int
    images: int
    others: Sequence[tuple[int, int]]
    image_id: int | None


def headline(data: ReportData) -> Headline:
    """At the smallest positive radius of the tables: the finished run with the largest certified share, the first of
    equals in the tables' order; an unfinished one if all are. Its typical image has the median radius of those
    certified: the lower of two, and the lowest number of equals.

    Runs whose certificates are about one classifier come before those with a classifier for each image, and these
    before those of a memory; the `others` are about the same, and by labels of the same origin.
    """
    table = data.plain_summary
    if not any(radius_columns(table.columns).values()):
        table = summarize(data.rows, runs=data.runs)
    table = table.set_index("run_id")
    decided = decided_radii(table)
    columns = sorted((radius, column) for column, radius in radius_columns(table.columns).items() if radius > 0)
    known = [(radius, table[column].where(decided.isna() | (decided == radius)).dropna()) for radius, column in columns]
    radius, shares = next((radius, shares) for radius, shares in known if len(shares))
    rows = table["rows"].loc[shares.index]
    about = table["about"].loc[shares.index].map(ABOUT.index)
    shares = shares[about == about.min()]
    finished = shares[rows[shares.index] >= table["images"].loc[shares.index]]
    run_id = str((finished if len(finished) else shares).idxmax())
    rows = rows[shares.index]
    counts = {run: (round(share * of), int(of)) for run, share, of in zip(shares.index, shares, rows, strict=True)}
    asked = table["quantity"] == AGREEING  # shares of agreement are not comparable with those of accuracy
    others = [pair for run, pair in counts.items() if run != run_id and asked[run] == asked[run_id]]
    return Headline(run_id, radius, *counts[run_id], others, _typical(data.parts[run_id], radius))


def _typical(rows: pd.DataFrame, radius: float) -> int | None:
    images = pd.DataFrame({"radius": certified_radii(rows), "image_id": rows["image_id"].to_numpy()})
    certified = images[images["radius"] >= radius].sort_values(["radius", "image_id"])
    return int(certified["image_id"].iloc[(len(certified) - 1) // 2]) if len(certified) else None
