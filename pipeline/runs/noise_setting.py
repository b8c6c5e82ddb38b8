"""Noise in settings: `--noise uniform --sigma 0.25`, or `--noise uniform:0.5` in the family's own parameter.

Both give the same settings, a family and its sigma, the standard deviation of a pixel. `uniform:0.5` is noise on
[-0.5, 0.5], whose sigma is 0.5 / sqrt(3).
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.pixel_scale import refuse_grey_levels
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.numbers import numbers

SIGMA = "Noise level: the standard deviation of a pixel, in pixel units ([0, 1]): 0.25, or 64/255 for 64 grey levels"
NOISE = (
    f"Noise family: {', '.join(NOISES)}. It may have its level, in place of --sigma, as in "
    f"{' or '.join(f'{name}:{entry.parameter.upper()}' for name, entry in NOISES.items())}: uniform:0.5 is noise on "
    "[-0.5, 0.5], whose sigma is 0.5/sqrt(3)."
)


def settled_noise(values: Any) -> Any:
    """`values` of settings with a level in `noise`, or several separated by commas, moved to `sigma`. Raises
    RaysmoothError for an unknown family, for a level that is not a number, and if sigma is given too.
    """
    text = values.get("noise") if isinstance(values, Mapping) else None
    if not isinstance(text, str):
        return values
    name, colon, levels = text.partition(":")
    entry = NOISES[name]
    if not colon:
        return values
    if values.get("sigma") is not None:
        raise RaysmoothError(f"--noise {text} and --sigma {values['sigma']} both give a level: write one of them")
    try:
        given = numbers(levels)
    except ValueError:
        given = []
    if not given:
        raise RaysmoothError(f"--noise {text}: write its {entry.parameter} after the colon, as in {name}:0.5")
    sigmas = [entry.sigma_of(level) for level in given]
    for level, sigma in zip(given, sigmas, strict=True):
        refuse_grey_levels(level, sigma, f"--noise {text}", f"{name}:")
    return {**values, "noise": name, "sigma": sigmas if len(sigmas) > 1 else sigmas[0]}


def _in_pixel_units(value: float) -> float:
    refuse_grey_levels(value, value, f"--sigma {value:g}", "--sigma ")
    return value


Level = Annotated[float, AfterValidator(_in_pixel_units)]
"""Annotation of a noise level in settings: one for pixels from 0 to 255, such as 64, raises RaysmoothError."""
