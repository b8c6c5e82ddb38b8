"""Settings of a sweep: the keys of its experiment file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field, model_validator

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Settings, checked
from raysmooth.pipeline.runs.noise_setting import settled_noise
from raysmooth.pipeline.runs.settings import CertifySettings, DataSettings
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings, TrainingSettings
from raysmooth.tune.sweeps.metrics import ChosenMetric
from raysmooth.tune.sweeps.schedulers import ChosenScheduler, parse_scheduler
from raysmooth.tune.sweeps.search_space import Domain, SearchSpace, corners, grid_size, is_grid, parse_domain
from raysmooth.tune.training.classifier_task import classifier_task
from raysmooth.tune.training.denoiser_task import denoiser_task
from raysmooth.tune.training.task import TrainingTask

SEARCHES = ("grid", "random", "optuna")

MOST_COMBINATIONS = 10_000
"""Of values that may be drawn: each is checked before anything is trained."""

NOT_SEARCHED = ("out", "overwrite", "workers", "address", "seed", "threads", "device", "loader_workers", "keep")
"""Settings of a training that a sweep decides itself."""


@dataclass(frozen=True)
class Training:
    """A kind of training that can be swept: its settings, what carries them out, and which of its metrics a table shows
    where the sweep has none.
    """

    settings: type[TrainingSettings]
    assign: Callable[[Any, torch.device], TrainingTask]
    shown: str


TRAININGS: Registry[Training] = Registry(
    "training",
    {
        "classifier": Training(TrainClassifierSettings, classifier_task, "accuracy"),
        "denoiser": Training(TrainDenoiserSettings, denoiser_task, "psnr"),
    },
)


class ValidationSettings(Settings):
    """How trials are judged while they train: on held-out images of the training split, never on test images."""

    every: int = Field(1, description="Epochs from one judgement to the next; the last epoch is always judged.", ge=1)
    images: int = Field(50, description="Held-out images to certify.", ge=1)
    n0: int = Field(100, description="Selection draws an image.", ge=1)
    n: int = Field(1000, description="Estimation draws an image.", ge=1)
    alpha: float = Field(0.001, description="Probability with which an image's statement may be wrong.", gt=0, lt=1)


class PlateauSettings(Settings):
    """When a trial's metric has stopped to change."""

    results: int = Field(4, description="Judgements to look back on.", ge=2)
    std: float = Field(0.005, description="A trial ends when their standard deviation is below this.", gt=0)
    grace: int = Field(4, description="Judgements before a trial may end so.", ge=1)


class WarmStartSettings(Settings):
    """The training whose weights all trials begin with: trained once for each network and noise, before them."""

    objective: str = Field("mse", description="Its objective.")
    recipe: str | None = Field(None, description="Its recipe. Default: the one made for the data set.")
    epochs: int | None = Field(None, description="Its epochs, instead of the recipe's.", ge=1)
    seed: int = Field(0, description="Its seed.", ge=0, lt=2**63)


_CERTIFIED = (set(CertifySettings.model_fields) & set(DataSettings.model_fields)) | {
    "norm", "n0", "n", "alpha", "seed", "sampling", "tolerance", "pilot", "block_size", "precision", "compile",
    "batch_size", "max_errors",
}  # fmt: skip


def nested(model: type[Settings]) -> BeforeValidator:
    """Settings within settings: refused in one line, as those around them are."""

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return checked(model, {str(key).replace("-", "_"): inner for key, inner in value.items()})

    return BeforeValidator(check)


def mapping(value: Any) -> dict[str, Any]:
    """What a file has under a key, as settings by name; raises RaysmoothError for what is no such thing."""
    if not isinstance(value, Mapping):
        raise RaysmoothError(
            f"expected 'key: value' lines, found {value!r}: see the experiments that come with raysmooth"
        )
    return {str(key).replace("-", "_"): inner for key, inner in value.items()}


def _trained(value: Any) -> dict[str, Any]:
    """Settings of trainings, `uniform:0.5` told apart into noise and sigma."""
    return dict(settled_noise(mapping(value)))


def _domains(value: Any) -> dict[str, Domain]:
    return {
        key: inner if isinstance(inner, Domain) else parse_domain(key, inner) for key, inner in mapping(value).items()
    }


