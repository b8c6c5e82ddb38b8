"""Noise in settings: `--noise uniform --sigma 0.25`, or `--noise uniform:0.5` in the family's own parameter.

Both give the same settings, a family and its sigma, the standard deviation of a pixel. `uniform:0.5` is noise on
[-0.5, 0.5], whose sigma is 0.5 / sqrt(3).
"""

from collections.abc import Mapping
from typing import Any

from raysmooth.actors.noise.families import NOISES
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import split_list

SIGMA = "Noise level: the standard deviation of a pixel, in pixel units ([0, 1])"
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
        given = [float(level) for level in split_list(levels)]
    except ValueError:
        given = []
    if not given:
        raise RaysmoothError(f"--noise {text}: write its {entry.parameter} after the colon, as in {name}:0.5")
    sigmas = [entry.sigma_of(level) for level in given]
    return {**values, "noise": name, "sigma": sigmas if len(sigmas) > 1 else sigmas[0]}
