"""The words for runs: what all of them share is said once, in a caption; what differs names each."""

from collections.abc import Collection
from decimal import Decimal

import pandas as pd

from actors.refusal import Refusal
from pipeline.metrics import labelled

FACTS = {
    "dataset": "{}",
    "split": "{} split",
    "index_set": "{}",
    "classifier": "classifier {}",
    "noise": "{} noise",
    "norm": "{} norm",
    "sigma": "sigma {}",
    "n0": "n0={}",
    "n": "n={}",
    "alpha": "alpha={}",
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

    Columns: the SETTINGS, `rows` (how many of the run's `images` are finished), `measure` (LABELLED or
    UNLABELLED). Raises Refusal if there are no rows, or if the rows of one run disagree about a setting: no
    line of a table could say what such a run promises.
    """
    if rows.empty:
        raise Refusal("no certificate rows to report: give the rows of a run that has finished an image")
    for column in SETTINGS:
        values = rows[["run_id", column]].dropna().drop_duplicates()
        if (mixed := values.loc[values["run_id"].duplicated(), "run_id"]).size:
            raise Refusal(f"run {mixed.iloc[0]} has rows of more than one {column}: move its folder away, run it again")
    by_run = rows.groupby("run_id")
    runs = by_run[SETTINGS].first()
    runs["rows"] = by_run.size()
    runs["measure"] = [LABELLED if labelled(rows[rows["run_id"] == run]) else UNLABELLED for run in runs.index]
    runs["denoised"] = runs["denoiser"] != "none"
    order = ["dataset", "split", "classifier", "sigma", "denoised", "denoiser", "objective", "run_id"]
    return runs.sort_values(order, na_position="first").drop(columns="denoised")


def differing(runs: pd.DataFrame) -> list[str]:
    """Those of the FACTS that are not the same in all runs (as `describe_runs` gives them)."""
    return [column for column in FACTS if varies(runs[column])]


def caption(runs: pd.DataFrame, without: Collection[str] = ()) -> str:
    """One line: the FACTS that all runs share, except those in `without`, and what the certificates promise.

    A denoiser that is shortened elsewhere stands there in full.
    """
    shared = [column for column in FACTS if column not in {*differing(runs), *without}]
    words = {column: FACTS[column].format(runs[column].iloc[0]) for column in shared}
    sampling = [words.pop(column) for column in ("n0", "n", "alpha") if column in words]
    denoisers = runs.loc[runs["denoiser"] != short_denoisers(runs), "denoiser"].unique()
    sure = str(1 - Decimal(str(runs["alpha"].iloc[0]))) if "alpha" in shared else "1 - alpha"
    phrases = [*words.values(), *(f"denoiser {denoiser}" for denoiser in denoisers), *sampling]
    return f"{', '.join(phrases)}: each certificate holds with probability at least {sure}"


def short_denoisers(runs: pd.DataFrame) -> pd.Series:
    """Each run's denoiser without its options, unless these tell two of them apart; str, by run_id."""
    short = runs["denoiser"].str.split(":").str[0]
    return short if len(set(short)) == len(set(runs["denoiser"])) else runs["denoiser"]


def twins(runs: pd.DataFrame) -> pd.Series:
    """Which runs no column tells apart, so that they need their run id; bool, by run_id.

    Weights, seed and kind of device, for example, have no column.
    """
    return runs.duplicated([*FACTS, "denoiser", "objective", "measure"], keep=False)


def run_names(runs: pd.DataFrame) -> pd.Series:
    """What tells each run from the others apart from sigma, as short as can be; str, by run_id."""
    short = short_denoisers(runs)
    one_denoiser = not varies(short[short != "none"])
    names = []
    for facts, denoiser, twin in zip(runs.reset_index().to_dict("records"), short, twins(runs), strict=True):
        words = [FACTS[column].format(facts[column]) for column in differing(runs) if column != "sigma"]
        if denoiser == "none" and (pd.isna(facts["objective"]) or facts["objective"] in PLAIN):
            words.append("no denoiser")
        elif denoiser == "none":
            words.append(f"{facts['objective']} classifier")
        elif pd.isna(facts["objective"]):
            words.append(denoiser)
        else:
            words.append(f"{facts['objective'].upper()} {'denoiser' if one_denoiser else denoiser}")
        if facts["measure"] == UNLABELLED and varies(runs["measure"]):
            words.append("class unchecked")
        if twin:
            words.append(f"run {facts['run_id'][:8]}")
        names.append(", ".join(words))
    return pd.Series(names, runs.index)


def run_labels(runs: pd.DataFrame) -> list[str]:
    """A legend's line for each run: its name, its sigma if sigmas differ, how far it is if unfinished."""
    labels = []
    for name, facts in zip(run_names(runs), runs.to_dict("records"), strict=True):
        sigma = f", sigma {facts['sigma']}" if varies(runs["sigma"]) else ""
        done, images = facts["rows"], facts["images"]
        unfinished = f" (unfinished: {done} of {images})" if done < images else ""
        labels.append(name + sigma + unfinished)
    return labels


def varies(column: pd.Series) -> bool:
    """Whether a column holds more than one value; null is a value."""
    return len(column.unique()) > 1
