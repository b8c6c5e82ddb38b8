"""The options of --data-dependent: training in which each image has a sigma of its own."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.pixel_scale import refuse_grey_levels
from raysmooth.common.errors import RaysmoothError, nearest, printable
from raysmooth.common.settings import Options, option_fields
from raysmooth.common.variant import Variant

EXAMPLE = "epochs_from=50,steps=1"

_FACTOR = 4
"""Sigmas stay between a quarter of the first one and four times it, unless `least` and `most` say otherwise."""

_AT_FIRST = 4
"""One epoch in 4 is trained at one sigma, unless `epochs_from` says otherwise: 50 of the paper's 200 on CIFAR-10."""


@dataclass(frozen=True)
class DataDependent(Options):
    """Algorithm 2 of Alfarra et al. 2022: from epoch `epochs_from` on, from 0, `steps` steps of gradient ascent move
    the sigma of each image of a batch before the network learns from it.

    A step adds `learning_rate` times the slope of the image's radius, whose probabilities are means over `draws` noisy
    copies, limited to [clamp, 1 - clamp]. Sigma stays between `least` and `most`, limits that the paper does not have.
    Rate and clamp are those of the published code; the paper does not state them. As in a search, rate and limits are
    of the noise family's own parameter: of lambda where noise is uniform.
    """

    epochs_from: NonNegativeInt | None = None
    steps: PositiveInt = 1
    learning_rate: PositiveFloat = 1e-4
    draws: PositiveInt = 1
    clamp: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    least: PositiveFloat | None = None
    most: PositiveFloat | None = None


@plain_dataclass(frozen=True)
class SigmaSteps:
    """The options of `DataDependent` with a value for each."""

    epochs_from: int
    steps: int
    learning_rate: float
    draws: int
    clamp: float
    least: float
    most: float


def read_data_dependent(text: str, noise: str, sigma: float, epochs: int) -> SigmaSteps:
    """The options of "epochs_from=50,steps=1", `epochs-from` too, for a training of `epochs` epochs at `sigma`.

    Left out, `epochs_from` is a quarter of the epochs, `least` a quarter of the level of the training, and `most` four
    times it. Raises RaysmoothError for text of another form, an unknown option, a value out of range, limits that
    exclude sigma, and for an `epochs_from` that no epoch reaches.
    """
    where = f"--data-dependent {printable(text)}"
    options = _options(text, where)
    known = option_fields(DataDependent)
    for name in options:
        if name not in known:
            raise RaysmoothError(f"{where}: no option '{name}': {nearest(name, known)}")
    try:
        given = DataDependent(**options)
    except RaysmoothError as refusal:
        raise RaysmoothError(f"{where}: {refusal}") from None
    entry = NOISES[noise]
    begin = entry.of_sigma(sigma)
    for name, limit in (("least", given.least), ("most", given.most)):
        if limit is not None:
            refuse_grey_levels(limit, entry.sigma_of(limit), f"{where}: option {name}={limit:g}", f"{name}=")
    least = begin / _FACTOR if given.least is None else given.least
    most = begin * _FACTOR if given.most is None else given.most
    if not least <= begin <= most:
        raise RaysmoothError(
            f"{where}: {entry.parameter} begins at {begin:g}, which is not between {least:g} and {most:g}: write "
            f"least={min(least, begin):g},most={max(most, begin):g}"
        )
    first = epochs // _AT_FIRST if given.epochs_from is None else given.epochs_from
    if first >= epochs:
        raise RaysmoothError(
            f"{where}: the training ends after {epochs} epochs, with one sigma for all images: write "
            f"epochs_from={epochs // _AT_FIRST}, or more epochs"
        )
    return SigmaSteps(first, given.steps, given.learning_rate, given.draws, given.clamp, least, most)


def from_the_start(text: str) -> str:
    """The options `text`, with `epochs_from` 0: for a training of one epoch."""
    options = {**_options(text, f"--data-dependent {printable(text)}"), "epochs_from": 0}
    return str(Variant("", tuple(sorted(options.items())))).removeprefix(":")


def _options(text: str, where: str) -> dict[str, Any]:
    """What is written, by the options' names, whose parts may have hyphens between them, as those of a flag do."""
    pairs = (pair.partition("=") for pair in text.split(","))
    plain = ",".join(f"{name.strip().replace('-', '_')}{equals}{value}" for name, equals, value in pairs)
    try:
        written = Variant.parse(f"data_dependent:{plain}")
    except RaysmoothError:
        written = Variant("")
    if written.is_own or not written.options:
        raise RaysmoothError(f"{where}: write option=value,option=value, each option once, such as {EXAMPLE}")
    return dict(written.options)
