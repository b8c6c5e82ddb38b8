"""Small searches for noise levels, computed in this process by a replica: real rows and manifests, without Ray."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from small_runs import DEVICE_KIND

from raysmooth.actors.replica.replica import Replica
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.drawing.search_ledger import SearchLedger
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA
from raysmooth.pipeline.runs.search_run import SearchRun
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.search_store import SearchStore

SEARCH = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "batch_size": 4}
"""Of digits, four of which are searched together."""

DDRS = "ddrs:steps=3,learning_rate=0.01"


def searched(out: Path, **settings: Any) -> str:
    """A whole search; its run id."""
    with opened_search(out, **settings) as (ledger, step):
        while step():
            pass
        ledger.conclude()
        return ledger.run_id


def rows_of_search(out: Path, run: str) -> pd.DataFrame:
    """Its rows, in the order of images and steps."""
    return read_rows(out, "sigmas", run)


@contextmanager
def opened_search(out: Path, **settings: Any) -> Iterator[tuple[SearchLedger, Callable[[], bool]]]:
    """A session of such a search: its ledger, and a function that computes its next unit; False if there was none."""
    asked = user_settings(OPTIMIZE_SIGMA.settings, {"out": str(out), "search": DDRS, **SEARCH, **settings})
    (planned,) = prepare(OPTIMIZE_SIGMA, asked)
    assert isinstance(planned, SearchRun)
    here = ReplicaIdentity(DEVICE_KIND, torch.__version__, np.__version__, "here", 1)
    replica = Replica("cpu", torch.get_num_threads())

    def step() -> bool:
        if (request := ledger.next_request()) is None:
            return False
        ids = request.unit.image_ids
        drawn = replica.draw([request.unit], [(0, one) for one in ids], *(request.images[one] for one in ids))
        ledger.record(UnitResult(request, drawn.counts[0] if drawn.counts else None, drawn.failed))
        return True

    with SearchStore(out, planned.manifest(here, {})) as store:
        ledger = SearchLedger(0, planned.continued(store.manifest), store)
        replica.prepare([ledger.sampling], [planned.image_shape])
        yield ledger, step
