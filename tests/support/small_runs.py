"""Small runs on disk, drawn in this process: real counts, rows and manifests, without Ray."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.base_classifier import load_base_classifier
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.replica import device_kind
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.settings import checked
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.runs.ledger import Ledger
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.run import prepare
from raysmooth.pipeline.store.run_store import RunStore

CPU = torch.device("cpu")


def certified(out: Path, **settings: Any) -> str:
    """Certify what the settings say, in float32 and batches of 50, and return the run's id."""
    with opened(out, **settings) as (ledger, step):
        while step():
            pass
        ledger.conclude()
        return ledger.run_id


@contextmanager
def opened(out: Path, **settings: Any) -> Iterator[tuple[Ledger, Callable[[], bool]]]:
    """A session of such a run: its ledger, and what draws its next unit, if there is one."""
    procedure = PROCEDURES["certify"]
    (planned,) = prepare(procedure, checked(procedure.settings, {"out": str(out), **settings}))
    planned = replace(planned, path=ComputeConfig("float32", False, 50))
    model = load_base_classifier(planned.base, CPU).model
    here = ReplicaIdentity(device_kind(CPU), torch.__version__, np.__version__, "here", 1)

    def step() -> bool:
        if (order := ledger.next_order()) is None:
            return False
        seed = planned.settings.seed
        try:
            drawn = draw(order.unit, order.images, model, planned.noise, seed=seed, batch_size=50, device=CPU)
        except ValueError as error:
            ledger.take(UnitResult(order, None, str(error)))
        else:
            ledger.take(UnitResult(order, drawn))
        return True

    with RunStore(out, procedure.folder, procedure.schema, planned.manifest(here, {})) as store:
        ledger = Ledger(0, planned, store)
        yield ledger, step
