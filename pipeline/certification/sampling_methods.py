"""How many draws an image gets: the ways that --sampling names, as rows of a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.pipeline.certification.adaptive import Adaptive, Tolerance, default_pilot
from raysmooth.pipeline.certification.certificate import refuse_hopeless_certify
from raysmooth.pipeline.certification.sampling_rule import Fixed, SamplingRule
from raysmooth.pipeline.certification.sequential_test import Decide, refuse_hopeless_decide


@dataclass(frozen=True)
class SamplingEntry:
    """`options` are the settings that only this way of sampling has, each with what makes its default of the settings
    (None where it must be given). `rule` makes the rule of (settings, these options, noise); `refuse` raises RaysmoothError
    where every image could only abstain. `share` is the part of the most draws that an image needs by experience
    (benchmarks/sampling_savings.py), for estimates before there is anything better.
    """

    summary: str
    options: Mapping[str, Callable[[Any], Any]]
    rule: Callable[[Any, dict[str, Any], NoiseFamily], SamplingRule]
    refuse: Callable[[Any, dict[str, Any], NoiseFamily], object]
    share: float


def _adaptive(settings: Any, options: dict[str, Any], noise: NoiseFamily) -> SamplingRule:
    tolerance = Tolerance.parse(options["tolerance"])
    return Adaptive(settings.n0, settings.n, settings.alpha, noise, options["pilot"], tolerance)


SAMPLINGS: Registry[SamplingEntry] = Registry(
    "sampling",
    {
        "fixed": SamplingEntry(
            summary="n draws for every image, as in the papers",
            options={},
            rule=lambda settings, options, noise: Fixed(settings.n0, settings.n, settings.alpha, noise),
            refuse=lambda settings, options, noise: refuse_hopeless_certify(settings.n, settings.alpha),
            share=1.0,
        ),
        "adaptive": SamplingEntry(
            summary="as many as bring the radius within a tolerance of what n would give",
            options={"tolerance": lambda settings: "2%", "pilot": lambda settings: default_pilot(settings.n)},
            rule=_adaptive,
            refuse=_adaptive,  # which refuses by itself
            share=0.4,
        ),
        "decide": SamplingEntry(
            summary="until it is known whether the image is certified at one radius",
            options={"radius": lambda settings: None},
            rule=lambda settings, options, noise: Decide(
                settings.n0, settings.n, settings.alpha, noise, options["radius"]
            ),
            refuse=lambda settings, options, noise: refuse_hopeless_decide(
                settings.n, settings.alpha, noise, options["radius"]
            ),
            share=0.04,
        ),
    },
)

OPTIONS = tuple(dict.fromkeys(option for row in SAMPLINGS.values() for option in row.options))
"""The settings that only some ways of sampling have."""


def sampling_options(settings: Any) -> dict[str, Any]:
    """The options of the settings' way of sampling, defaults filled in. Raises RaysmoothError for one that is missing or that
    belongs to another way, and for an unknown way.
    """
    row = SAMPLINGS[settings.sampling]
    for option in OPTIONS:
        if getattr(settings, option) is not None and option not in row.options:
            owner = next(name for name, other in SAMPLINGS.items() if option in other.options)
            raise RaysmoothError(f"--{option} belongs to --sampling {owner}: write that too, or leave --{option} out")
    given = {option: getattr(settings, option) for option in row.options}
    options = {name: value if value is not None else row.options[name](settings) for name, value in given.items()}
    if missing := [name for name, value in options.items() if value is None]:
        raise RaysmoothError(f"--sampling {settings.sampling} needs --{missing[0]}: write --{missing[0]} 0.5, say")
    return options


def describe_sampling(settings: Any) -> str:
    """'fixed', 'adaptive:tolerance=2%,pilot=1000' or 'decide:radius=0.5': the way with all its options."""
    options = sampling_options(settings)
    text = ",".join(f"{name}={value}" for name, value in options.items())
    return f"{settings.sampling}:{text}" if text else settings.sampling


def sampling_rule(settings: Any, noise: NoiseFamily) -> SamplingRule:
    """The rule by which each image of a run is drawn."""
    return SAMPLINGS[settings.sampling].rule(settings, sampling_options(settings), noise)


def refuse_hopeless(settings: Any, noise: NoiseFamily) -> None:
    """Raises RaysmoothError where no image could get a statement: before any work."""
    SAMPLINGS[settings.sampling].refuse(settings, sampling_options(settings), noise)
