"""A sweep's report: a table of its trials, a plot of their metric, and the commands that train the winner again."""

import shlex
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysmooth.pipeline.report.figures.curves import plot_curves
from raysmooth.pipeline.report.figures.figure_file import PAPER_DPI, save_figure
from raysmooth.pipeline.report.rounding import floored
from raysmooth.tune.sweeps.settings import SweepSettings, training_settings
from raysmooth.tune.sweeps.trials import MEAN, Winner, best_first
from raysmooth.tune.sweeps.warm_starts import warm_start_key, warm_sweep
from raysmooth.tune.training.trainings import TRAININGS

_MOST_LABELS = 12
"""Most lines of a figure to name in its legend."""


def trial_table(rows: pd.DataFrame, sweep: SweepSettings) -> pd.DataFrame:
    """A row for each trial, the best first: differing settings, epochs done, the metric at the last validation."""
    metric, column = sweep.chosen_metric, sweep.metric_column
    last = rows[rows["last"]].copy()
    columns = _varying(last, sweep)
    if column is not None:
        if column not in last:
            last[column] = np.nan
        last = best_first(last, sweep, column)
    table = last[["trial_id", "status", *columns]].copy()
    epoch = last["epoch"] if "epoch" in last else pd.Series(0, last.index)
    table["epochs"] = [
        f"{0 if pd.isna(done) else int(done)}/{'?' if pd.isna(of) else int(of)}"
        for done, of in zip(epoch, last["epochs"], strict=True)
    ]
    if metric is not None:
        table[str(metric)] = last[column]
        if len(sweep.seeds) > 1:
            table[MEAN] = last[MEAN]
    elif (default := TRAININGS[sweep.train].summary_metric) in last:
        table[default] = last[default]
    if last["error"].notna().any():
        table["error"] = last["error"].fillna("")
    return table.reset_index(drop=True)


def printed(table: pd.DataFrame, sweep: SweepSettings) -> pd.DataFrame:
    """The table as text; a metric is never rounded to a better value."""

    def rounded(value: float) -> str:
        return "" if np.isnan(value) else _worse(value, sweep)

    def text(value: Any) -> str:
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.4g}"
        return "" if value is None else str(value)

    columns = {str(sweep.chosen_metric), MEAN}
    return table.apply(lambda column: column.map(rounded if column.name in columns else text))


def print_trials(rows: pd.DataFrame, sweep: SweepSettings, winner: Winner | None) -> None:
    """Print the table, why the winner won, where its weights are, and the commands that train it again."""
    text = printed(trial_table(rows, sweep), sweep).drop(columns="error", errors="ignore")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in text.columns:
        table.add_column(_in_words(str(name)), overflow="fold")
    for cells in text.itertuples(index=False):
        table.add_row(*map(Text, cells))
    Console().print(table)
    if winner is not None:
        print(f"\n{how_chosen(sweep, winner, rows)}\nweights: {winner.weights}\nto train it again:")
        for line in command_lines(sweep, winner):
            print(f"  {line}")


def _in_words(name: str) -> str:
    return name.replace(":radius=", " at radius ").replace("_", " ")


def _worse(value: float, sweep: SweepSettings) -> str:
    """With four decimals, rounded to the worse side."""
    # 0.7 in binary is a little less than 0.7: it must not become 0.6999.
    exact = Fraction(f"{value:.12g}")
    metric = sweep.chosen_metric
    assert metric is not None
    return floored(exact, 4) if metric.entry.mode == "max" else floored(-exact, 4).removeprefix("-")


