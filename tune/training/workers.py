"""Several processes train one network, each on its local images of every batch: Ray Train starts them, torch's
DistributedDataParallel averages their gradients.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, TypeAlias

import pandas as pd
import torch

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.progress.progress_bars import Display
from raysmooth.pipeline.ray_cluster.cluster import Cluster, connected
from raysmooth.tune.recipes.settings import TrainingSettings
from raysmooth.tune.training.card import readable
from raysmooth.tune.training.task import TrainingTask, run_training
from raysmooth.tune.training.trainer import EpochResult, WorkerRank
from raysmooth.tune.training.training_data import MOST_WORKERS
from raysmooth.tune.training.training_folder import metrics_of

MakeTask: TypeAlias = Callable[[Any, torch.device], TrainingTask]

LOOK_SECONDS = 1.0
"""How often to read the metrics that the first worker writes."""

RESTARTS = 3
"""How often a training whose workers are lost resumes from its last epoch."""


def on_workers(settings: TrainingSettings, make_task: MakeTask, show: bool) -> None:
    """Train with `settings.workers` workers, one GPU each where the cluster has GPUs, else one core each.

    All must reach `settings.out` and the data by the same paths. Raises RaysmoothError as training in one process does,
    for a machine with too few cores or GPUs, and for workers that are still lost after `RESTARTS` restarts.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    out = Path(settings.out).expanduser().absolute()
    settings = settings.model_copy(update={"out": str(out)})
    with connected(settings.address, False, Display(show).note) as cluster, TemporaryDirectory() as scratch:
        resource = _resource(settings, cluster)
        make_task(settings.model_copy(update={"compile": "off"}), torch.device("cpu"))  # refuse before workers start
        trainer = TorchTrainer(
            _work,
            train_loop_config={"settings": settings, "make_task": make_task, "folder": os.getcwd()},
            scaling_config=ScalingConfig(num_workers=settings.workers, use_gpu=resource == "GPU"),
            run_config=RunConfig(
                name="training", storage_path=scratch, failure_config=FailureConfig(max_failures=RESTARTS)
            ),
        )
        _refused(out).unlink(missing_ok=True)
        with _watching(out, show) as display:
            display.note(f"starting {settings.workers} workers, one {resource} each")
            try:
                trainer.fit()
            except SystemExit:  # Ray Train turns Ctrl-C into this
                raise KeyboardInterrupt from None
            except TrainingFailedError as error:
                failures = getattr(error, "worker_failures", {})
                reason = one_line(next((f"{type(e).__name__}: {e}" for e in failures.values()), str(error)))
                raise RaysmoothError(
                    f"training stopped after {RESTARTS} restarts: {reason}; rerun the same command to resume"
                ) from error
        if _refused(out).exists():
            reason = _refused(out).read_text()
            _refused(out).unlink()
            raise RaysmoothError(reason)


def _work(config: dict[str, Any]) -> None:
    """Runs in each worker. A refusal would recur, so it ends the training instead of restarting it."""
    from ray import train
    from ray.train.torch import get_device

    if os.path.isdir(config["folder"]):
        os.chdir(config["folder"])
    settings = config["settings"]
    refused = _refused(Path(settings.out))
    if refused.exists():
        return
    context = train.get_context()
    worker = WorkerRank(context.get_world_rank(), context.get_world_size())
    if settings.loader_workers is None:  # the machine's workers share its cores
        cores = max(1, (os.cpu_count() or 1) // context.get_local_world_size())
        settings = settings.model_copy(update={"loader_workers": min(MOST_WORKERS, cores)})
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    try:
        run_training(settings, config["make_task"](settings, get_device()), worker, show=False)
    except RaysmoothError as refusal:
        refused.write_text(str(refusal))
        raise


def _refused(out: Path) -> Path:
    """The file in which a worker leaves the message of its refusal."""
    return out.with_name(f".{out.stem}.refused")


def _resource(settings: TrainingSettings, cluster: Cluster) -> str:
    """What each worker occupies, "GPU" or "CPU core"; raises RaysmoothError where this machine has too few."""
    if settings.device not in ("auto", "cpu", "cuda"):
        raise RaysmoothError(f"--device {settings.device} with --workers: write auto, cpu or cuda, one GPU per worker")
    if settings.device == "cuda" and not cluster.gpus:
        raise RaysmoothError("--device cuda: Ray sees no GPUs: write --device auto")
    resource, available = (
        ("GPU", cluster.gpus) if settings.device != "cpu" and cluster.gpus else ("CPU core", cluster.cpus)
    )
    if cluster.local and settings.workers > available:
        raise RaysmoothError(
            f"--workers {settings.workers} do not fit this machine's {available:g} {resource}s: write "
            f"--workers {available:g}"
        )
    return resource


@contextmanager
def _watching(out: Path, show: bool) -> Iterator[Display]:
    """Prints a line for each epoch that the first worker records: its own progress bar is not visible here."""
    done = Event()
    metrics = metrics_of(out)
    with Display(show) as display:

        def follow(seen: int) -> None:
            ended = False
            while not ended:
                ended = done.wait(LOOK_SECONDS)
                rows = _read(metrics)
                for row in rows[min(seen, len(rows)) :]:
                    display.note(_line(row))
                seen = len(rows)

        watcher = Thread(target=follow, args=(len(_read(metrics)),), daemon=True)
        watcher.start()
        try:
            yield display
        finally:
            done.set()
            watcher.join()


def _read(metrics: Path) -> list[dict[str, float]]:
    rows = pd.read_csv(metrics).to_dict("records") if metrics.exists() else []
    return [{str(name): float(value) for name, value in row.items()} for row in rows]


def _line(row: dict[str, float]) -> str:
    measured = {name: value for name, value in row.items() if name not in {field.name for field in fields(EpochResult)}}
    speed = f"{row['images_per_second']:,.0f} images/s"
    return f"epoch {row['epoch']:.0f}: loss {row['loss']:.4f}, {speed}, {readable(measured)}"
