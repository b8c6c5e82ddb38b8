"""What a search for noise levels has found, in numbers: quartiles of the levels, and how many are at a bound."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from raysmooth.actors.sigma_search.search_options import Bounded
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.sigmas.distribution import sigma_limits

_AT = 1e-9
"""Relative distance within which a level is at a bound."""


@dataclass(frozen=True)
class FoundLevels:
    """The levels of one search after its last `step`, standard deviations in pixel units. `sigma`: where it began.
    `images` have a level, `failed` have none. `quartiles`: the least, the three quartiles, and the greatest; NaN
    without a level. `bounds`: the least and the greatest level that the search may find, None if it has none, and
    `at_bounds`, how many images are at each. `abstained`: images whose certified search does not say which level; None
    for other searches. `seconds` are those of computing, summed over replicas.
    """

    run_id: str
    sigma: float
    step: int
    images: int
    failed: int
    quartiles: tuple[float, ...]
    bounds: tuple[float, float] | None
    at_bounds: tuple[int, int]
    abstained: int | None
    seconds: float


def last_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each image of the searches in `rows`: that of its last step, or its error."""
    return rows.drop_duplicates(["run_id", "image_id"], keep="last")


def found_levels(rows: pd.DataFrame) -> Sequence[FoundLevels]:
    """Of each search in `rows`, which are in the order of steps."""
    return [_of_run(str(run_id), own) for run_id, own in by_run(last_rows(rows)).items()]


def _of_run(run_id: str, rows: pd.DataFrame) -> FoundLevels:
    noise, search, sigma = rows["noise"].iloc[0], rows["search"].iloc[0], float(rows["sigma"].iloc[0])
    options = read_search(search)[1]
    fine = rows[rows["status"] == "ok"]
    levels = fine["image_sigma"].to_numpy(float)
    bounds, at_bounds = sigma_limits(search, noise, sigma) if isinstance(options, Bounded) else None, (0, 0)
    if bounds is not None:
        least, most = bounds
        at_bounds = int((levels <= least * (1 + _AT)).sum()), int((levels >= most * (1 - _AT)).sum())
    return FoundLevels(
        run_id,
        sigma,
        options.kept_steps[-1],
        len(fine),
        len(rows) - len(fine),
        tuple(np.quantile(levels, (0, 0.25, 0.5, 0.75, 1)).tolist()) if len(levels) else (float("nan"),) * 5,
        bounds,
        at_bounds,
        int((fine["radius"] == 0).sum()) if options.certified else None,
        float(rows["seconds"].sum()),
    )
