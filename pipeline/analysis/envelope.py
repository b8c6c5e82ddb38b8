"""The envelope: the certified accuracy of the best noise level at each radius, as in the papers' tables."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.confidence import share_intervals
from raysmooth.pipeline.analysis.metrics import decided_at, is_rejecting
from raysmooth.pipeline.analysis.run_facts import differing, varies
from raysmooth.pipeline.analysis.run_selection import shown_value
from raysmooth.pipeline.analysis.summary import heading, radius_columns

ALIKE = ("dataset", "split", "norm", "n", "alpha", "bound")
"""Columns that the runs of one group must share for a best of them to make sense: the data and the guarantee."""


_NEVER_MIXED = ("quantity", "about")
"""Never runs with and without labels in one group, nor runs whose certificates are about different things."""


def default_groups(summary: pd.DataFrame) -> list[str]:
    """The default columns to group an envelope by: denoiser, objective, and all else that differs except sigma."""
    last = ("rejector", "sigma_rule")
    rest = [column for column in differing(summary) if column not in ("sigma", *last)]
    rest += [column for column in _NEVER_MIXED if varies(summary[column])]
    shown = {"rejector": is_rejecting(summary["rejector"]).any(), "sigma_rule": True}  # an API needs no column for it
    return [*rest, "denoiser", "objective", *(column for column in last if shown[column] and varies(summary[column]))]


def envelope(summary: pd.DataFrame, by: Sequence[str] | None = None, delta: float = 0.05) -> pd.DataFrame:
    """The best certified accuracy of each group of runs at each radius, and the accuracy of that run at radius 0.

    `summary` is that of `summarize`, with the column r=0; `by` names columns of it, by default `default_groups`. One
    row for each group, in the order of `summary`, and radius, ascending: the columns `by`, then radius, share, at_zero
    (shares in [0, 1]), then of the best run sigma, run_id, rows and images (finished, planned), alpha, low and high: an
    interval for `share` as in `population_interval`, at delta divided by the number of runs in the group, so that with
    probability at least 1 - delta the intervals of all of them hold, including that of the best run, whichever it is.

    Among runs that tie at a radius, the most accurate at 0 wins, then the first. A run that decides one radius competes
    only there, and its at_zero is NaN. A group in which no run knows a radius has NaN there, and no best run. Raises
    RaysmoothError where a group's runs differ in a column of ALIKE. Source: Salman et al. 2020, tables 1 and 2.
    """
    by = list(by) if by is not None else default_groups(summary)
    by += [column for column in _NEVER_MIXED if varies(summary[column]) and column not in by]
    summary = summary.copy()
    decides = np.isfinite(summary["sampling"].map(decided_at))
    radii = radius_columns(summary.columns)
    for column, radius in radii.items():
        summary[column] = summary[column].where(~decides | (summary["sampling"].map(decided_at) == radius))
    best = []
    groups = summary.groupby(by, sort=False, dropna=False) if by else [((), summary)]
    for key, own in groups:
        for column in ALIKE:
            if varies(own[column]):
                several = sorted({shown_value(value) for value in own[column]})
                raise RaysmoothError(
                    f"no envelope over runs of more than one {column} ({', '.join(several)}): "
                    f"add {column} to --group-by, or write --where {column}={several[0]}"
                )
        known = dict(zip(by, key, strict=True))
        for column, radius in radii.items():
            won = {name: value for name, value in _winner(own, column).items() if name not in known}
            best.append({**known, "radius": radius, **won, "runs": len(own)})
    table = pd.DataFrame(best)
    shares, images, alpha = (table[column].to_numpy(float) for column in ("share", "rows", "alpha"))
    low, high = share_intervals(shares, images, alpha, (delta / table.pop("runs")).to_numpy(float))
    return table.assign(low=low, high=high)


def _winner(runs: pd.DataFrame, column: str) -> dict[str, object]:
    columns = ("sigma", "run_id", "rows", "images", "alpha")
    shares, at_zero = (runs[name].to_numpy(float) for name in (column, heading(0.0)))
    if np.isnan(shares).all():
        return dict.fromkeys(("share", "at_zero", *columns), np.nan)
    # The first of those equal in both.
    best = max(
        np.flatnonzero(~np.isnan(shares)), key=lambda place: (shares[place], np.nan_to_num(at_zero[place], nan=-1.0))
    )
    return {"share": shares[best], "at_zero": at_zero[best], **{name: runs[name].iloc[best] for name in columns}}
