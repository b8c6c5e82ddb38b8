"""Which trials continue: how a sweep divides its time by the results so far. One entry per scheduler."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, Protocol

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, read_options
from raysmooth.common.variant import Variant
from raysmooth.tune.sweeps.search_space import SearchSpace

PERTURBED = ("learning_rate", "weight_decay", "momentum", "gamma", "batch_size", "clip_norm")
"""Settings that may change during a training: the state of the network and of the optimizer still fits."""


class SchedulerOptions(Protocol):
    """The options of a scheduler, which make Ray Tune's scheduler."""

    def build(self, column: str | None, mode: str | None, epochs: int, space: SearchSpace) -> Any:
        """Ray Tune's scheduler for trials of at most `epochs` epochs in `space`, compared by the metric in `column`,
        whose `mode` is "max" or "min".
        """
        ...


@dataclass(frozen=True)
class Fifo(Options):
    def build(self, column: str | None, mode: str | None, epochs: int, space: SearchSpace) -> Any:
        from ray.tune.schedulers import FIFOScheduler

        return FIFOScheduler()


@dataclass(frozen=True)
class Asha(Options):
    """Asynchronous successive halving: Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020."""

    grace: PositiveInt = 1
    factor: Annotated[int, Field(ge=2)] = 4

    def build(self, column: str | None, mode: str | None, epochs: int, space: SearchSpace) -> Any:
        from ray.tune.schedulers import ASHAScheduler

        return ASHAScheduler(
            time_attr="epoch",
            metric=column,
            mode=mode,
            max_t=epochs,
            grace_period=min(self.grace, epochs),
            reduction_factor=self.factor,
        )


@dataclass(frozen=True)
class Pbt(Options):
    """Jaderberg et al., Population Based Training of Neural Networks, 2017."""

    every: PositiveInt = 5
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    resample: Annotated[float, Field(gt=0, le=1)] = 0.25

    def build(self, column: str | None, mode: str | None, epochs: int, space: SearchSpace) -> Any:
        from ray.tune.schedulers import PopulationBasedTraining

        return PopulationBasedTraining(
            time_attr="epoch",
            metric=column,
            mode=mode,
            perturbation_interval=self.every,
            quantile_fraction=self.quantile,
            resample_probability=self.resample,
            hyperparam_mutations={
                key: list(domain.values) if domain.finite else domain.for_ray_tune
                for key, domain in space.items()
                if key in PERTURBED
            },
        )

    def refuse_unfit(self, space: SearchSpace, validated_every: int) -> None:
        """Raises RaysmoothError for a space, or epochs between validations, that these options do not fit."""
        if not any(key in PERTURBED for key in space):
            raise RaysmoothError(f"scheduler: pbt changes numbers while training: search one of {', '.join(PERTURBED)}")
        if fixed := [key for key in space if key not in PERTURBED]:
            raise RaysmoothError(
                f"scheduler: pbt copies weights from trial to trial, which may not fit another {fixed[0]}: search only "
                f"{', '.join(PERTURBED)}"
            )
        if self.every % validated_every:
            raise RaysmoothError(
                f"scheduler: pbt compares trials every {self.every} epochs, they are validated every "
                f"{validated_every}: write pbt:every={validated_every}, say"
            )


@plain_dataclass(frozen=True)
class Scheduler:
    """`perturbs`: trials copy one another's weights, and continue with other settings."""

    summary: str
    options: type[Any]
    needs_metric: bool
    perturbs: bool = False


SCHEDULERS: Registry[Scheduler] = Registry(
    "scheduler",
    {
        "fifo": Scheduler("runs every trial to its end", Fifo, needs_metric=False),
        "asha": Scheduler(
            "ends worse trials early, from epoch `grace` on; one in `factor` continues at each rung (Li et al. 2020)",
            Asha,
            needs_metric=True,
        ),
        "pbt": Scheduler(
            "every `every` epochs, the worst `quantile` continue from the weights of the best, with other rates "
            "(Jaderberg et al. 2017)",
            Pbt,
            needs_metric=True,
            perturbs=True,
        ),
    },
)


@plain_dataclass(frozen=True)
class ChosenScheduler:
    """An entry of `SCHEDULERS` with its options."""

    entry: Scheduler
    options: SchedulerOptions

    def refuse_unfit(self, space: SearchSpace, validated_every: int) -> None:
        """Raises RaysmoothError if the scheduler does not fit the space, or the epochs between validations."""
        if isinstance(self.options, Pbt):
            self.options.refuse_unfit(space, validated_every)


def parse_scheduler(text: str) -> ChosenScheduler:
    """Read "fifo", or "asha:grace=2,factor=3"; raises RaysmoothError for an unknown name or option, or a bad value."""
    written = Variant.parse_entry(text, "scheduler", "asha:grace=2,factor=3")
    entry = SCHEDULERS[written.name]
    return ChosenScheduler(entry, read_options(entry.options, written, "scheduler"))
