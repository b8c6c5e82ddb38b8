"""Settings of a sweep: the keys of its file."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.registry import Registry
from raysmooth.common.settings import TRUST_CODE, Settings, checked, numbers_read, trust_code_field
from raysmooth.pipeline.runs.data_settings import CertifiedDataSettings
from raysmooth.pipeline.runs.noise_setting import settled_noise
from raysmooth.storage.paths import OutText
from raysmooth.tune.recipes.settings import (
    TrainClassifierSettings,
    TrainDenoiserSettings,
    TrainingSettings,
    TrainRejectorSettings,
)
from raysmooth.tune.sweeps.metrics import METRICS, ChosenMetric
from raysmooth.tune.sweeps.nested_settings import (
    PlateauSettings,
    ValidationSettings,
    WarmStartSettings,
    mapping,
    nested,
)
from raysmooth.tune.sweeps.schedulers import ChosenScheduler, parse_scheduler
from raysmooth.tune.sweeps.search_space import Domain, SearchSpace, combinations, grid_size, is_grid, parse_domain

SEARCH_ALGORITHMS = ("grid", "random", "optuna")

MOST_COMBINATIONS = 10_000
"""Limit on the combinations of settings to check before anything is trained."""

SET_BY_SWEEP = (
    "out",
    "overwrite",
    "workers",
    "address",
    "seed",
    "threads",
    "device",
    "loader_workers",
    "keep",
    TRUST_CODE,
)
"""Settings of a training that a sweep file may not have: the sweep sets them itself."""

TRAINING_SETTINGS: Registry[type[TrainingSettings]] = Registry(
    "training",
    {"classifier": TrainClassifierSettings, "denoiser": TrainDenoiserSettings, "rejector": TrainRejectorSettings},
)
"""The settings in TRAININGS (tune/training/trainings.py), here without importing them; a test compares them."""

CONFIGURATION = "configuration"
"""Key of a trial's config: the position of its configuration in `configurations`."""

_CERTIFY_KEYS = set(CertifiedDataSettings.model_fields) | {
    "norm", "n0", "n", "alpha", "seed", "sampling", "tolerance", "pilot", "block_size", "precision", "compile",
    "batch_size", "max_errors",
}  # fmt: skip


def _training_values(value: Any) -> dict[str, Any]:
    """Settings of trainings, with `uniform:0.5` split into noise and sigma, and with numbers in place of fractions."""
    return _numbers_read(settled_noise(mapping(value)))


def _domains(value: Any) -> dict[str, Domain]:
    return {
        key: inner if isinstance(inner, Domain) else parse_domain(key, inner)
        for key, inner in _numbers_read(mapping(value)).items()
    }


def _numbers_read(values: Mapping[str, Any]) -> dict[str, Any]:
    for model in TRAINING_SETTINGS.values():
        values = numbers_read(model, values)
    return dict(values)


