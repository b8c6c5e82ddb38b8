"""How a person writes noise: `--noise uniform --sigma 0.25`, or `--noise uniform:0.5` in the family's own parameter.

Both become the same settings, a family and its sigma, the standard deviation of a pixel. `uniform:0.5` is noise on
[-0.5, 0.5], of sigma 0.5 / sqrt(3).
"""

from collections.abc import Mapping
from typing import Any

from raysmooth.actors.noise.families import NOISES
from raysmooth.common.errors import RaysmoothError

SIGMA = "Noise level in pixel units ([0, 1]), the standard deviation of a pixel"
NOISE = (
    f"Noise family: {', '.join(NOISES)}; or with its level, instead of --sigma, as in "
    f"{' or '.join(f'{name}:{row.parameter.upper()}' for name, row in NOISES.items())}: uniform:0.5 is noise on "
    "[-0.5, 0.5], of sigma 0.5/sqrt(3)."
)


def settled_noise(values: Any) -> Any:
    """`values` of settings with `noise` as a family's name: where it says a level, or several with commas between,
    `sigma` has them. Raises RaysmoothError for an unknown family, for what is no level, and where sigma is given too.
    """
    text = values.get("noise") if isinstance(values, Mapping) else None
    if not isinstance(text, str):
        return values
    name, colon, levels = text.partition(":")
    row = NOISES[name]
    if not colon:
        return values
    if values.get("sigma") is not None:
        raise RaysmoothError(f"--noise {text} says its level, so does --sigma {values['sigma']}: write one of them")
    try:
        given = [float(level) for level in levels.split(",")]
    except ValueError:
        raise RaysmoothError(f"--noise {text}: write its {row.parameter} after the colon, as in {name}:0.5") from None
    sigmas = [row.sigma_of(level) for level in given]
    return {**values, "noise": name, "sigma": sigmas if len(sigmas) > 1 else sigmas[0]}