def plot_trials(rows: pd.DataFrame, sweep: SweepSettings, winner: Winner | None) -> Figure | None:
    """The metric over the epochs, a line for each trial, the winner's in front; None without a metric, or if no trial
    was validated.
    """
    column = sweep.metric_column
    if column is None or column not in rows or rows[column].notna().sum() == 0:
        return None
    validated = rows[rows[column].notna()]
    differing = _varying(rows, sweep)
    figure = Figure(figsize=(1000 / 150, 4.4), layout="constrained")
    axes = figure.add_subplot()
    trials = list(dict.fromkeys(validated["trial_id"]))
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(trials)))
    for trial_id, colour in zip(trials, colours, strict=True):
        own = validated[validated["trial_id"] == trial_id]
        best = winner is not None and trial_id == winner.trial_id
        first = own.iloc[0]
        label = _words(first, differing) or str(trial_id)
        labelled = best or len(trials) <= _MOST_LABELS
        axes.plot(
            own["epoch"],
            own[column],
            color="#D55E00" if best else colour,
            linewidth=2.4 if best else 1.2,
            zorder=3 if best else 2,
            marker="o" if len(own) < 15 else None,
            markersize=3.5,
            label=(f"{label} (best)" if best else label) if labelled else None,
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel(_in_words(str(sweep.chosen_metric)))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(_caption(rows, sweep), x=0.02, ha="left", fontsize=8)
    figure.legend(loc="outside lower center", ncols=2 if len(trials) > 3 else 1, fontsize=8, frameon=False)
    return figure


def _caption(rows: pd.DataFrame, sweep: SweepSettings) -> str:
    trials = rows["trial_id"].nunique()
    return f"{trials} trials on {sweep.settings.get('dataset', '')}, judged on {_judged_on(rows, sweep)}"


def _judged_on(rows: pd.DataFrame, sweep: SweepSettings) -> str:
    metric, validation = sweep.chosen_metric, sweep.validation
    if metric is None or not metric.entry.certifies:
        return "held-out training images"
    images = int(rows["validation_images"].max())
    certified = f"n0={validation.n0}, n={validation.n}, alpha={validation.alpha:g}"
    return f"certificates of {images} held-out training images ({certified})"


def how_chosen(sweep: SweepSettings, winner: Winner, rows: pd.DataFrame) -> str:
    """Why the winner won, in one line."""
    metric = sweep.chosen_metric
    assert metric is not None
    validated = rows.loc[rows[metric.entry.column[sweep.train]].notna(), "trial_id"].nunique()
    trials = f"{validated} trials" if validated > 1 else "1 trial"
    value = f"{_worse(winner.value, sweep)} after epoch {winner.epoch}"
    if len(sweep.seeds) > 1:
        value = f"{_worse(winner.mean, sweep)} on average over {winner.seeds} seeds; the best of them has {value}"
    return f"best of {trials} by {metric}: {value}, on {_judged_on(rows, sweep)}"


def command_lines(sweep: SweepSettings, winner: Winner, out: str = "best.safetensors") -> list[str]:
    """The commands that train the winner again, ready to paste."""
    own = {**sweep.values(winner.config), "threads": sweep.cpus_per_trial}
    if sweep.warm_start is None:
        return [_command(sweep, {**own, "out": out})]
    warm, start = warm_sweep(sweep, sweep.warm_start), f"{sweep.warm_start.objective}.safetensors"
    configs = {warm_start_key(training_settings(warm, one, Path(start))): one for one in warm.trial_configs}
    key = warm_start_key(training_settings(sweep, winner.config, Path(out)))
    first = {**warm.values(configs[key]), "seed": sweep.warm_start.seed, "threads": sweep.cpus_per_trial}
    return [_command(warm, {**first, "out": start}), _command(sweep, {**own, "init_weights": start, "out": out})]


def _command(sweep: SweepSettings, values: dict[str, Any]) -> str:
    """`raysmooth train` with these values, without those that are defaults."""
    parts = [f"raysmooth train {sweep.train}"]
    fields = sweep.settings_class.model_fields
    for name, value in values.items():
        if value == fields[name].default:
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool) and fields[name].annotation is not bool:
            value = "on" if value else "off"  # as written: YAML reads these words as booleans
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(flag if value is True else f"{flag} {shlex.quote(text)}")
    return " ".join(parts)


def named_after_trials(certificates: pd.DataFrame, rows: pd.DataFrame, sweep: SweepSettings) -> pd.DataFrame:
    """Certificates of several trials, with the trials' differing settings added to their objectives: otherwise all
    trials would have the same name in a table and a legend.
    """
    trials = rows[rows["last"]].set_index("weights_fingerprint")
    differing = _varying(trials, sweep)
    names = {digest: _words(trial, differing) for digest, trial in trials.iterrows() if digest is not None}
    own = certificates[f"{sweep.train}_fingerprint"].map(names)
    if own.nunique() < 2:
        return certificates
    return certificates.assign(objective=certificates["objective"] + ", " + own)


def write_sweep_report(
    rows: pd.DataFrame,
    sweep: SweepSettings,
    winner: Winner | None,
    out: Path,
    certificates: pd.DataFrame | None = None,
) -> list[Path]:
    """Write trials.csv, trials.md and, if trials were validated, trials.png to `<out>/report`; with certificates,
    curves.png too. Returns the files.
    """
    folder = out / "report"
    folder.mkdir(parents=True, exist_ok=True)
    table = trial_table(rows, sweep)
    files = [folder / "trials.csv", folder / "trials.md"]
    table.to_csv(files[0], index=False, lineterminator="\n")
    text = printed(table, sweep).to_markdown(index=False, disable_numparse=True)
    if winner is not None:
        commands = "\n".join(command_lines(sweep, winner))
        text += f"\n\n{how_chosen(sweep, winner, rows)}; weights: {winner.weights}\n\n```bash\n{commands}\n```"
    files[1].write_text(text + "\n", encoding="utf-8")
    figure = plot_trials(rows, sweep, winner)
    if figure is not None:
        files.append(folder / "trials.png")
        save_figure(figure, files[-1], flag="--out")
    if certificates is not None:
        files.append(folder / "curves.png")
        save_figure(plot_curves(named_after_trials(certificates, rows, sweep)), files[-1], flag="--out", dpi=PAPER_DPI)
    return files


def _varying(rows: pd.DataFrame, sweep: SweepSettings) -> list[str]:
    """The settings that differ among these rows."""
    return [name for name in sweep.differing if name in rows and len(rows[name].drop_duplicates()) > 1]


def _words(trial: pd.Series, differing: list[str]) -> str:
    """'optimizer adam, learning rate 0.001'."""
    return ", ".join(f"{name.replace('_', ' ')} {_short(trial[name])}" for name in differing)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else Path(str(value)).name
