"""Certificates recomputed from stored counts, without new draws: with another alpha, fewer draws, another bound on the
other classes, in another norm, without the run's rejector, or so that all of them hold at once.

The draws decide which changes are valid. A run with "fixed" sampling supports all of them: its first draws are those of
a run with fewer. An adaptive run fixed the number of estimation draws of an image before making them, so every bound at
every alpha is valid; with a smaller n, its pilots would have chosen other numbers. A run that decides one radius
stopped by its evidence about that radius, which may be compared with another alpha at any time (Ville's inequality),
but supports no other statement.

Draws that a rejector rejected keep their class in the counts. Without the rejector (--rejection off) the counts of an
image are those of kept and rejected draws together, which the same draws have without one.

The guarantee is that of each recertification by itself, not of the best of several, chosen image by image after
looking.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import split_list
from raysmooth.pipeline.analysis.sigmas.limits import MEMORY
from raysmooth.pipeline.derived.changes import Changes, way_of
from raysmooth.pipeline.derived.levels_run import LevelsRun
from raysmooth.pipeline.derived.memory_run import memory_runs
from raysmooth.pipeline.derived.recertified_run import RecertifiedRun
from raysmooth.pipeline.derived.relabelled_run import ALPHA_SHARED, RelabelledRun, of_apis
from raysmooth.pipeline.derived.source_runs import SourceRun, source_runs
from raysmooth.pipeline.queries.query_folder import QueryFolder
from raysmooth.pipeline.runs.apis.open_labels import open_vocabulary
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.run_store import RunStore
from raysmooth.storage.location import Where
from raysmooth.storage.object_store import notify

_CERTIFY = PROCEDURES["certify"]


def _rejecting(sources: Sequence[SourceRun], results: Where) -> list[SourceRun]:
    """Those that have a rejector. Raises RaysmoothError if none has; names those that have none, if there are any."""
    found = [source for source in sources if source.is_rejecting]
    if not found:
        raise RaysmoothError(f"--rejection: no run in {results} has a rejector: write 'raysmooth certify --rejector'")
    if others := [source.run_id for source in sources if not source.is_rejecting]:
        notify(f"without a rejector, left out: {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}")
    return found


def recertify(
    results: Where,
    runs: str | Sequence[str] | None = None,
    *,
    alpha: float | None = None,
    n: int | None = None,
    noise_bound: str | None = None,
    familywise: float | None = None,
    norm: str | None = None,
    alpha_share: float | None = None,
    rejection: str | None = None,
    label_rule: str | None = None,
    accepted: str | None = None,
    envelope: str | Sequence[str] | None = None,
    worst_sigma: str | Sequence[str] | None = None,
    memory: bool = False,
    data_root: str | None = None,
    top_k: int | None = None,
) -> pd.DataFrame:
    """Certify the images of runs in `results` again, from their stored counts: `runs` by their ids or unambiguous first
    characters (one text may name several, separated by commas), by default all runs sampled there.

    `alpha`; `n`: use the first n estimation draws of each image, in whole blocks; `noise_bound`, an entry of
    NOISE_BOUNDS; `alpha_share`, the fraction of alpha for pA where alpha is split; `familywise`, delta: every image of
    a run at alpha = delta / images; `norm`; `rejection`, "off" for certificates of the same draws without the run's
    rejector (with "on" or "off", `runs` are by default those that have one); `top_k`, top-k certificates too, see
    `certification.top_k`; `label_rule` and `accepted`, other labels
    of the same answers of a vision API, from the query log in `results`, with nothing asked and no data set read: see
    `RelabelledRun`. Each source run becomes another run in
    `results`, whose rows name it in `source`; their `seconds` are those of the draws used. Repeating the call writes
    only rows of images that the source has finished since. If one run is refused, nothing is written.

    `envelope` and `worst_sigma` name runs at several noise levels instead, which become one run: see `LevelsRun`. With
    `memory` the runs' certificates are those of a classifier that remembers its answers: see `MemoryRun`; these runs
    may be recertified ones too, and their images are read from `data_root` if they have moved.

    Returns one row per image, as `certify` does. Raises RaysmoothError for changes that the counts do not support.
    """
    changes = Changes(alpha, n, noise_bound, familywise, norm, alpha_share, rejection, label_rule, accepted, top_k)
    way = way_of(changes, runs=runs, envelope=envelope, worst_sigma=worst_sigma, memory=memory, data_root=data_root)
    if way == "--memory":
        return _remembered(results, _several(runs), data_root)
    if way is not None:
        sources = source_runs(results, _several(worst_sigma if envelope is None else envelope), way)
        return _written(results, [LevelsRun.of(sources, changes, way == "--worst-sigma")])
    sources = source_runs(results, chosen := _several(runs))
    if changes.labels is not None:
        return _relabelled(results, sources if chosen is not None else _asking(sources, results, changes), changes)
    if rejection is not None and chosen is None:
        sources = _rejecting(sources, results)
    return _written(results, [RecertifiedRun(source, changes) for source in sources])


def _asking(sources: Sequence[SourceRun], results: Where, changes: Changes) -> list[SourceRun]:
    """Those that asked a vision API. Raises RaysmoothError if none did."""
    if not (found := of_apis(sources)):
        raise RaysmoothError(
            f"{changes.labels}: no run in {results} asked a vision API, whose answers have several labels"
        )
    return found


def _relabelled(results: Where, sources: Sequence[SourceRun], changes: Changes) -> pd.DataFrame:
    """From the query log. While labels are added to the vocabulary, no other process may ask."""
    with QueryFolder(results) as queries:
        labels = open_vocabulary(results, queries.verify)
        rows = _written(results, [RelabelledRun(source, changes, labels) for source in sources])
    notify(ALPHA_SHARED)
    return rows


def _several(runs: str | Sequence[str] | None) -> Sequence[str] | None:
    return (split_list(runs) or [runs]) if isinstance(runs, str) else runs


def _remembered(results: Where, chosen: Sequence[str] | None, data_root: str | None) -> pd.DataFrame:
    planned = memory_runs(results, chosen, data_root)
    rows = _written(results, planned)
    for one in planned:
        notify(one.summary(rows[rows["run_id"] == one.run_id]))
    notify(MEMORY)
    return rows


class DerivedRun(Protocol):
    """A run whose rows follow from those of others."""

    @property
    def run_id(self) -> str: ...

    @property
    def manifest(self) -> dict[str, Any]: ...

    def new_rows(self, out: Where, done: Collection[int]) -> list[dict[str, Any]]:
        """Rows of the images that are not `done`."""


def _written(results: Where, planned: Sequence[DerivedRun]) -> pd.DataFrame:
    """The rows of the `planned` runs, after writing those that are new."""
    begun = {one.run_id: read_rows(results, _CERTIFY.folder, one.run_id) for one in planned}
    new = [one.new_rows(results, set(begun[one.run_id].get("image_id", ()))) for one in planned]
    for one, rows in zip(planned, new, strict=True):
        if rows:
            with RunStore(results, _CERTIFY.folder, _CERTIFY.schema, one.manifest) as store:
                for row in rows:
                    if row["image_id"] not in store.finished:
                        store.add_row(row)
    return pd.concat([read_rows(results, _CERTIFY.folder, one.run_id) for one in planned], ignore_index=True)
