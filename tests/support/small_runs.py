"""Small runs on disk, drawn in this process: real counts, rows and manifests, without Ray."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.replica import device_kind
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.drawing.ledger import Ledger
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.run_store import RunStore

CPU = torch.device("cpu")
DEVICE_KIND = device_kind(CPU)  # here, since Python starts `uname` for it, which tests without processes may not


def certified(out: Path, **settings: Any) -> str:
    """Certify with these settings, in float32 and batches of 50, and return the run's id."""
    with opened(out, **settings) as (ledger, step):
        while step():
            pass
        ledger.conclude()
        return ledger.run_id


@contextmanager
def opened(out: Path, **settings: Any) -> Iterator[tuple[Ledger, Callable[[], bool]]]:
    """A session of such a run: its ledger, and a function that draws its next unit; False if there was none."""
    procedure = PROCEDURES["certify"]
    (planned,) = prepare(procedure, user_settings(procedure.settings, {"out": str(out), **settings}))
    planned = replace(planned, compute=ComputeConfig("float32", False, 50))
    model = load_base_classifier(planned.base, CPU).model
    here = ReplicaIdentity(DEVICE_KIND, torch.__version__, np.__version__, "here", 1)

    def step() -> bool:
        if (request := ledger.next_request()) is None:
            return False
        seed = planned.settings.seed
        try:
            drawn = draw(request.unit, request.images, model, planned.noise, seed=seed, batch_size=50, device=CPU)
        except ValueError as error:
            ledger.record(UnitResult(request, None, str(error)))
        else:
            ledger.record(UnitResult(request, drawn))
        return True

    with RunStore(out, procedure.folder, procedure.schema, planned.manifest(here, {})) as store:
        ledger = Ledger(0, planned.continued(store.manifest), store)
        yield ledger, step
