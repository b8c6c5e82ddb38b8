"""The ledgers of a command's runs, each in its store."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.pipeline.drawing.base_ledger import BaseLedger
from raysmooth.pipeline.drawing.ledger import Ledger
from raysmooth.pipeline.drawing.search_ledger import SearchLedger
from raysmooth.pipeline.runs.compute_choice import ChosenRun
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.search_run import SearchRun
from raysmooth.pipeline.store.run_store import RunStore
from raysmooth.pipeline.store.search_store import SearchStore


def open_ledgers(
    chosen: Sequence[ChosenRun],
    identity: ReplicaIdentity,
    stores: ExitStack,
    speed: Callable[[int], float | None],
) -> tuple[list[str], list[BaseLedger]]:
    """The ids of the `chosen` runs, and a ledger for each id, whose store is closed with `stores`. `speed` gives the
    expected draws per second of a run by its number.
    """
    ledgers: dict[tuple[str, str], BaseLedger] = {}
    ids = []
    for number, one in enumerate(chosen):
        manifest = one.run.manifest(identity, one.manifest_entry)
        ids.append(manifest["run_id"])
        place = (one.run.settings.out, ids[-1])
        if place not in ledgers:
            ledgers[place] = _opened(one, manifest, stores, len(ledgers), speed(number))
    return ids, list(ledgers.values())


def _opened(
    chosen: ChosenRun, manifest: dict[str, object], stores: ExitStack, index: int, speed: float | None
) -> BaseLedger:
    run = chosen.run
    if isinstance(run, SearchRun):
        searches = stores.enter_context(SearchStore(run.settings.out, manifest))
        return SearchLedger(index, run.continued(searches.manifest), searches, speed)
    assert isinstance(run, Run), run
    procedure = run.procedure
    store = stores.enter_context(RunStore(run.settings.out, procedure.folder, procedure.schema, manifest))
    return Ledger(index, run.continued(store.manifest), store, speed)
