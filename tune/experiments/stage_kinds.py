"""The kinds of stages that an experiment is made of: one entry each."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator, model_validator

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Settings, checked
from raysmooth.common.variant import Variant
from raysmooth.pipeline.pictures.gallery_settings import GallerySettings
from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings
from raysmooth.pipeline.runs.settings import CertifySettings, NoisySettings, PredictSettings
from raysmooth.pipeline.store.manifest import CERTIFICATES
from raysmooth.storage.object_store import notify
from raysmooth.tune.experiments.choose_stage import checked_choice, chosen
from raysmooth.tune.experiments.results import Result, count_rows, file_hash
from raysmooth.tune.experiments.serve_stage import checked_serving, served
from raysmooth.tune.recipes.settings import TrainingSettings
from raysmooth.tune.sweeps.settings import SweepSettings


@dataclass(frozen=True)
class ReadyRun:
    """A stage run that can start: its `settings` are checked, with paths in place of references."""

    name: str
    settings: BaseModel


@dataclass(frozen=True)
class Context:
    """What stage runs share: the experiment's folder, the Ray cluster, and whether to show progress."""

    out: Path
    address: str | None
    show: bool


class ReportSettings(Settings):
    """Report"""

    radii: list[float] | None = Field(None, description="Radii of our table. Default: those of `raysmooth report`.")
    where: list[str] = Field(
        [],
        description="Conditions of the runs in our table, page and curves, as --where of `raysmooth report` has them.",
    )

    @field_validator("where")
    @classmethod
    def _refuse_bad_conditions(cls, where: list[str]) -> list[str]:
        from raysmooth.pipeline.analysis.run_selection import refuse_bad_conditions

        refuse_bad_conditions(where)
        return where


class RecertifySettings(Settings):
    """Recertify"""

    run: str | None = Field(None, description="The run whose certificates change: @STAGE.")
    memory: bool = Field(False, description="Those of a classifier that remembers its answers.")
    envelope: list[str] | None = Field(None, description="Runs at several noise levels to join: [@STAGE, @STAGE].")
    worst_sigma: list[str] | None = Field(None, description="The same, for what holds at whichever of them.")
    alpha: float | None = Field(None, description="Failure probability of each certificate.")
    n: int | None = Field(None, description="Estimation draws to use.")
    noise_bound: str | None = Field(None, description="complement, runner-up or rejection.")
    familywise: float | None = Field(None, description="Failure probability of all certificates together.")
    norm: str | None = Field(None, description="Norm of the radii.")
    alpha_share: float | None = Field(None, description="Fraction of alpha for pA.")
    rejection: str | None = Field(None, description="off: without the rejector of the run.")
    label_rule: str | None = Field(None, description="Another label of a vision API's answers.")
    accepted: str | None = Field(None, description="Other labels that count as a class.")
    top_k: int | None = Field(None, description="Also certify that a class stays among the k most likely.")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "RecertifySettings":
        from raysmooth.pipeline.derived.changes import Changes, way_of  # it loads SciPy

        changes = Changes(**{field.name: getattr(self, field.name) for field in fields(Changes)})
        way = way_of(changes, runs=self.run, envelope=self.envelope, worst_sigma=self.worst_sigma, memory=self.memory)
        if way in (None, "--memory") and self.run is None:
            raise RaysmoothError("recertify changes the certificates of one stage: write run: @STAGE")
        return self


