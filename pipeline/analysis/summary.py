"""Certificate rows summarised: one row per run, in full precision."""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError, described
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.confidence import share_intervals
from raysmooth.pipeline.analysis.metrics import (
    FIXED,
    UNANSWERED,
    abstention_rate,
    average_certified_radius,
    certified_accuracy,
    certified_share,
    decided_at,
    error_count,
    samplings,
    unanswered_draws,
    undecided_share,
)
from raysmooth.pipeline.analysis.run_facts import UNLABELLED, describe_runs

ENDS = ("", " low", " high")
"""Suffixes of a share's column names: for the share itself, and for the ends of its interval."""

_MOST_RADII, _FEWER_RADII = 7, 5
"""Most radii of a default table, to fit a terminal of 100 columns; fewer beside the extra columns of runs that are not
sampled `FIXED`.
"""

_STEPS = [digit * 10.0**power for power in range(-6, 4) for digit in (1, 2.5 if power == -1 else 2, 5)]
"""Steps of a default table's radii, ascending: 1, 2 and 5 times a power of ten, but 0.25, as in the papers, for 0.2."""

_NO_REACH = 0.25
"""The step of a table of runs that certify nothing."""

_TAIL = 0.05
"""Share of a run's images whose radii may lie beyond those of a default table: a few lucky images must not make its
steps coarse.
"""


def summarize(
    rows: pd.DataFrame,
    radii: Sequence[float] | None = None,
    delta: float | None = None,
    runs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row per run, in full precision: its facts and its results.

    Columns: run_id, those of `describe_runs`, `r=<radius>` for each of `radii` (shares in [0, 1]), `ACR`, `abstain`
    (share), `undecided` (share), `errors` (count) and, if there are runs of vision APIs, `unanswered` (estimation draws
    without a label, NaN for other runs). The r= columns are certified accuracies (where `quantity` is AGREEING, with
    the API's own answers); where it is UNLABELLED they are shares certified right or wrong, and ACR is NaN. For a run
    that decides one radius, unknown
    values are NaN: columns beyond that radius, ACR and abstain; for all others, `undecided` is. With `delta`, each r=
    column has the columns `r=<radius> low` and `r=<radius> high`: the interval of `population_interval`, which fails
    with probability at most delta. `runs` are those of `describe_runs`, if they exist already.

    Default radii: multiples of the smallest of _STEPS, such as 0, 0.25, ..., with which at most seven (five if a run is
    not sampled `FIXED`) reach the radius that 5 % of some run's images reach; and the radii that runs decide, or only
    these if all runs decide one. Raises RaysmoothError if there are no rows, for what are no such rows, or if a
    radius is negative or not finite.
    """
    _refuse_other(rows)
    runs = describe_runs(rows) if runs is None else runs
    grid = sorted({float(r) for r in radii}) if radii is not None else _default_radii(rows)
    if wrong := [r for r in grid if not (isfinite(r) and r >= 0)]:
        raise RaysmoothError(f"radius {wrong[0]} for the report: write finite numbers >= 0, such as 0,0.25,0.5")
    parts, headings = by_run(rows), [heading(radius) for radius in grid]
    rates, shares = [], []
    for run, quantity in runs["quantity"].items():
        own = parts[str(run)]
        shares.append((certified_share if quantity == UNLABELLED else certified_accuracy)(own, grid))
        rates.append(
            {
                "ACR": average_certified_radius(own),
                "abstain": abstention_rate(own),
                "undecided": undecided_share(own),
                "errors": error_count(own),
            }
        )
    columns = dict(zip(headings, np.transpose(shares), strict=True))
    if delta is not None:
        images, alpha = (runs[column].to_numpy(float)[:, None] for column in ("rows", "alpha"))
        ends = [np.stack(shares), *share_intervals(np.stack(shares), images, alpha, delta)]
        columns = {
            name + end: values[:, place]
            for place, name in enumerate(headings)
            for end, values in zip(ENDS, ends, strict=True)
        }
    tables = [runs, pd.DataFrame(columns, runs.index), pd.DataFrame(rates, runs.index)]
    if (runs["rejector"] == UNANSWERED).any():
        tables.append(
            pd.DataFrame({"unanswered": [unanswered_draws(parts[str(run)]) for run in runs.index]}, runs.index)
        )
    return pd.concat(tables, axis=1).reset_index()


def _refuse_other(rows: Any) -> None:
    """Raises RaysmoothError for what are no certificate rows: a network, a path, another table."""
    if not isinstance(rows, pd.DataFrame):
        raise RaysmoothError(
            f"summarize takes the rows of certificates, not {described(rows)}: give it the data frame that certify or "
            "read_certificates returns"
        )
    if missing := [
        name for name in ("run_id", "image_id", "radius", "abstain", "correct", "status") if name not in rows
    ]:
        raise RaysmoothError(
            f"summarize takes the rows of certificates, these lack {', '.join(missing)}: give it the data frame that "
            "certify or read_certificates returns"
        )


def heading(radius: float) -> str:
    """The name of the column at `radius`."""
    # Not :g, which would print 0.1234567 as the larger 0.123457.
    return f"r={np.format_float_positional(radius, trim='-')}"


def radius_columns(columns: Iterable[Any]) -> dict[str, float]:
    """The columns of a summary with shares at a radius, and their radii."""
    return {name: float(name[2:]) for name in columns if name.startswith("r=") and not name.endswith(ENDS[1:])}


def _default_radii(rows: pd.DataFrame) -> list[float]:
    sampling = samplings(rows)
    radii = {method: decided_at(method) for method in sampling.unique()}
    decided = {radius for radius in radii.values() if isfinite(radius)}
    if len(decided) and all(map(isfinite, radii.values())):
        return sorted(decided)
    others = rows.loc[~np.isfinite(sampling.map(radii).astype(float))]
    reach = max((_reach(own["radius"]) for _, own in others.groupby("run_id", sort=False)), default=0.0)
    most = _MOST_RADII if set(radii) == {FIXED} else _FEWER_RADII
    steps = [step for step in _STEPS if step * most >= reach] if reach else [_NO_REACH]
    grids = ({*_multiples(step, reach), *decided} for step in steps)
    return sorted(next((grid for grid in grids if len(grid) <= most), {0.0, *decided}))


def _reach(radii: pd.Series) -> float:
    """The largest radius that a share of _TAIL of the images reaches."""
    known = np.sort(radii.astype("Float64").to_numpy(float, na_value=0.0))
    return float(known[-ceil(_TAIL * len(known))])


def _multiples(step: float, reach: float) -> list[float]:
    """0, `step`, ... up to `reach`, and `step` at least."""
    return [round(step * i, 10) for i in range(max(1, floor(reach / step + 1e-9)) + 1)]