class SweepSettings(Settings):
    """Sweep"""

    train: str = Field(description=f"What each trial trains: {' or '.join(TRAININGS)}.")
    settings: Annotated[dict[str, Any], BeforeValidator(_trained)] = Field(
        description="Settings that all trials share, as 'raysmooth train' has them."
    )
    search: Annotated[dict[str, Domain], BeforeValidator(_domains)] = Field(
        {},
        description="Settings that differ: a list, of which all are tried, or {choice: [...]}, {uniform: [low, high]}, "
        "loguniform or randint.",
    )
    each: list[Annotated[dict[str, Any], BeforeValidator(_trained)]] = Field(
        [], description="Trainings that differ in several settings, one a row: every row is tried."
    )
    seeds: list[int] = Field([0], description="Seeds of training; every trial is repeated with each.", min_length=1)
    metric: str | None = Field(None, description="What the winner is best in, such as certified_accuracy:radius=0.5.")
    validation: Annotated[ValidationSettings, nested(ValidationSettings)] = Field(
        default_factory=lambda: checked(ValidationSettings, {}), description="How trials are judged."
    )
    by: str = Field("grid", description=f"How the space is searched: {', '.join(SEARCHES)}.")
    trials: int | None = Field(
        None, description="How many to draw: with random, each is trained with all rows, grids and seeds.", ge=1
    )
    scheduler: str = Field("fifo", description="fifo, asha:grace=2,factor=3 or pbt:every=2,quantile=0.25.")
    plateau: Annotated[PlateauSettings | None, nested(PlateauSettings)] = Field(
        None, description="End trials early whose metric has stopped to change."
    )
    search_seed: int = Field(0, description="Seed of what is drawn from ranges.", ge=0, lt=2**32)
    hours: float | None = Field(
        None, description="Stop all trials after so long, counted afresh when the sweep is continued.", gt=0
    )
    warm_start: Annotated[WarmStartSettings | None, nested(WarmStartSettings)] = Field(
        None, description="Train what trials begin with, once."
    )
    certify: Annotated[dict[str, Any] | None, BeforeValidator(lambda v: None if v is None else mapping(v))] = Field(
        None, description="How the winner is certified on the test images; left out: it is not."
    )
    certify_all: bool = Field(False, description="Certify every trial so, not only the winner.")
    cpus_per_trial: int = Field(1, description="CPU cores, and threads, of a trial.", ge=1)
    gpus_per_trial: float | None = Field(
        None, description="GPUs of a trial (0.25 puts four on one). Default: 1 where there are GPUs, else 0.", ge=0
    )
    concurrent: int | None = Field(None, description="Trials at a time at most. Default: as many as fit.", ge=1)
    retries: int = Field(2, description="How often a trial that fails goes on from its last judged epoch.", ge=0)
    storage: str | None = Field(
        None, description="Folder or object store of checkpoints that all machines reach. Default: OUT/tune."
    )
    address: str | None = Field(
        None, description="Ray cluster to join, or 'local'. Default: the one this machine is in, else one of its own."
    )
    out: str = Field("sweep", description="Folder of the results.")
    verbose: bool = Field(False, description="Show what Ray and Ray Tune print.")

    @property
    def training(self) -> Training:
        return TRAININGS[self.train]

    @property
    def chosen_metric(self) -> ChosenMetric | None:
        return None if self.metric is None else ChosenMetric.parse(self.metric)

    @property
    def chosen_scheduler(self) -> ChosenScheduler:
        return parse_scheduler(self.scheduler)

    @property
    def differing(self) -> list[str]:
        """Names of the settings that differ from trial to trial."""
        return [*dict.fromkeys([*self.search, *(key for row in self.each for key in row), "seed"])]

    @property
    def possible(self) -> Iterator[dict[str, Any]]:
        """What may be drawn for a trial: each value of what is finite, the ends of each range; without the seed."""
        for number in range(max(1, len(self.each))):
            for corner in corners(self.search):
                yield {**corner, **({"each": number} if self.each else {})}

    @property
    def planned(self) -> int:
        """How many trials there will be, if no budget ends them."""
        drawn = 1 if self.by == "grid" else self.trials or 1
        if self.by == "optuna":
            return drawn
        return len(self.seeds) * max(1, len(self.each)) * grid_size(self.search) * drawn

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of one training, given what was drawn for it: "each" is a row's number."""
        row = self.each[drawn["each"]] if self.each else {}
        searched = {key: value for key, value in drawn.items() if key != "each"}
        return {**self.settings, **row, **searched}

    @model_validator(mode="after")
    def _refuse_bad_keys(self) -> "SweepSettings":
        fields = self.training.settings.model_fields
        known = [key for key in fields if key not in NOT_SEARCHED]
        for where, keys in (
            ("settings", self.settings),
            ("search", self.search),
            *(("each", row) for row in self.each),
        ):
            for key in keys:
                if key in NOT_SEARCHED:
                    instead = {"seed": "write 'seeds: [0, 1]' beside it", "threads": "write 'cpus_per_trial'"}
                    raise RaysmoothError(
                        f"{where}: {key}: a sweep decides this itself: {instead.get(key, 'leave it out')}"
                    )
                if key not in fields:
                    raise RaysmoothError(f"{where}: unknown setting '{key}': {nearest(key, known)}")
        for key in self.search:
            if key in self.settings or any(key in row for row in self.each):
                raise RaysmoothError(f"search: {key} stands elsewhere in the experiment too: write it once")
        return self

    @model_validator(mode="after")
    def _refuse_bad_search(self) -> "SweepSettings":
        if self.by not in SEARCHES:
            raise RaysmoothError(f"by: {self.by}: write one of {', '.join(SEARCHES)}")
        if self.by == "grid":
            ranges = [key for key, domain in self.search.items() if domain.kind != "grid"]
            if ranges:
                raise RaysmoothError(
                    f"search: {ranges[0]} is drawn at random: write 'by: random' and 'trials: 20', say"
                )
            if self.trials is not None:
                raise RaysmoothError("trials: a grid is tried whole: leave it out, or write 'by: random'")
        elif self.trials is None:
            raise RaysmoothError(f"by: {self.by}: write how many to draw, such as 'trials: 20'")
        elif is_grid(self.search):
            raise RaysmoothError(f"by: {self.by}: nothing in 'search' is drawn at random: write 'by: grid'")
        if self.by == "optuna":
            if find_spec("optuna") is None:
                raise RaysmoothError("by: optuna needs Optuna: pip install 'raysmooth[optuna]'")
            if grids := [key for key, domain in self.search.items() if domain.kind == "grid"]:
                raise RaysmoothError(f"search: {grids[0]}: optuna draws from {{choice: [...]}}, not from a list")
            if len(self.seeds) > 1:
                raise RaysmoothError(
                    "seeds: optuna would choose a seed as it does a rate: write one, and try what it finds with others "
                    "in a grid"
                )
            if self.metric is None:
                raise RaysmoothError("by: optuna: write a metric for it to go by, such as 'metric: acr'")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise RaysmoothError(f"seeds: {self.seeds}: write each once, 0 or more")
        return self

    @model_validator(mode="after")
    def _refuse_bad_trainings(self) -> "SweepSettings":
        many = max(1, len(self.each)) * prod(len(domain.values) for domain in self.search.values())
        if many > MOST_COMBINATIONS:
            raise RaysmoothError(
                f"search: {many:,} combinations are more than {MOST_COMBINATIONS:,}: write fewer values"
            )
        for drawn in self.possible:
            checked(self.training.settings, {**self.values(drawn), "out": "weights.safetensors"})
        return self

    @model_validator(mode="after")
    def _refuse_bad_metric(self) -> "SweepSettings":
        scheduler = parse_scheduler(self.scheduler)
        metric = self.chosen_metric
        if metric is None:
            if scheduler.needs_metric:
                raise RaysmoothError(f"scheduler: {self.scheduler} goes by a metric: write 'metric: acr', say")
            if self.plateau is not None:
                raise RaysmoothError("plateau: it is the metric's: write 'metric: acr', say")
            if self.certify is not None and not self.certify_all:
                raise RaysmoothError("certify: there is no winner without a metric: write 'metric: acr', say")
            return self
        scheduler.refuse_unfit(self.search, self.validation.every)
        values = [set(self.settings), *(set(row) for row in self.each)]
        given = set.union(*values) | set(self.search)
        if metric.name != "validation_loss" and "sigma" not in given:
            raise RaysmoothError(
                f"metric: {metric} is measured under noise: write 'sigma: 0.5' among the settings, say"
            )
        if metric.name != "validation_loss" and self.train == "denoiser" and "classifier" not in given:
            raise RaysmoothError(
                f"metric: {metric} is that of a classifier behind the denoiser: name the classifier too"
            )
        return self

    @model_validator(mode="after")
    def _refuse_bad_certify(self) -> "SweepSettings":
        if self.certify_all and self.certify is None:
            raise RaysmoothError("certify_all: write how, such as 'certify: {n: 10000}'")
        for key in self.certify or {}:
            if key not in _CERTIFIED:
                raise RaysmoothError(f"certify: unknown setting '{key}': {nearest(key, sorted(_CERTIFIED))}")
        if self.certify is not None and self.train == "denoiser" and "classifier" not in {*self.settings, *self.search}:
            raise RaysmoothError(
                "certify: a denoiser is certified in front of a classifier: name it among the settings"
            )
        return self

    @model_validator(mode="after")
    def _refuse_bad_warm_start(self) -> "SweepSettings":
        if self.warm_start is None:
            return self
        given = {*self.settings, *self.search, *(key for row in self.each for key in row)}
        if self.train != "denoiser":
            raise RaysmoothError("warm_start: classifiers begin afresh, or with init_weights: leave it out")
        if "init_weights" in given:
            raise RaysmoothError("warm_start: the settings name init_weights too: write one of the two")
        return self


def space_of(settings: SweepSettings) -> SearchSpace:
    """All that differs from trial to trial: what is searched, the rows' numbers, and the seeds."""
    repeated = "choice" if settings.by == "optuna" else "grid"
    rows = {"each": Domain(repeated, tuple(range(len(settings.each))))} if settings.each else {}
    return {**rows, **settings.search, "seed": Domain(repeated, tuple(settings.seeds))}


def training_settings(sweep: SweepSettings, drawn: Mapping[str, Any], out: Path) -> Any:
    """The settings of one trial, which writes its weights to `out`."""
    values = {**sweep.values(drawn), "out": str(out), "threads": sweep.cpus_per_trial}
    return checked(sweep.training.settings, values)
