"""Surrogate ensembles: the classifiers that one sweep trained, taken by the sweep's name."""

from pathlib import Path

import pandas as pd

from raysmooth.common.errors import RaysmoothError

SWEEP, TRIALS, WEIGHTS = "sweep.json", "trials", "weights"
"""What a sweep leaves in its folder: which it is, the rows of its trials, and what they gave."""


def members(written: str) -> list[str] | None:
    """The weights of the ensemble that `written` names, FOLDER of a sweep or FOLDER:K for its first K trials, in the
    order of the trials; None where it names none.

    Raises RaysmoothError for a sweep that has not ended or trained something else, for a trial of it that failed, weights that
    are gone, and fewer members than are asked for.
    """
    folder, count = _split(written)
    if not (folder / SWEEP).is_file():
        return None
    if not (folder / TRIALS).is_dir():
        raise RaysmoothError(
            f"--surrogates {written}: the sweep in {folder} has not ended: run 'raysmooth sweep' again first"
        )
    trials = pd.read_parquet(folder / TRIALS, columns=["trial_id", "train", "status", "last"])
    trials = trials[trials["last"]]
    if (trials["train"] != "classifier").any():
        raise RaysmoothError(
            f"--surrogates {written}: the sweep in {folder} trained denoisers: give one of classifiers"
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
                f"--surrogates {written}: trial {trial_id} of the ensemble has {status}: run its sweep again, or write "
                f"the files one by one"
            )
        if not file.is_file():
            raise RaysmoothError(f"--surrogates {written}: {file} is missing: run the ensemble's sweep again")
        files.append(str(file))
    return files


def _split(written: str) -> tuple[Path, int | None]:
    folder, _, count = written.rpartition(":")
    if folder and count.isdigit() and int(count) > 0:
        return Path(folder).expanduser(), int(count)
    return Path(written).expanduser(), None
