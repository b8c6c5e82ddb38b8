"""The facts of runs: one row per run, with its settings and the guarantee of its numbers."""

from math import inf

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.metrics import (
    COMPLEMENT,
    FIXED,
    FIXED_SIGMA,
    RUNNER_UP,
    alpha_shares,
    bounds,
    decided_at,
    is_rejecting,
    labelled,
    mean_draws,
    refers,
    rejectors,
    samplings,
    sigma_rules,
)
from raysmooth.pipeline.analysis.sigmas.rules import JOINED, read_rule, statements, steps_of

IMPORTED = "imported from "
"""Prefix of `source` in rows of another tool's log; the log's file name follows."""

RECERTIFIED = "recertified from "
"""Prefix of `source` in rows made from the stored counts of another run; its run id follows."""

FACTS = {
    "dataset": "{}",
    "split": "{} split",
    "index_set": "{}",
    "classifier": "classifier {}",
    "noise": "{} noise",
    "norm": "{} norm",
    "sigma": "sigma {:.6}",  # that of uniform:0.5 has all the digits of 0.5 / sqrt(3)
    "sigma_rule": "{}",
    "sampling": "{}",
    "n0": "n0={}",
    "n": "n={}",
    "alpha": "alpha={}",
    "bound": "{} bound",
    "alpha_share": "{} of alpha for pA",
    "rejector": "rejector {}",
}
"""The columns on which the guarantee of a run's numbers depends, with their wording in captions and labels."""

SETTINGS = [*FACTS, "denoiser", "objective", "images"]
"""The columns that are equal in all rows of a run."""

DERIVED = ("sampling", "bound", "alpha_share", "rejector", "sigma_rule")
"""Those of SETTINGS that rows of earlier versions may lack."""

PLAIN = ("none", "clean")
"""The objectives of classifiers that, as far as is known, were not trained for noise."""

LABELLED, UNLABELLED = "certified accuracy", "certified (class unchecked)"
AGREEING = "certified agreement"
"""The quantity on the vertical axis of a curve, and in the radius columns of a table: AGREEING where labels are what a
vision API itself answers to the images without noise.
"""


