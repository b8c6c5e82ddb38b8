"""Sampling methods, how many draws an image gets: the registry behind --sampling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raysmooth.actors.models.rejectors import NO_REJECTOR, UNANSWERED
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.pipeline.certification.adaptive import Adaptive, Tolerance, default_pilot
from raysmooth.pipeline.certification.certificate import COMPLEMENT, refuse_hopeless_certify
from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.pair_test import decision_test
from raysmooth.pipeline.certification.sampling_rule import Fixed, SamplingRule
from raysmooth.pipeline.certification.sequential_test import Decide, refuse_hopeless_decide


@dataclass(frozen=True)
class SamplingEntry:
    """`options` are the settings that only this method has, each with a function that computes its default from the
    settings (None if it must be given). `rule` makes the rule from (settings, these options, noise); `refuse` raises
    RaysmoothError if every image could only abstain. `share` is the fraction of n0 + n draws that an image needs by
    experience (benchmarks/sampling_savings.py), for first estimates. `splits`: whether alpha is shared by two bounds
    where the other classes have their own.
    """

    summary: str
    options: Mapping[str, Callable[[Any], Any]]
    rule: Callable[[Any, dict[str, Any], NoiseFamily], SamplingRule]
    refuse: Callable[[Any, dict[str, Any], NoiseFamily], object]
    share: float
    splits: bool = True


def bound_of(settings: Any) -> ChosenBound:
    """The bound on the other classes that the settings choose. Raises RaysmoothError as `ChosenBound.of_run`, and for a
    share of alpha where the sampling method does not split it.
    """
    bound = ChosenBound.of_run(settings.noise_bound, settings.alpha_share, settings.rejector)
    if SAMPLINGS[settings.sampling].splits:
        return bound
    if settings.alpha_share is not None:
        raise RaysmoothError(
            f"--alpha-share {settings.alpha_share:g}: --sampling {settings.sampling} does not split alpha: leave it out"
        )
    return ChosenBound(bound.name)


def _fixed(settings: Any, options: dict[str, Any], noise: NoiseFamily) -> SamplingRule:
    bound, rejecting = bound_of(settings), settings.rejector != NO_REJECTOR
    return Fixed(settings.n0, settings.n, settings.alpha, noise, bound.name, bound.share, rejecting)


def _adaptive(settings: Any, options: dict[str, Any], noise: NoiseFamily) -> SamplingRule:
    has_rejector = settings.rejector not in (NO_REJECTOR, UNANSWERED)
    if has_rejector or bound_of(settings).name != COMPLEMENT:
        flag = "--rejector" if has_rejector else "--noise-bound"
        raise RaysmoothError(
            f"{flag} needs another --sampling, as adaptive plans an image's draws for pA alone, and abstains where pA "
            f"is at most 1/2: write --sampling fixed, or leave {flag} out"
        )
    tolerance = Tolerance.parse(options["tolerance"])
    rejecting = settings.rejector == UNANSWERED
    return Adaptive(settings.n0, settings.n, settings.alpha, noise, options["pilot"], tolerance, rejecting)


def _decide(settings: Any, options: dict[str, Any], noise: NoiseFamily) -> Decide:
    bound, rejecting = bound_of(settings).name, settings.rejector != NO_REJECTOR
    return decision_test(settings.n0, settings.n, settings.alpha, noise, options["radius"], bound, rejecting)


SAMPLINGS: Registry[SamplingEntry] = Registry(
    "sampling method",
    {
        "fixed": SamplingEntry(
            summary="n draws for every image, as in the papers",
            options={},
            rule=_fixed,
            refuse=lambda settings, options, noise: refuse_hopeless_certify(
                settings.n, settings.alpha, bound_of(settings).part
            ),
            share=1.0,
        ),
        "adaptive": SamplingEntry(
            summary="as many as needed for a radius within a tolerance of the radius with n",
            options={"tolerance": lambda settings: "2%", "pilot": lambda settings: default_pilot(settings.n)},
            rule=_adaptive,
            refuse=_adaptive,  # making the rule checks it
            share=0.4,
        ),
        "decide": SamplingEntry(
            summary="until the image is known to be certified, or not, at one radius",
            options={"radius": lambda settings: None},
            rule=_decide,
            refuse=lambda settings, options, noise: refuse_hopeless_decide(_decide(settings, options, noise)),
            share=0.04,
            splits=False,
        ),
    },
)

OPTIONS = tuple(dict.fromkeys(option for entry in SAMPLINGS.values() for option in entry.options))
"""The settings that only some sampling methods have."""


def sampling_options(settings: Any) -> dict[str, Any]:
    """The options of the settings' sampling method, with defaults. Raises RaysmoothError for an unknown method, and for
    an option that is missing or of another method.
    """
    method = SAMPLINGS[settings.sampling]
    for option in OPTIONS:
        if getattr(settings, option) is not None and option not in method.options:
            owner = next(name for name, other in SAMPLINGS.items() if option in other.options)
            raise RaysmoothError(f"--{option} belongs to --sampling {owner}: write that too, or leave --{option} out")
    given = {option: getattr(settings, option) for option in method.options}
    options = {name: method.options[name](settings) if value is None else value for name, value in given.items()}
    if missing := [name for name, value in options.items() if value is None]:
        raise RaysmoothError(f"--sampling {settings.sampling} needs --{missing[0]}: write --{missing[0]} 0.5, say")
    return options


def describe_sampling(settings: Any) -> str:
    """'fixed', 'adaptive:tolerance=2%,pilot=1000' or 'decide:radius=0.5': the method with all its options."""
    options = sampling_options(settings)
    text = ",".join(f"{name}={value}" for name, value in options.items())
    return f"{settings.sampling}:{text}" if text else settings.sampling


def sampling_rule(settings: Any, noise: NoiseFamily) -> SamplingRule:
    """The sampling rule of a run."""
    return SAMPLINGS[settings.sampling].rule(settings, sampling_options(settings), noise)


def refuse_hopeless(settings: Any, noise: NoiseFamily) -> None:
    """Raises RaysmoothError if every image could only abstain, whatever its counts, and for a noise bound or a rejector
    that the sampling method does not support.
    """
    SAMPLINGS[settings.sampling].refuse(settings, sampling_options(settings), noise)
