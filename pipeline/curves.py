"""Certification curves, and the words for runs: what all share is said once, what differs names each."""

import re
from collections.abc import Collection
from decimal import Decimal
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from actors.refusal import Refusal
from pipeline.metrics import certified_accuracy, certified_radii, certified_share, labelled

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

LABELLED, UNLABELLED = "certified accuracy", "certified (class unchecked)"
"""What the heights of a curve, and the columns of a table, measure."""

# Okabe and Ito's palette, which colour-blind readers tell apart, without its yellow, too faint for a line.
_PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_DASHES: list[Any] = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2.5, 1))]


def draw_curves(rows: pd.DataFrame) -> Figure:
    """Certified accuracy against radius, a line a run, in a figure 1000 pixels wide at 150 dpi.

    `rows` are certificate rows of one run or more. Each line is the exact step function of its rows and falls
    to 0 behind the run's largest radius. Colour tells who (denoiser, objective, whatever else differs) and
    dashes tell sigma; where only sigma differs, colour tells sigma. Raises Refusal if there are no rows.
    """
    runs = describe_runs(rows)
    names, sigmas = run_names(runs), runs["sigma"]
    coloured, dashed = (names, sigmas) if _varies(names) else (sigmas, names)
    colours, dashes = pd.factorize(coloured)[0], pd.factorize(dashed)[0]
    palette = _PALETTE if max(colours) < len(_PALETTE) else _sequential(int(max(colours)) + 1)

    labels = [fill(label, 95) for label in run_labels(runs)]
    columns = _legend_columns(labels)
    legend_lines = "\n".join(labels).count("\n") // columns + 1
    figure = Figure(figsize=(1000 / 150, 3.9 + 0.17 * legend_lines), layout="constrained")
    axes = figure.add_subplot()
    for label, run, colour, dash in zip(labels, runs.index, colours, dashes, strict=True):
        radii, heights = certification_curve(rows[rows["run_id"] == run])
        style = {"color": palette[colour], "linestyle": _DASHES[dash % len(_DASHES)], "linewidth": 1.6}
        axes.plot(radii, heights, drawstyle="steps-pre", label=label, **style)

    axes.set(xlim=(0, None), ylim=(0, 1.02))
    axes.set_xlabel(" / ".join(f"{norm} radius" for norm in runs["norm"].unique()))
    # Where both kinds of run are drawn, the legend tells those whose classes nobody could check.
    axes.set_ylabel("certified" if _varies(runs["measure"]) else runs["measure"].iloc[0])
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    # Lines of the title break between phrases only: the spaces inside them become no-break spaces.
    phrases = re.sub(r"(?<![,:]) ", "\N{NO-BREAK SPACE}", caption(runs))
    figure.suptitle(fill(phrases, 105), x=0.02, ha="left", fontsize=8)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    return figure


def certification_curve(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The corners of one run's curve: radii, ascending from 0, and heights, both float64 (M,).

    The curve at any r has the height of the first corner at or right of r (matplotlib's steps-pre): a radius
    counts up to and including itself.
    """
    radii = np.unique(np.append(0.0, certified_radii(rows)))
    radii = radii[radii >= 0]
    if len(radii) > 1:
        radii = np.append(radii, np.nextafter(radii[-1], np.inf))
    return radii, (certified_accuracy if labelled(rows) else certified_share)(rows, radii)


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
    return [column for column in FACTS if _varies(runs[column])]


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
    one_denoiser = not _varies(short[short != "none"])
    names = []
    for facts, denoiser, twin in zip(runs.reset_index().to_dict("records"), short, twins(runs), strict=True):
        words = [FACTS[column].format(facts[column]) for column in differing(runs) if column != "sigma"]
        if denoiser == "none":
            words.append("no denoiser")
        elif pd.isna(facts["objective"]):
            words.append(denoiser)
        else:
            words.append(f"{facts['objective'].upper()} {'denoiser' if one_denoiser else denoiser}")
        if facts["measure"] == UNLABELLED and _varies(runs["measure"]):
            words.append("class unchecked")
        if twin:
            words.append(f"run {facts['run_id'][:8]}")
        names.append(", ".join(words))
    return pd.Series(names, runs.index)


def run_labels(runs: pd.DataFrame) -> list[str]:
    """A legend's line for each run: its name, its sigma if sigmas differ, how far it is if unfinished."""
    labels = []
    for name, facts in zip(run_names(runs), runs.to_dict("records"), strict=True):
        sigma = f", sigma {facts['sigma']}" if _varies(runs["sigma"]) else ""
        done, images = facts["rows"], facts["images"]
        unfinished = f" (unfinished: {done} of {images})" if done < images else ""
        labels.append(name + sigma + unfinished)
    return labels


def _varies(column: pd.Series) -> bool:
    """Whether a column holds more than one value; null is a value."""
    return len(column.unique()) > 1


def _legend_columns(labels: list[str]) -> int:
    """Two where the longest labels of both halves fit side by side, else one."""
    half = (len(labels) + 1) // 2
    return 2 if sum(max(map(len, part), default=0) for part in (labels[:half], labels[half:])) <= 90 else 1


def _sequential(size: int) -> list[str]:
    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.9, size))]
