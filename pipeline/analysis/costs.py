"""What runs cost: draws, and seconds of the devices that made them."""

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import draws_made


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a run, indexed by run_id, as text: images (those that ended, int), errors (of them, int), and, float64,
    draws and seconds in all, draws_per_image, seconds_per_image, draws_per_1000, seconds_per_1000.

    Seconds are those that replicas spent on an image's draws, added up: on ten replicas the run takes a tenth of them.
    `per_image` is a total divided by the images that did not fail, so that a certificate carries what failures cost;
    the draws of these are not recorded, and `draws_per_image` is `mean_draws`. NaN where a run's rows do not say it.
    Raises RaysmoothError if there are no rows.
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
