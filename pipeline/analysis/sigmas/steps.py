"""Runs that differ only in the number of steps K of their search."""

from collections.abc import Mapping

import pandas as pd

from raysmooth.pipeline.analysis.run_facts import FACTS, origins
from raysmooth.pipeline.analysis.sigmas.distribution import fixed_counterparts
from raysmooth.pipeline.analysis.sigmas.rules import steps_of, without_steps


def step_series(runs: pd.DataFrame, parts: Mapping[str, pd.DataFrame]) -> list[dict[int, str]]:
    """Each set of runs that are equal in all but their numbers of steps, of which there are at least two: their ids by
    the number of steps, ascending, in which 0 is the run with one sigma for all, if there is one. Sets are in the order
    of `runs`, which are those of `describe_runs`; `parts` are the rows of each. Of two runs of one number, which may
    have different seeds, the first counts.
    """
    steps = runs["sigma_rule"].map(steps_of)
    if steps.isna().all():
        return []
    fixed = fixed_counterparts(runs, parts)
    alike = [column for column in FACTS if column != "sigma_rule"]
    searched = runs[steps.notna()].assign(origin=origins(runs), search=runs["sigma_rule"].map(without_steps))
    found = []
    for _, own in searched.groupby(
        [*alike, "denoiser", "objective", "quantity", "origin", "search"], sort=False, dropna=False
    ):
        known = {int(steps[run]): run for run in reversed(own.index)}
        if len(known) < 2:
            continue
        before = {fixed[run] for run in known.values() if run in fixed}
        known |= {0: before.pop()} if len(before) == 1 else {}
        found.append(dict(sorted(known.items())))
    return found