def describe_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per run, indexed by run_id, in the order of tables and legends.

    Columns: the SETTINGS, null where unknown, `source` (null if the run sampled its rows itself), `rows` (how many of
    the run's `images` are finished; where the size of the index set is unknown, `images` is taken to be `rows`),
    `quantity` (that of `share_kind`), `about` (one of ABOUT), `draws` (mean per image, NaN if unknown). Those of
    DERIVED that rows lack are those of `samplings`, `bounds`, `alpha_shares`, `rejectors` and `sigma_rules`; `sigma` is
    null for an envelope of several. Raises RaysmoothError if there are no rows, or if the rows of one run disagree
    about a setting: no table could then state the run's guarantee.
    """
    if rows.empty:
        raise RaysmoothError("no certificate rows to report: give the rows of a run that has finished an image")
    rows = derived(rows).assign(source=rows.get("source"))
    parts = by_run(rows)
    codes, ids = pd.factorize(rows["run_id"])
    columns = {column: _shared(rows[column], codes, ids) for column in (*SETTINGS, "source")}
    runs = pd.DataFrame(columns, pd.Index(ids, name="run_id"))
    runs["sigma"] = runs["sigma"].astype(float)
    runs["rows"] = [len(own) for own in parts.values()]
    runs["images"] = runs["images"].astype("Int64").fillna(runs["rows"]).astype(int)
    for column in ("n0", "n"):  # integers, which a null among them turned into floats
        runs[column] = runs[column].astype("Int64" if runs[column].isna().any() else int)
    runs["quantity"] = [share_kind(own) for own in parts.values()]
    runs["about"] = statements(runs)
    runs["draws"] = [mean_draws(own) for own in parts.values()]
    keys = runs.assign(denoised=runs["denoiser"] != "none", not_fixed=runs["sampling"] != FIXED)
    keys["rejecting"] = is_rejecting(runs["rejector"])
    keys["joined"] = runs["sigma"].isna()
    keys["searched"] = runs["sigma_rule"] != FIXED_SIGMA
    keys["search"] = runs["sigma_rule"].str.partition(":")[0]
    keys["steps"] = runs["sigma_rule"].map(steps_of)
    order = ["dataset", "split", "classifier", "joined", "sigma", "denoised", "denoiser", "objective", "rejecting"]
    order += ["rejector", "searched", "search", "steps", "sigma_rule", "not_fixed", "sampling", "source", "run_id"]
    return runs.loc[keys.sort_values(order, na_position="first").index]


def share_kind(rows: pd.DataFrame) -> str:
    """What the shares of a run with these rows are: LABELLED, AGREEING or UNLABELLED."""
    if not labelled(rows):
        return UNLABELLED
    return AGREEING if refers(rows) else LABELLED


def derived(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with all columns of DERIVED, without nulls."""
    bound = bounds(rows)
    shares = alpha_shares(rows, bound)
    own = {"sampling": samplings(rows), "rejector": rejectors(rows), "sigma_rule": sigma_rules(rows)}
    return rows.assign(**own, bound=bound, alpha_share=shares)


def _shared(column: pd.Series, codes: np.ndarray, ids: pd.Index) -> np.ndarray:
    """The one value of a column in the rows of each run, nulls aside, in the order of `ids`; null for a run with only
    nulls. `codes`, int (N,), are the positions in `ids` of each row's run.
    """
    values, known = pd.factorize(column)  # -1 for null
    valid = values >= 0
    own = np.full(len(ids), -1)
    own[codes[valid]] = values[valid]
    if len(mixed := ids[codes[valid & (values != own[codes])]]):
        raise RaysmoothError(
            f"run {mixed[0]} has rows of more than one {column.name}: move its folder away and run it again"
        )
    return pd.Series(known).reindex(own).to_numpy()


def has_usual_bound(runs: pd.DataFrame) -> pd.Series:
    """Which runs have the bound, and share of alpha, that certify uses by itself: 1 - pA, with a rejector half of alpha
    for each of pA and the runner-up, or a test at one radius, which does not divide alpha; bool, by run_id.
    """
    rejecting = is_rejecting(runs["rejector"])
    bound = rejecting.map({True: RUNNER_UP, False: COMPLEMENT})
    divided = rejecting & ~runs["sampling"].map(lambda sampling: decided_at(sampling) < inf).astype(bool)
    return (runs["bound"] == bound) & (runs["alpha_share"] == divided.map({True: 0.5, False: 1.0}))


def differing(runs: pd.DataFrame) -> list[str]:
    """The FACTS that differ between `runs`, which are those of `describe_runs`. Shares of alpha are compared between
    runs that divide it; numbers of draws and bounds between runs that do not join others, if there are any.
    """
    own = own_draws(runs)
    divided = own["alpha_share"][own["alpha_share"] < 1]
    compared = {"alpha_share": divided, **{column: own[column] for column in ("n0", "n", "bound")}}
    return [column for column in FACTS if varies(compared.get(column, runs[column]))]


def own_draws(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that do not join others, whose draws theirs follow from; all where there are no other."""
    joined = runs["sigma_rule"].map(lambda rule: read_rule(rule).name in JOINED).astype(bool)
    return runs if joined.all() else runs[~joined]


def origins(runs: pd.DataFrame) -> pd.Series:
    """The origin of each run's rows in one word: "own" where it sampled them, otherwise the first word of `source`,
    such as "imported"; str, by run_id.
    """
    return runs["source"].map(lambda source: "own" if pd.isna(source) else str(source).split()[0])


def is_imported(runs: pd.DataFrame) -> pd.Series:
    """Which runs were imported from another tool's log; bool, by run_id."""
    return origins(runs) == "imported"


def varies(column: pd.Series) -> bool:
    """Whether a column holds more than one value; null is a value."""
    return len(column.unique()) > 1
