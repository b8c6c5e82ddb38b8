"""The kinds of stages that an experiment is made of: one row each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Settings, checked
from raysmooth.common.variant import Variant
from raysmooth.pipeline.pictures.gallery import gallery
from raysmooth.pipeline.pictures.gallery_settings import GallerySettings
from raysmooth.pipeline.runs.driver import run_jobs
from raysmooth.pipeline.runs.procedures import PROCEDURES, Procedure
from raysmooth.tune.experiments.stage import Result, Scene, Task, count_rows, file_hash
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings
from raysmooth.tune.sweeps.report import print_trials, write_sweep_report
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.sweep import run_sweep
from raysmooth.tune.training.classifier_task import choose_for_classifier
from raysmooth.tune.training.denoiser_task import choose_for_denoiser
from raysmooth.tune.training.train import train_classifier, train_denoiser


class ReportSettings(Settings):
    """Report"""

    radii: list[float] | None = Field(None, description="Radii of our table. Default: as `raysmooth report` has them.")


@dataclass(frozen=True)
class StageKind:
    """`check` makes a job's settings, which lie in `out` at `place(name)`, and raises RaysmoothError for whatever can be known
    to be wrong without opening a file. `carry_out` does one job, or several of a kind in a row where they are done
    `together`, and gives a result for each.

    `gives` says what its artefact is, "classifier", "denoiser" or "sweep"; `gives_runs` that it draws. Of its noise
    levels it takes `one_sigma` at a time, or `keeps_sigma` in paths for itself to fill in; `data` is the key that its
    data settings stand under, "" where they stand with the others, None where it has none.
    """

    summary: str
    check: Callable[[Mapping[str, Any]], BaseModel]
    place: Callable[[str], Mapping[str, str]]
    carry_out: Callable[[Sequence[Task], Scene], list[Result]] | None
    gives: str | None = None
    gives_runs: bool = False
    one_sigma: bool = False
    keeps_sigma: bool = False
    together: bool = False
    data: str | None = ""

    def with_data(self, data: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """`values`, and what they leave unsaid of the data."""
        if self.data is None:
            return dict(values)
        if self.data:
            return {**values, self.data: {**data, **values.get(self.data, {})}}
        return {**data, **values}

    @property
    def needs_ray(self) -> bool:
        return self.gives_runs or self.gives == "sweep"


def _checked_classifier(values: Mapping[str, Any]) -> TrainClassifierSettings:
    settings = checked(TrainClassifierSettings, values)
    choose_for_classifier(settings)
    return settings


def _checked_denoiser(values: Mapping[str, Any]) -> TrainDenoiserSettings:
    settings = checked(TrainDenoiserSettings, values)
    choose_for_denoiser(settings)
    return settings


def _train(train: Callable[[Any, bool], Path], tasks: Sequence[Task], scene: Scene) -> list[Result]:
    results = []
    for task in tasks:
        settings: Any = task.settings
        if scene.address is not None and settings.workers > 1:
            settings = settings.model_copy(update={"address": scene.address})
        results.append(_weights_result(train(settings, scene.show), scene.out))
    return results


def _weights_result(file: Path, out: Path, digest: str | None = None, folder: str | None = None) -> Result:
    relative, found = str(file.resolve().relative_to(out.resolve())), file_hash(file)
    architecture = str(Variant.parse(str(read_weights(file).card["architecture"])))
    return Result(digest or found, relative, architecture, folder, files={relative: found})


def _checked_sweep(values: Mapping[str, Any]) -> SweepSettings:
    sweep = checked(SweepSettings, values)
    choose: Callable[[Any], Any] = choose_for_classifier if sweep.train == "classifier" else choose_for_denoiser
    start = {} if sweep.warm_start is None else {"init_weights": "warm-start.safetensors"}
    for drawn in sweep.possible:
        choose(checked(sweep.training.settings, {**sweep.values(drawn), **start, "out": "weights.safetensors"}))
    return sweep


def _sweep(tasks: Sequence[Task], scene: Scene) -> list[Result]:
    results = []
    for task in tasks:
        sweep: Any = task.settings
        swept = run_sweep(sweep.model_copy(update={"address": scene.address or sweep.address}), scene.show)
        folder = Path(sweep.out)
        write_sweep_report(swept.trials, sweep, swept.winner, folder, swept.certificates)
        if scene.show:
            print_trials(swept.trials, sweep, swept.winner)
        last = swept.trials[swept.trials["last"]]
        failed = last[last["status"] == "failed"]
        if len(failed) and (swept.winner is None or len(failed) == len(last)):
            raise RaysmoothError(
                f"{task.name}: {len(failed)} of {len(last)} trials failed; the first: {failed['error'].iloc[0]}; the "
                "same command tries them again"
            )
        best = None if swept.winner is None else swept.winner.trial_id
        digest = settings_hash([best, *map(str, last["weights_fingerprint"])])
        relative = str(folder.resolve().relative_to(scene.out.resolve()))
        if swept.winner is not None:
            results.append(_weights_result(swept.winner.weights, scene.out, digest=digest, folder=relative))
        else:
            kept = [Path(path) for path in last["weights"].dropna()]
            files = {str(path.resolve().relative_to(scene.out.resolve())): file_hash(path) for path in kept}
            results.append(Result(digest, folder=relative, files=files))
    return results


def _sample(procedure: Procedure, tasks: Sequence[Task], scene: Scene) -> list[Result]:
    """All on one pool; jobs that ask for the same run share it."""
    jobs: list[Any] = [task.settings for task in tasks]
    jobs = [job.model_copy(update={"address": scene.address or job.address}) for job in jobs]
    results = []
    for own in run_jobs(procedure, jobs, scene.show):
        runs = {run_id: count_rows(scene.out, procedure.folder, run_id) for run_id in own}
        results.append(Result(settings_hash(runs), rows_in=procedure.folder, runs=runs))
    return results


def _sampling(name: str, summary: str) -> StageKind:
    procedure = PROCEDURES[name]
    return StageKind(
        summary,
        partial(checked, procedure.settings),
        lambda name: {"out": ""},
        partial(_sample, procedure),
        gives_runs=True,
        one_sigma=True,
        together=True,
    )


def _gallery(tasks: Sequence[Task], scene: Scene) -> list[Result]:
    results = []
    for task in tasks:
        settings: Any = task.settings
        gallery(settings)
        file = Path(settings.out)  # a stage's is in the experiment's folder
        relative, found = str(file.resolve().relative_to(scene.out.resolve())), file_hash(file)
        results.append(Result(found, files={relative: found}))
    return results


def _weights(name: str) -> dict[str, str]:
    return {"out": f"weights/{name}.safetensors"}


STAGE_KINDS: Registry[StageKind] = Registry(
    "kind of stage",
    {
        "train classifier": StageKind(
            "raysmooth train classifier", _checked_classifier, _weights, partial(_train, train_classifier), "classifier"
        ),
        "train denoiser": StageKind(
            "raysmooth train denoiser", _checked_denoiser, _weights, partial(_train, train_denoiser), "denoiser"
        ),
        "sweep": StageKind(
            "raysmooth sweep; its winner, or all that it trained",
            _checked_sweep,
            lambda name: {"out": f"sweeps/{name}"},
            _sweep,
            "sweep",
            data="settings",
        ),
        "certify": _sampling("certify", "raysmooth certify"),
        "predict": _sampling("predict", "raysmooth predict"),
        "gallery": StageKind(
            "raysmooth gallery",
            partial(checked, GallerySettings),
            lambda name: {"out": f"gallery/{name}.png"},
            _gallery,
            keeps_sigma=True,
        ),
        "report": StageKind(
            "our table and curves, and the paper's numbers beside ours",
            partial(checked, ReportSettings),
            lambda name: {},
            None,
            data=None,
        ),
    },
)