@dataclass(frozen=True)
class StageKind:
    """`check` makes the settings of a stage run, and raises RaysmoothError for every error that can be found without
    opening a file. `outputs(name)` are its settings that say where results go, below the experiment's folder. `execute`
    executes stage runs and returns a result for each; with `together`, consecutive stage runs of this kind in one call.

    `trains` is the training, such as "classifier", or "sweep" for stages that make weights; `chooses`: its result are
    the weights of another stage; `serve` keeps its result, an endpoint, alive while other stages need it; `samples`:
    draws noise samples for runs of certify, predict or optimize-sigma; `derives`: makes runs from the rows of others. A
    stage run of a `one_sigma` kind has a single noise level; one that `keeps_sigma` fills in "{sigma}" itself. Data
    settings are under the key `data`, "" for the top level; None: the kind has none.
    """

    summary: str
    check: Callable[[Mapping[str, Any]], BaseModel]
    outputs: Callable[[str], Mapping[str, str]]
    execute: Callable[[Sequence[ReadyRun], Context], list[Result]] | None
    trains: str | None = None
    chooses: bool = False
    serve: Callable[[Any], AbstractContextManager[str]] | None = None
    samples: bool = False
    derives: bool = False
    one_sigma: bool = False
    keeps_sigma: bool = False
    together: bool = False
    data: str | None = ""

    def with_data(self, data: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """`values`, with the settings in `data` that they do not have."""
        if self.data is None:
            return dict(values)
        if self.data:
            return {**values, self.data: {**data, **values.get(self.data, {})}}
        return {**data, **values}

    @property
    def has_rows(self) -> bool:
        """Whether its results are runs."""
        return self.samples or self.derives

    @property
    def has_weights(self) -> bool:
        return self.trains is not None or self.chooses

    @property
    def needs_ray(self) -> bool:
        return self.samples or self.trains == "sweep"


def _checked_training(name: str, values: Mapping[str, Any]) -> TrainingSettings:
    from raysmooth.tune.training.trainings import TRAININGS

    training = TRAININGS[name]
    settings = checked(training.settings, values)
    training.choose(settings)
    return settings


def _train(train: Callable[[Any, bool], Path], runs: Sequence[ReadyRun], context: Context) -> list[Result]:
    results = []
    for run in runs:
        settings: Any = run.settings
        if context.address is not None and settings.workers > 1:
            settings = settings.model_copy(update={"address": context.address})
        results.append(_weights_result(train(settings, context.show), context.out))
    return results


def _training(name: str, train: Callable[[Any, bool], Path]) -> StageKind:
    return StageKind(
        f"raysmooth train {name}",
        partial(_checked_training, name),
        lambda stage_run: {"out": f"weights/{stage_run}.safetensors"},
        partial(_train, train),
        trains=name,
    )


def _weights_result(file: Path, out: Path, digest: str | None = None, folder: str | None = None) -> Result:
    from raysmooth.actors.models.weights import read_weights

    path, found = _relative(file, out), file_hash(file)
    architecture = str(Variant.parse(str(read_weights(file).card["architecture"])))
    return Result(digest or found, path, architecture, folder, files={path: found})


def _relative(file: Path, out: Path) -> str:
    return str(file.resolve().relative_to(out.resolve()))


def _checked_sweep(values: Mapping[str, Any]) -> SweepSettings:
    sweep = checked(SweepSettings, values)
    start = {} if sweep.warm_start is None else {"init_weights": "warm-start.safetensors"}
    for config in sweep.trial_configs:
        _checked_training(sweep.train, {**sweep.values(config), **start, "out": "weights.safetensors"})
    return sweep


def _sweep(runs: Sequence[ReadyRun], context: Context) -> list[Result]:
    return [_sweep_result(run, context) for run in runs]


def _sweep_result(run: ReadyRun, context: Context) -> Result:
    from raysmooth.tune.sweeps.report import print_trials, write_sweep_report
    from raysmooth.tune.sweeps.sweep import run_sweep

    sweep: Any = run.settings
    swept = run_sweep(sweep.model_copy(update={"address": context.address or sweep.address}), context.show)
    folder = Path(sweep.out)
    write_sweep_report(swept.trials, sweep, swept.winner, folder, swept.certificates)
    if context.show:
        print_trials(swept.trials, sweep, swept.winner)
    last = swept.trials[swept.trials["last"]]
    failed = last[last["status"] == "failed"]
    if len(failed) and (swept.winner is None or len(failed) == len(last)):
        raise RaysmoothError(
            f"{run.name}: {len(failed)} of {len(last)} trials failed; the first: {failed['error'].iloc[0]}; rerun the "
            "same command to retry them"
        )
    best = None if swept.winner is None else swept.winner.trial_id
    digest = settings_hash([best, *map(str, last["weights_fingerprint"])])
    if swept.winner is not None:
        return _weights_result(swept.winner.weights, context.out, digest, _relative(folder, context.out))
    weights = [Path(path) for path in last["weights"].dropna()]
    files = {_relative(path, context.out): file_hash(path) for path in weights}
    return Result(digest, folder=_relative(folder, context.out), files=files)


def _sample(name: str, runs: Sequence[ReadyRun], context: Context) -> list[Result]:
    """All on one pool; stage runs with the same settings share a run of the procedure `name`."""
    from raysmooth.pipeline.drawing.driver import run_all
    from raysmooth.pipeline.runs.procedures import PROCEDURES
    from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA

    procedure: Any = OPTIMIZE_SIGMA if name == OPTIMIZE_SIGMA.name else PROCEDURES[name]
    settings: list[Any] = [run.settings for run in runs]
    settings = [one.model_copy(update={"address": context.address or one.address}) for one in settings]
    results = []
    for run_ids in run_all(procedure, settings, context.show):
        rows = {run_id: count_rows(context.out, procedure.folder, run_id) for run_id in run_ids}
        results.append(Result(settings_hash(rows), rows_in=procedure.folder, runs=rows))
    return results


def _sampling(name: str, settings: type[NoisySettings], summary: str) -> StageKind:
    return StageKind(
        summary,
        partial(checked, settings),
        lambda name: {"out": ""},
        partial(_sample, name),
        samples=True,
        one_sigma=True,
        together=True,
    )


def _recertify(runs: Sequence[ReadyRun], context: Context) -> list[Result]:
    from raysmooth.pipeline.derived.recertify import recertify

    results = []
    for run in runs:
        settings: Any = run.settings
        given = {name: value for name, value in settings.model_dump().items() if name != "run"}
        rows = recertify(context.out, settings.run, **given)
        found = {str(run_id): count_rows(context.out, CERTIFICATES, str(run_id)) for run_id in rows["run_id"].unique()}
        results.append(Result(settings_hash(found), rows_in=CERTIFICATES, runs=found))
    return results


def _choose(runs: Sequence[ReadyRun], context: Context) -> list[Result]:
    results = []
    for run in runs:
        weights, words = chosen(context.out, run)
        if context.show:
            notify(words)
        results.append(_weights_result(weights, context.out))
    return results


def _serve(runs: Sequence[ReadyRun], context: Context) -> list[Result]:
    """What will be served: the server itself starts when a stage needs it."""
    settings: list[Any] = [run.settings for run in runs]
    return [Result(one.digest) for one in settings]


def _gallery(runs: Sequence[ReadyRun], context: Context) -> list[Result]:
    from raysmooth.pipeline.pictures.gallery import gallery

    results = []
    for run in runs:
        settings: Any = run.settings
        gallery(settings)
        path, found = _relative(Path(settings.out), context.out), file_hash(Path(settings.out))
        results.append(Result(found, files={path: found}))
    return results


STAGE_KINDS: Registry[StageKind] = Registry(
    "kind of stage",
    {
        "train classifier": _training("classifier", LateCallable("raysmooth.tune.training.train:train_classifier")),
        "train denoiser": _training("denoiser", LateCallable("raysmooth.tune.training.train:train_denoiser")),
        "train rejector": _training("rejector", LateCallable("raysmooth.tune.training.train:train_rejector")),
        "sweep": StageKind(
            "raysmooth sweep; gives its winner, or all its networks",
            _checked_sweep,
            lambda name: {"out": f"sweeps/{name}"},
            _sweep,
            "sweep",
            data="settings",
        ),
        "certify": _sampling("certify", CertifySettings, "raysmooth certify"),
        "predict": _sampling("predict", PredictSettings, "raysmooth predict"),
        "optimize-sigma": _sampling("optimize-sigma", OptimizeSigmaSettings, "raysmooth optimize-sigma"),
        "recertify": StageKind(
            "raysmooth recertify, of the runs of other stages",
            partial(checked, RecertifySettings),
            lambda name: {},
            _recertify,
            derives=True,
            data=None,
        ),
        "choose": StageKind(
            "the network with the largest ACR, by certificates of held-out training images",
            checked_choice,
            lambda name: {},
            _choose,
            chooses=True,
            data=None,
        ),
        "serve": StageKind(
            "a classifier behind HTTP or gRPC on this machine, for the stages that ask it",
            checked_serving,
            lambda name: {"out": f"served/{name}.json"},
            _serve,
            serve=served,
            data=None,
        ),
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
