"""Surrogate ensembles: the classifiers trained by one sweep, given as the sweep's folder."""

from pathlib import Path

import pandas as pd

from raysmooth.common.errors import RaysmoothError

SWEEP, TRIALS, WEIGHTS = "sweep.json", "trials", "weights"
"""Names in a sweep's folder: its settings, the table of its trials, and their weights."""


def members(written: str) -> list[str] | None:
    """The weights files of an ensemble, FOLDER of a sweep or FOLDER:K for its first K trials, in the order of the
    trials; None if `written` is not a sweep's folder.

    Raises RaysmoothError for an unfinished sweep and one of denoisers, a failed trial, missing weights, and fewer
    trials than K.
    """
    folder, count = _split(written)
    if not (folder / SWEEP).is_file():
        return None
    if not (folder / TRIALS).is_dir():
        raise RaysmoothError(
            f"--surrogates {written}: the sweep in {folder} is not finished: rerun 'raysmooth sweep' to finish it"
        )
    trials = pd.read_parquet(folder / TRIALS, columns=["trial_id", "train", "status", "last"])
    trials = trials[trials["last"]]
    if (trials["train"] != "classifier").any():
        raise RaysmoothError(
            f"--surrogates {written}: the sweep in {folder} trained denoisers: give a sweep of classifiers"
        )
    if count is not None and count > len(trials):
        raise RaysmoothError(
            f"--surrogates {written}: the sweep has {len(trials)} classifiers: write {folder}:{len(trials)}"
        )
    files = []
    for trial_id, status in trials[["trial_id", "status"]].head(count or len(trials)).itertuples(index=False):
        file = folder / WEIGHTS / f"{trial_id}.safetensors"
        if status != "finished":
            raise RaysmoothError(
                f"--surrogates {written}: trial {trial_id} of the ensemble is {status}: rerun its sweep, or list the "
                "weights files"
            )
        if not file.is_file():
            raise RaysmoothError(f"--surrogates {written}: {file} is missing: rerun the ensemble's sweep")
        files.append(str(file))
    return files


def _split(written: str) -> tuple[Path, int | None]:
    folder, _, count = written.rpartition(":")
    if folder and count.isdigit() and int(count) > 0:
        return Path(folder).expanduser(), int(count)
    return Path(written).expanduser(), None
