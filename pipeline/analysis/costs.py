"""The cost of runs: draws, and seconds of the devices that made them."""

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import draws_made


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per run, indexed by run_id, as text: images (finished, int), errors (among them, int) and, float64, draws
    and seconds in total, draws_per_image, seconds_per_image, draws_per_1000, seconds_per_1000.

    Seconds are the time replicas spent on an image's draws, summed: ten replicas take a tenth of it. `per_image` is a
    total divided by the images without error, so that certificates bear the cost of failures; the draws of failed
    images are not recorded, so `draws_per_image` equals `mean_draws`. NaN where a run's rows do not record it. Raises
    RaysmoothError if there are no rows.
    """
    if rows.empty:
        raise RaysmoothError("no certificate rows to count: give the rows of a run that has finished an image")
    failed = rows["status"] == "error"
    spent = pd.DataFrame(
        {
            "run_id": rows["run_id"],
            "failed": failed,
            "draws": draws_made(rows).mask(failed, 0.0),
            "seconds": rows["seconds"].astype(float) if "seconds" in rows else np.nan,
        }
    )
    by_run = spent.groupby("run_id")
    table = pd.DataFrame({"images": by_run.size(), "errors": by_run["failed"].sum()})
    good = (table["images"] - table["errors"]).replace(0, np.nan)
    for what in ("draws", "seconds"):
        total = by_run[what].sum().where(by_run[what].count() == table["images"])
        table[what] = total
        table[f"{what}_per_image"] = total / good
        table[f"{what}_per_1000"] = 1000 * total / good
    return table
