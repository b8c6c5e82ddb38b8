"""Surrogate ensembles: the classifiers trained by one sweep, given as the sweep's folder."""

import os
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa

from raysmooth.common.errors import RaysmoothError, one_line, printable

SWEEP, TRIALS, WEIGHTS = "sweep.json", "trials", "weights"
"""Names in a sweep's folder: its settings, the table of its trials, and their weights."""


_TRIAL_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def members(written: str) -> list[str] | None:
    """The weights files of an ensemble, FOLDER of a sweep or FOLDER:K for its first K trials, in the order of the
    trials; None if `written` is not a sweep's folder.

    Raises RaysmoothError for an unfinished sweep and one of denoisers, a failed trial, missing weights, and fewer
    trials than K.
    """
    folder, count = _split(written)
    if not os.path.isfile(folder / SWEEP):
        return None
    if not (folder / TRIALS).is_dir():
        raise RaysmoothError(
            f"--surrogates {written}: the sweep in {folder} is not finished: rerun 'raysmooth sweep' to finish it"
        )
    trials = _trials(written, folder)
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
                f"--surrogates {written}: trial {trial_id} of the ensemble is {printable(str(status))}: rerun its "
                "sweep, or list the weights files"
            )
        if not file.is_file():
            raise RaysmoothError(f"--surrogates {written}: {file} is missing: rerun the ensemble's sweep")
        files.append(str(file))
    return files


def _trials(written: str, folder: Path) -> pd.DataFrame:
    """The last rows of a sweep's trials. Raises RaysmoothError for files that are not such rows."""
    try:
        trials = pd.read_parquet(folder / TRIALS, columns=["trial_id", "train", "status", "last"])
        trials = trials[trials["last"].astype(bool)]
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise RaysmoothError(
            f"--surrogates {written}: {folder / TRIALS} does not hold a sweep's trials ({printable(one_line(error))}): "
            "rerun the ensemble's sweep"
        ) from None
    for trial_id in trials["trial_id"]:
        if not _TRIAL_ID.fullmatch(str(trial_id)):  # it is part of a path
            raise RaysmoothError(
                f"--surrogates {written}: {folder / TRIALS} has a trial '{printable(str(trial_id))}', which is no "
                "trial id: rerun the ensemble's sweep"
            )
    return trials


def _split(written: str) -> tuple[Path, int | None]:
    folder, _, count = written.rpartition(":")
    if folder and count.isdecimal() and len(count) < 10 and int(count) > 0:
        return Path(os.path.expanduser(folder)), int(count)
    return Path(os.path.expanduser(written)), None
