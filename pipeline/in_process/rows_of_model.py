"""The rows of a model in this process: its runs are prepared and drawn as all runs are, by one drawer of units."""

import uuid
from dataclasses import replace
from time import monotonic

import numpy as np
import pandas as pd
import torch

from raysmooth.actors.compute.compute_config import ComputeConfig, native_precision
from raysmooth.actors.compute.own_process import borrowed_torch
from raysmooth.actors.compute.probe import default_batch
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.given_model import GivenModel
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.replica import identity_on
from raysmooth.actors.replica.unit_drawer import UnitDrawer
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.dataset import Dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.drawing.announced_runs import introduce
from raysmooth.pipeline.drawing.draw_all import draw_all
from raysmooth.pipeline.drawing.ledger import Ledger
from raysmooth.pipeline.in_process.lone_drawer import LoneDrawer
from raysmooth.pipeline.in_process.row_list import RowList
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.runs.network_facts import NetworkFacts, facts_of
from raysmooth.pipeline.runs.prepare import RunData, prepare
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.manifest import run_id


def rows_of_model(
    procedure: Procedure,
    settings: SamplingSettings,
    given: GivenModel,
    dataset: Dataset,
    device: torch.device,
    show_progress: bool = True,
) -> pd.DataFrame:
    """The rows of `procedure` for all images of `dataset` and each sigma, of the model `given`, on `device`; columns
    and types are those of the rows on disk. Nothing is written. `cpus_per_replica` of the settings are the threads.

    Each call's rows have run ids of their own: a model in memory may have changed since the last call, in ways that no
    hash can know. Raises RaysmoothError as `prepare`, and as drawing on a pool does.
    """
    progress, started = Progress(show_progress), monotonic()
    with borrowed_torch(device, settings.cpus_per_replica):
        runs = _runs(procedure, settings, given, dataset, device)
        introduce(runs, progress)
        compute = runs[0].compute
        assert compute is not None, "it is chosen"
        progress.note(
            f"raysmooth: computing in this process on {_named(device)}, in {compute.precision}, batches of "
            f"{compute.batch_size}"
        )
        here, call = identity_on(device), uuid.uuid4().hex
        stores = [RowList(run_id({**run.identity(here), "call": call})) for run in runs]
        ledgers = [Ledger(number, run, store) for number, (run, store) in enumerate(zip(runs, stores, strict=True))]
        drawer = UnitDrawer(device, given.load)
        with progress:
            drawer.prepare([ledger.sampling for ledger in ledgers], [run.image_shape for run in runs])
            draw_all(LoneDrawer(drawer), ledgers, progress, started)
    return pd.concat([store.frame(procedure.schema) for store in stores], ignore_index=True)


def _runs(
    procedure: Procedure, settings: SamplingSettings, given: GivenModel, dataset: Dataset, device: torch.device
) -> list[Run]:
    """One run for each sigma, all with one compute configuration, which follows from the arguments alone."""

    def facts(spec: BaseClassifierSpec, image: np.ndarray, noise: NoiseFamily) -> NetworkFacts:
        found = facts_of(given.load(spec, device), image, noise, device=str(device))
        if given.num_classes is not None and found.num_classes != given.num_classes:
            raise RaysmoothError(
                f"--num-classes {given.num_classes}: the model answers {found.num_classes} logits: leave it out"
            )
        return found

    data = RunData.of_dataset(dataset, IndexSet(len(dataset)), {})
    runs = prepare(procedure, settings, data, facts)
    precision = native_precision(device) if settings.precision == "auto" else settings.precision
    draws = int(sum(len(run.index_set) * run.draws_per_image for run in runs))
    batch_size = settings.batch_size or default_batch(device, runs[0].image_shape, draws)
    return [replace(run, compute=ComputeConfig(precision, False, batch_size)) for run in runs]


def _named(device: torch.device) -> str:
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"the CPU, with {threads} thread{'s' * (threads > 1)}"
    return torch.cuda.get_device_name(device)
