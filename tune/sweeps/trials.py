"""The results of a sweep's trials: their rows in Parquet, their weights, and the winner."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raysmooth.actors.models.own_callable import source_digest
from raysmooth.actors.models.weights import Weights, fingerprint_of, read_weights
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.common.variant import Variant
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.training.ensemble import TRIALS, WEIGHTS

MEAN, SEEDS = "mean over seeds", "seeds"
STATUS = {"TERMINATED": "finished", "ERROR": "failed"}
"""Ray Tune's words for ended trials, and ours; a trial that ended before its last epoch is "stopped"."""


@dataclass(frozen=True)
class Winner:
    """The best trial by the sweep's metric: its config, its value, its weights. `mean` is the mean value of the `seeds`
    trials that differ only in their seed. The best mean wins, and of its trials the best.
    """

    trial_id: str
    config: Mapping[str, Any]
    value: float
    mean: float
    seeds: int
    epoch: int
    weights: Path


@dataclass(frozen=True)
class Trial:
    """One trial at its end: `epochs` are the rows of its metrics.csv; `card` belongs to its weights, if it has any."""

    trial_id: str
    status: str
    error: str | None
    config: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]]
    weights: Path | None
    fingerprint: str | None
    card: Mapping[str, Any] | None


def collect(analysis: Any, out: Path) -> list[Trial]:
    """All trials of Ray Tune's `analysis`, in the order of their creation. Their weights, those of the last validated
    epoch, are copied below `out`.
    """
    trials = sorted(analysis.trials, key=lambda trial: str(trial.trial_id))
    return [_collected(trial, out / WEIGHTS / f"{trial.trial_id}.safetensors") for trial in trials]


def _collected(trial: Any, weights: Path) -> Trial:
    last = trial.last_result or {}
    status = STATUS.get(trial.status, "unfinished")
    if status == "finished" and last.get("epoch", 0) != last.get("epochs"):  # or was never validated
        status = "stopped"
    epochs: list[dict[str, Any]] = []
    kept = None
    # A killed sweep may have lost the checkpoint that its saved state names: see `trial.fetch`.
    if trial.checkpoint is not None and _is_there(trial.checkpoint):
        with trial.checkpoint.as_directory() as folder:
            table = pd.read_csv(Path(folder) / "metrics.csv")
            epochs = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
            weights.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(weights) as partial:
                shutil.copyfile(Path(folder) / "last.safetensors", partial)
        kept = read_weights(weights)
    return Trial(
        trial.trial_id,
        status,
        _reason(trial) if status == "failed" else None,
        dict(trial.config),
        epochs,
        weights if kept is not None else None,
        _fingerprint(kept) if kept is not None else None,
        dict(kept.card) if kept is not None else None,
    )


def _is_there(checkpoint: Any) -> bool:
    """Whether the folder of a checkpoint exists, in its own storage."""
    return bool(checkpoint.filesystem.get_file_info(checkpoint.path).type)


def _fingerprint(weights: Weights) -> str:
    """The fingerprint that certificates of a network with these weights have."""
    tensors = fingerprint_of(weights.state_dict)
    return source_digest(Variant.parse(str(weights.card["architecture"])), tensors) or tensors


def _reason(trial: Any) -> str:
    """Why a trial failed, on one line. Ray's errors end with the exception, after its traceback."""
    error = trial.get_pickled_error() or trial.get_error()
    cause = getattr(error, "cause", None) or error
    line, kind = one_line(cause, limit=500, last=True), type(cause).__name__
    return line if isinstance(cause, RaysmoothError) or line == kind else f"{kind}: {line}"


def write_trials(trials: Sequence[Trial], sweep: SweepSettings, out: Path) -> pd.DataFrame:
    """Write `<out>/trials/part-0.parquet`, a row for each epoch of each trial (one, without metrics, for a trial that
    was never validated), and return it.

    Columns: trial_id, status, error; every setting that differs between trials; the optimizer and learning_rate of the
    recipe; epoch, epochs, loss, epoch_learning_rate, steps, images_per_second and the metrics; `last`, whether it is
    the trial's last row; weights and weights_fingerprint (in certificates: denoiser_fingerprint or
    classifier_fingerprint); settings and card as JSON.
    """
    rows = []
    for trial in trials:
        values = sweep.values(trial.config)
        recipe = (trial.card or {}).get("recipe", {})
        phases = recipe.get("phases", [])
        differing = {key: _plain(values.get(key)) for key in sweep.differing if key != "seed"}
        differing["seed"] = trial.config.get("seed")
        common = {
            "trial_id": trial.trial_id,
            "status": trial.status,
            "error": trial.error,
            "train": sweep.train,
            **differing,
            "recipe": recipe.get("name"),
            "optimizer": "+".join(str(phase["optimizer"]) for phase in phases) or values.get("optimizer"),
            "learning_rate": float(phases[-1]["learning_rate"]) if phases else values.get("learning_rate"),
            "epochs": recipe.get("epochs", values.get("epochs")),
            "weights": None if trial.weights is None else str(trial.weights),
            "weights_fingerprint": trial.fingerprint,
            "settings": json.dumps(values, default=str),
            "card": None if trial.card is None else json.dumps(trial.card),
            "epoch": None,
        }
        epochs = trial.epochs or [{}]
        for number, epoch in enumerate(epochs):
            renamed = {("epoch_learning_rate" if key == "learning_rate" else key): v for key, v in epoch.items()}
            rows.append({**common, **renamed, "last": number == len(epochs) - 1})
    frame = pd.DataFrame(rows)
    file = out / TRIALS / "part-0.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as partial:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), partial)
    return frame


def _plain(value: Any) -> Any:
    """A list as one text, since a column has one type."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def winner_of(rows: pd.DataFrame, sweep: SweepSettings, trials: Sequence[Trial]) -> Winner | None:
    """The best trial by its last validation; None without a metric, or if no trial was validated."""
    column = sweep.metric_column
    if column is None or column not in rows:
        return None
    validated = rows[rows[column].notna() & rows["last"] & rows["weights"].notna()]
    if validated.empty:
        return None
    best = best_first(validated, sweep, column).iloc[0]
    return Winner(
        trial_id=best["trial_id"],
        config=next(trial.config for trial in trials if trial.trial_id == best["trial_id"]),
        value=float(best[column]),
        mean=float(best[MEAN]),
        seeds=int(best[SEEDS]),
        epoch=int(best["epoch"]),
        weights=Path(best["weights"]),
    )


def best_first(last: pd.DataFrame, sweep: SweepSettings, column: str) -> pd.DataFrame:
    """Last rows of trials, sorted by the metric in `column`: first by its mean over the trials that differ only in the
    seed, then by the trial's own value, then by the average certified radius, if known. Adds the columns `MEAN`, and
    `SEEDS` with the number of values in the mean. Rows without a value come last.
    """
    keys = [key for key in sweep.differing if key != "seed"]
    groups = last.groupby(keys, dropna=False)[column] if keys else last.groupby(lambda _: 0)[column]
    ranked = last.assign(**{MEAN: groups.transform("mean"), SEEDS: groups.transform("count")})
    metric = sweep.chosen_metric
    low = metric is not None and metric.entry.mode == "min"
    ties = [name for name in ("acr",) if name in last and name != column]
    by = [MEAN, column, *ties, "trial_id"]
    return ranked.sort_values(by, ascending=[low, low, *(False for _ in ties), True], kind="stable", na_position="last")
