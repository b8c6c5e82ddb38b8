"""Where imported rows come from: their column `source`, and the shortest name for each of several logs."""

from pathlib import PurePath

import pandas as pd

from raysmooth.common.errors import printable
from raysmooth.pipeline.analysis.run_facts import IMPORTED

ANSWERS = ".jsonl"
"""How the name of a file of answers ends, whose certificates are made here; all other files are logs of them."""

_COLUMN, _CAPPED = ", radius column ", ", radii capped"
_LONGEST = 120
"""Characters of a path in `source`: longer ones lose their beginning, which distinguishes less than the end."""


def imported_from(path: str, radius_column: str = "radius", capped: bool = False) -> str:
    """The column `source` of the rows of the log `path`; `capped`: whether radii of it were reduced to the largest that
    its setting can give.
    """
    parts = [printable(part) for part in PurePath(path).parts]
    shown = PurePath(*parts)
    while len(str(shown)) > _LONGEST and len(parts) > 1:
        shown = PurePath(*(parts := parts[1:]))
    column = "" if radius_column == "radius" else f"{_COLUMN}{printable(radius_column)}"
    return f"{IMPORTED}{shown}{column}{_CAPPED if capped else ''}"


def are_capped(runs: pd.DataFrame) -> pd.Series:
    """Which runs have radii that were capped when they were imported; bool, by run_id."""
    return runs["source"].map(lambda source: str(source).startswith(IMPORTED) and str(source).endswith(_CAPPED))


def are_logged(runs: pd.DataFrame) -> pd.Series:
    """Which runs have radii that another tool has logged, not made here of others' answers; bool, by run_id."""
    return runs["source"].map(lambda source: str(source).startswith(IMPORTED) and not str(source).endswith(ANSWERS))


def log_names(runs: pd.DataFrame) -> pd.Series:
    """The name of each imported run's log with as many of its folders as distinguish it from the logs of the other
    `runs`, such as "macer/noise_0.25.tsv", and the column of its radii if that is not the usual one; "" for runs that
    were not imported; str, by run_id.
    """
    paths, columns = {}, {}
    for run, source in runs["source"].items():
        if isinstance(source, str) and source.startswith(IMPORTED):
            path, _, columns[run] = source.removeprefix(IMPORTED).removesuffix(_CAPPED).partition(_COLUMN)
            paths[run] = PurePath(path).parts
    different = set(paths.values())
    names = {run: _shortest(path, different) + (columns[run] and f" ({columns[run]})") for run, path in paths.items()}
    return pd.Series([names.get(run, "") for run in runs.index], runs.index, dtype=object)


def _shortest(path: tuple[str, ...], others: set[tuple[str, ...]]) -> str:
    for length in range(1, len(path)):
        end = path[-length:]
        if not any(other != path and other[-length:] == end for other in others):
            return "/".join(end)
    return str(PurePath(*path))