class SweepSettings(Settings):
    """Sweep"""

    KEYS_ONLY: ClassVar[bool] = True

    RENAMED: ClassVar[Mapping[str, str]] = {
        "by": "search_algorithm",
        "each": "configurations",
        "trials": "num_trials",
        "hours": "time_budget_hours",
        "concurrent": "max_concurrent_trials",
    }

    train: str = Field(description=f"What each trial trains: {', '.join(TRAINING_SETTINGS)}.")
    settings: Annotated[dict[str, Any], BeforeValidator(_training_values)] = Field(
        description="Settings common to all trials, as in 'raysmooth train'."
    )
    search: Annotated[dict[str, Domain], BeforeValidator(_domains)] = Field(
        {},
        description="Settings to vary: a list, every value of which is tried, or {choice: [...]}, "
        "{uniform: [low, high]}, loguniform or randint.",
    )
    configurations: list[Annotated[dict[str, Any], BeforeValidator(_training_values)]] = Field(
        [], description="Explicit configurations, which may differ in several settings; each is run."
    )
    seeds: list[int] = Field([0], description="Seeds of training; every trial is repeated with each.", min_length=1)
    metric: str | None = Field(
        None, description="Metric that chooses the winner, such as certified_accuracy:radius=0.5."
    )
    validation: Annotated[ValidationSettings, nested(ValidationSettings)] = Field(
        default_factory=lambda: checked(ValidationSettings, {}), description="How trials are judged."
    )
    search_algorithm: str = Field("grid", description=f"How to search: {', '.join(SEARCH_ALGORITHMS)}.")
    num_trials: int | None = Field(
        None,
        description="Number of samples to try. With random, each is combined with all configurations, lists and seeds.",
        ge=1,
    )
    scheduler: str = Field("fifo", description="fifo, asha:grace=2,factor=3 or pbt:every=2,quantile=0.25.")
    plateau: Annotated[PlateauSettings | None, nested(PlateauSettings)] = Field(
        None, description="End trials early whose metric has stopped changing."
    )
    search_seed: int = Field(0, description="Seed for sampling settings.", ge=0, lt=2**32)
    time_budget_hours: float | None = Field(
        None, description="Stop all trials after this time. It starts over when the sweep is resumed.", gt=0
    )
    warm_start: Annotated[WarmStartSettings | None, nested(WarmStartSettings)] = Field(
        None, description="Train the initial weights of all trials once."
    )
    certify: Annotated[dict[str, Any] | None, BeforeValidator(lambda v: None if v is None else mapping(v))] = Field(
        None, description="How to certify the winner on the test images. Default: do not certify it."
    )
    certify_all: bool = Field(False, description="Certify every trial in this way, not only the winner.")
    cpus_per_trial: int = Field(1, description="CPU cores, and threads, of a trial.", ge=1)
    gpus_per_trial: float | None = Field(
        None, description="GPUs of a trial (0.25 puts four on one). Default: 1 where there are GPUs, else 0.", ge=0
    )
    max_concurrent_trials: int | None = Field(
        None, description="Maximum number of trials running at once. Default: as many as fit.", ge=1
    )
    retries: int = Field(2, description="How often a failed trial resumes from its last validated epoch.", ge=0)
    storage: OutText | None = Field(
        None, description="Folder or object store of checkpoints that all machines reach. Default: OUT/tune."
    )
    address: str | None = Field(
        None, description="Ray cluster to join, or 'local'. Default: this machine's cluster, else a new local one."
    )
    out: OutText = Field("sweep", description="Folder of the results.")
    verbose: bool = Field(False, description="Show the output of Ray and Ray Tune.")
    trust_code: bool = trust_code_field()

    @property
    def settings_class(self) -> type[TrainingSettings]:
        """The class of each trial's settings."""
        return TRAINING_SETTINGS[self.train]

    @property
    def chosen_metric(self) -> ChosenMetric | None:
        return None if self.metric is None else ChosenMetric.parse(self.metric)

    @property
    def metric_column(self) -> str | None:
        """The column in which trials report the metric; None without one."""
        metric = self.chosen_metric
        return None if metric is None else metric.entry.column.get(self.train)

    @property
    def chosen_scheduler(self) -> ChosenScheduler:
        return parse_scheduler(self.scheduler)

    @property
    def differing(self) -> list[str]:
        """Names of the settings that differ from trial to trial."""
        return [*dict.fromkeys([*self.search, *(key for values in self.configurations for key in values), "seed"])]

    @property
    def given(self) -> set[str]:
        """Names of all settings of trainings that the file has."""
        return {*self.settings, *self.search, *(key for values in self.configurations for key in values)}

    @property
    def trial_configs(self) -> Iterator[dict[str, Any]]:
        """The trial configs to check: every finite value, both ends of every range, every configuration; no seed."""
        for number in range(max(1, len(self.configurations))):
            for config in combinations(self.search):
                yield {**config, **({CONFIGURATION: number} if self.configurations else {})}

    @property
    def planned(self) -> int:
        """Number of trials, if no budget ends the sweep early."""
        samples = 1 if self.search_algorithm == "grid" else self.num_trials or 1
        if self.search_algorithm == "optuna":
            return samples
        return len(self.seeds) * max(1, len(self.configurations)) * grid_size(self.search) * samples

    def values(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of the training with a trial's `config`."""
        configuration = self.configurations[config[CONFIGURATION]] if self.configurations else {}
        return {**self.settings, **configuration, **{k: v for k, v in config.items() if k != CONFIGURATION}}

    @model_validator(mode="after")
    def _refuse_bad_keys(self) -> "SweepSettings":
        fields = self.settings_class.model_fields
        known = [key for key in fields if key not in SET_BY_SWEEP]
        instead = {"seed": "write 'seeds: [0, 1]' beside it", "threads": "write 'cpus_per_trial'"}
        for where, keys in (
            ("settings", self.settings),
            ("search", self.search),
            *(("configurations", values) for values in self.configurations),
        ):
            for key in keys:
                if key in SET_BY_SWEEP:
                    raise RaysmoothError(f"{where}: {key}: the sweep sets this: {instead.get(key, 'leave it out')}")
                if key not in fields:
                    raise RaysmoothError(f"{where}: unknown setting '{key}': {nearest(key, known)}")
        for key in self.search:
            if key in self.settings or any(key in values for values in self.configurations):
                raise RaysmoothError(f"search: {key} has a value elsewhere in the file too: write it once")
        return self

    @model_validator(mode="after")
    def _refuse_bad_search(self) -> "SweepSettings":
        if self.search_algorithm not in SEARCH_ALGORITHMS:
            raise RaysmoothError(
                f"search_algorithm: {self.search_algorithm}: write one of {', '.join(SEARCH_ALGORITHMS)}"
            )
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise RaysmoothError(f"seeds: {self.seeds}: write each once, 0 or more")
        if self.search_algorithm == "grid":
            self._refuse_bad_grid()
        elif self.num_trials is None:
            raise RaysmoothError(
                f"search_algorithm: {self.search_algorithm}: write the number of samples, such as 'num_trials: 20'"
            )
        elif is_grid(self.search):
            raise RaysmoothError(
                f"search_algorithm: {self.search_algorithm}: 'search' has nothing to sample: write "
                "'search_algorithm: grid'"
            )
        if self.search_algorithm == "optuna":
            self._refuse_bad_optuna()
        return self

    def _refuse_bad_grid(self) -> None:
        if ranges := [key for key, domain in self.search.items() if domain.type != "grid"]:
            raise RaysmoothError(
                f"search: {ranges[0]} is sampled at random: write 'search_algorithm: random' and 'num_trials: 20', say"
            )
        if self.num_trials is not None:
            raise RaysmoothError(
                "num_trials: a grid is searched completely: leave it out, or write 'search_algorithm: random'"
            )

    def _refuse_bad_optuna(self) -> None:
        if find_spec("optuna") is None:
            raise RaysmoothError("search_algorithm: optuna needs Optuna: pip install 'raysmooth[optuna]'")
        if lists := [key for key, domain in self.search.items() if domain.type == "grid"]:
            raise RaysmoothError(f"search: {lists[0]}: optuna samples from {{choice: [...]}}, not from a list")
        if len(self.seeds) > 1:
            raise RaysmoothError(
                "seeds: optuna would optimize the seed like any other setting: write one seed, then repeat the best "
                "trials with others in a grid"
            )
        if self.metric is None:
            raise RaysmoothError("search_algorithm: optuna needs a metric: write 'metric: acr', say")

    @model_validator(mode="after")
    def _refuse_bad_trainings(self) -> "SweepSettings":
        count = max(1, len(self.configurations)) * prod(len(domain.values) for domain in self.search.values())
        if count > MOST_COMBINATIONS:
            raise RaysmoothError(
                f"search: {count:,} combinations are more than {MOST_COMBINATIONS:,}: write fewer values"
            )
        for config in self.trial_configs:
            checked(self.settings_class, {**self.values(config), "out": "weights.safetensors"})
        return self

    @model_validator(mode="after")
    def _refuse_bad_metric(self) -> "SweepSettings":
        scheduler = self.chosen_scheduler
        metric = self.chosen_metric
        if metric is None:
            if scheduler.entry.needs_metric:
                raise RaysmoothError(f"scheduler: {self.scheduler} needs a metric: write 'metric: acr', say")
            if self.plateau is not None:
                raise RaysmoothError("plateau: it needs a metric: write 'metric: acr', say")
            if self.certify is not None and not self.certify_all:
                raise RaysmoothError("certify: there is no winner without a metric: write 'metric: acr', say")
            return self
        if self.train not in metric.entry.column:
            fitting = ", ".join(name for name, entry in METRICS.items() if self.train in entry.column)
            raise RaysmoothError(f"metric: {metric} is none of a {self.train}: write one of {fitting}")
        scheduler.refuse_unfit(self.search, self.validation.every)
        if metric.name == "validation_loss":
            return self
        if "sigma" not in self.given:
            raise RaysmoothError(
                f"metric: {metric} is measured under noise: write 'sigma: 0.5' among the settings, say"
            )
        if self.train == "denoiser" and "classifier" not in self.given:
            raise RaysmoothError(
                f"metric: {metric} is that of a classifier behind the denoiser: name the classifier too"
            )
        return self

    @model_validator(mode="after")
    def _refuse_bad_certify(self) -> "SweepSettings":
        if self.certify_all and self.certify is None:
            raise RaysmoothError("certify_all: write how, such as 'certify: {n: 10000}'")
        for key in self.certify or {}:
            if key not in _CERTIFY_KEYS:
                raise RaysmoothError(f"certify: unknown setting '{key}': {nearest(key, sorted(_CERTIFY_KEYS))}")
        if self.certify is not None and self.train == "denoiser" and "classifier" not in {*self.settings, *self.search}:
            raise RaysmoothError(
                "certify: a denoiser is certified in front of a classifier: name it among the settings"
            )
        return self

    @model_validator(mode="after")
    def _refuse_bad_warm_start(self) -> "SweepSettings":
        if self.warm_start is None:
            return self
        if self.train != "denoiser":
            raise RaysmoothError(f"warm_start: {self.train}s start fresh, or from init_weights: leave it out")
        if "init_weights" in self.given:
            raise RaysmoothError("warm_start: the settings name init_weights too: write one of the two")
        return self


def space_of(settings: SweepSettings) -> SearchSpace:
    """All that differs from trial to trial: the searched settings, the number of the configuration, and the seed."""
    repeated = "choice" if settings.search_algorithm == "optuna" else "grid"
    numbers = tuple(range(len(settings.configurations)))
    configurations = {CONFIGURATION: Domain(repeated, numbers)} if numbers else {}
    return {**configurations, **settings.search, "seed": Domain(repeated, tuple(settings.seeds))}


def training_settings(sweep: SweepSettings, config: Mapping[str, Any], out: Path) -> Any:
    """The settings of the trial with `config`, which writes its weights to `out`."""
    values = {**sweep.values(config), "out": str(out), "threads": sweep.cpus_per_trial, TRUST_CODE: sweep.trust_code}
    return checked(sweep.settings_class, values)
