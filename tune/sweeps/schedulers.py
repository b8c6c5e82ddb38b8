"""Who goes on: how a sweep shares its time among trials by what they have shown so far. One row a scheduler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Option, Variant
from raysmooth.tune.sweeps.search_space import SearchSpace

PERTURBED = ("learning_rate", "weight_decay", "momentum", "gamma", "batch_size", "clip_norm")
"""Settings that may change in the middle of a training: the network's and the optimizer's state still fit."""


@dataclass(frozen=True)
class Scheduler:
    """`defaults` are its options; `build` makes Ray Tune's of options, metric's column, mode, most epochs and space."""

    summary: str
    defaults: Mapping[str, Option]
    build: Callable[[Mapping[str, Any], str | None, str | None, int, SearchSpace], Any]
    needs_metric: bool
    perturbs: bool = False


def _fifo(*_: Any) -> Any:
    from ray.tune.schedulers import FIFOScheduler

    return FIFOScheduler()


def _asha(options: Mapping[str, Any], column: str | None, mode: str | None, epochs: int, space: SearchSpace) -> Any:
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(
        time_attr="epoch",
        metric=column,
        mode=mode,
        max_t=epochs,
        grace_period=min(options["grace"], epochs),
        reduction_factor=options["factor"],
    )


def _pbt(options: Mapping[str, Any], column: str | None, mode: str | None, epochs: int, space: SearchSpace) -> Any:
    from ray.tune.schedulers import PopulationBasedTraining

    return PopulationBasedTraining(
        time_attr="epoch",
        metric=column,
        mode=mode,
        perturbation_interval=options["every"],
        quantile_fraction=options["quantile"],
        resample_probability=options["resample"],
        hyperparam_mutations={
            key: list(domain.values) if domain.finite else domain.tunes
            for key, domain in space.items()
            if key in PERTURBED
        },
    )


SCHEDULERS: Registry[Scheduler] = Registry(
    "scheduler",
    {
        "fifo": Scheduler("every trial to its end", {}, _fifo, needs_metric=False),
        "asha": Scheduler(
            "the worse trials end early, from epoch `grace` on; one of `factor` goes on at each rung (Li et al. 2020)",
            {"grace": 1, "factor": 4},
            _asha,
            needs_metric=True,
        ),
        "pbt": Scheduler(
            "every `every` epochs the worst `quantile` go on from the best ones' weights, with other rates "
            "(Jaderberg et al. 2017)",
            {"every": 5, "quantile": 0.25, "resample": 0.25},
            _pbt,
            needs_metric=True,
            perturbs=True,
        ),
    },
)


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= least


def _share(most: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and 0 < value <= most


_FITS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "grace": (_whole(1), "a whole number above 0"),
    "factor": (_whole(2), "a whole number, 2 or more"),
    "every": (_whole(1), "a whole number above 0"),
    "quantile": (_share(0.5), "a share above 0, at most 0.5"),
    "resample": (_share(1.0), "a share above 0, at most 1"),
}
"""What an option of a scheduler may be, and the words for it."""


@dataclass(frozen=True)
class ChosenScheduler:
    """A row of `SCHEDULERS` with all its options."""

    row: Scheduler
    name: str
    options: Mapping[str, Any]

    @property
    def needs_metric(self) -> bool:
        return self.row.needs_metric

    def refuse_unfit(self, space: SearchSpace, every: int) -> None:
        """Raises RaysmoothError where it cannot work with this space, and trials that are judged `every` so many epochs."""
        if not self.row.perturbs:
            return
        if not any(key in PERTURBED for key in space):
            raise RaysmoothError(
                f"scheduler: {self.name} changes numbers while training: search one of {', '.join(PERTURBED)}"
            )
        if fixed := [key for key in space if key not in PERTURBED]:
            raise RaysmoothError(
                f"scheduler: {self.name} copies weights from trial to trial, which {fixed[0]} may not fit: search "
                f"only {', '.join(PERTURBED)}"
            )
        if self.options["every"] % every:
            raise RaysmoothError(
                f"scheduler: {self.name} looks every {self.options['every']} epochs, trials are judged every {every}: "
                f"write {self.name}:every={every}, say"
            )

    def build(self, column: str | None, mode: str | None, epochs: int, space: SearchSpace) -> Any:
        """Ray Tune's scheduler for trials of at most `epochs`, judged by `column`."""
        return self.row.build(self.options, column, mode, epochs, space)


def parse_scheduler(text: str) -> ChosenScheduler:
    """Read "fifo", or "asha:grace=2,factor=3"; raises RaysmoothError for an unknown name, option, or an impossible value."""
    parsed = Variant.parse(text)
    row = SCHEDULERS[parsed.name]
    for key, value in parsed.options:
        if key not in row.defaults:
            raise RaysmoothError(f"scheduler '{text}': unknown option '{key}': {nearest(key, row.defaults)}")
        fits, instead = _FITS[key]
        if not fits(value):
            raise RaysmoothError(f"scheduler '{text}': {key}={value}: write {instead}")
    return ChosenScheduler(row, parsed.name, {**row.defaults, **dict(parsed.options)})
