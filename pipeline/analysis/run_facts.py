"""The facts of runs: one row a run, with what it is and what its numbers promise."""

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.metrics import FIXED, bounds, labelled, mean_draws, samplings

IMPORTED = "imported from "
"""How `source` begins for rows of another tool's log; the log's file name follows."""

RECERTIFIED = "recertified from "
"""How `source` begins for rows made from the stored counts of another run; its run id follows."""

FACTS = {
    "dataset": "{}",
    "split": "{} split",
    "index_set": "{}",
    "classifier": "classifier {}",
    "noise": "{} noise",
    "norm": "{} norm",
    "sigma": "sigma {:.6}",  # of uniform:0.5 it has all the digits of 0.5 / sqrt(3)
    "sampling": "{}",
    "n0": "n0={}",
    "n": "n={}",
    "alpha": "alpha={}",
    "bound": "{} bound",
}
"""The columns that say what a run's numbers promise, and how each is worded in a caption or a label."""

SETTINGS = [*FACTS, "denoiser", "objective", "images"]
"""The columns that are equal in all rows of a run."""

PLAIN = ("none", "clean")
"""The objectives of classifiers that were not trained for noise, as far as is known."""

LABELLED, UNLABELLED = "certified accuracy", "certified (class unchecked)"
"""What the heights of a curve, and the columns of a table, measure."""


def describe_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a run, indexed by run_id, in the order of tables and legends.

    Columns: the SETTINGS, null where unknown, `source` (whence the rows are, null if the run drew them), `rows` (how
    many of the run's `images` are finished; where the size of the index set is unknown, all are taken to be), `measure`
    (LABELLED or UNLABELLED), `draws` (mean an image, NaN if unknown), `bound` (as `bounds` has it). Rows without
    `sampling` were sampled FIXED. Raises RaysmoothError if there are no rows, or if the rows of one run disagree about
    a setting: no line of a table could say what such a run promises.
    """
    if rows.empty:
        raise RaysmoothError("no certificate rows to report: give the rows of a run that has finished an image")
    rows = rows.assign(sampling=samplings(rows), source=rows.get("source"), bound=bounds(rows))
    parts = by_run(rows)
    codes, ids = pd.factorize(rows["run_id"])
    columns = {column: _shared(rows[column], codes, ids) for column in (*SETTINGS, "source")}
    runs = pd.DataFrame(columns, pd.Index(ids, name="run_id"))
    runs["sigma"] = runs["sigma"].astype(float)
    runs["rows"] = [len(own) for own in parts.values()]
    runs["images"] = runs["images"].astype("Int64").fillna(runs["rows"]).astype(int)
    for column in ("n0", "n"):  # whole numbers, which one null among them made floats
        runs[column] = runs[column].astype("Int64" if runs[column].isna().any() else int)
    runs["quantity"] = [LABELLED if labelled(own) else UNLABELLED for own in parts.values()]
    runs["draws"] = [mean_draws(own) for own in parts.values()]
    first = runs.assign(denoised=runs["denoiser"] != "none", spared=runs["sampling"] != FIXED)
    order = ["dataset", "split", "classifier", "sigma", "denoised", "denoiser", "objective", "spared", "sampling"]
    return runs.loc[first.sort_values([*order, "run_id"], na_position="first").index]


def _shared(column: pd.Series, codes: np.ndarray, ids: pd.Index) -> np.ndarray:
    """What all rows of a run that are not null say in a column, in the order of `ids`; null where all are. `codes`, int
    (N,), says which of `ids` each row is of.
    """
    values, known = pd.factorize(column)  # -1 for null
    said = values >= 0
    own = np.full(len(ids), -1)
    own[codes[said]] = values[said]
    if len(mixed := ids[codes[said & (values != own[codes])]]):
        raise RaysmoothError(
            f"run {mixed[0]} has rows of more than one {column.name}: move its folder away, run it again"
        )
    return pd.Series(known).reindex(own).to_numpy()


def differing(runs: pd.DataFrame) -> list[str]:
    """Those of the FACTS that are not the same in all runs (as `describe_runs` gives them)."""
    return [column for column in FACTS if varies(runs[column])]


def origins(runs: pd.DataFrame) -> pd.Series:
    """Whence each run's rows are, in a word: "own" where it drew them, else that of `source`, as "imported"; str, by
    run_id.
    """
    return runs["source"].map(lambda source: "own" if pd.isna(source) else str(source).split()[0])


def is_imported(runs: pd.DataFrame) -> pd.Series:
    """Which runs are another tool's; bool, by run_id."""
    return origins(runs) == "imported"


def varies(column: pd.Series) -> bool:
    """Whether a column holds more than one value; null is a value."""
    return len(column.unique()) > 1
