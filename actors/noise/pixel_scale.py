"""Levels and sizes that are for pixels from 0 to 255, found where pixels are in [0, 1]."""

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.numbers import short

GREY_LEVELS = 255

LARGEST = 10.0
"""The largest sigma, and the largest size of a training's attacks, in pixel units. Pixels in [0, 1] have a standard
deviation of at most 1/2, so noise of sigma 10 has 400 times the power of any image."""

LARGEST_PUBLISHED = 3.5
"""The largest sigma of the papers that raysmooth follows (Yang et al. 2020, for l1)."""

_WHY = f"sigma is at most {LARGEST:g}: pixels are in [0, 1], and such noise has 400 times the power of any image"


def in_pixel_units(value: float) -> str:
    """What to write for a number of grey levels: "64/255 (0.251)"."""
    return f"{value:g}/{GREY_LEVELS} ({short(value / GREY_LEVELS)})"


def refuse_grey_levels(value: float, sigma: float, what: str, instead: str) -> None:
    """Raises RaysmoothError for a noise level whose `sigma` is above `LARGEST`. `value` is the level as written, `what`
    the setting with it, and `instead` what to write before the number, such as "--sigma ".
    """
    if sigma > LARGEST:
        raise RaysmoothError(f"{what}: {_WHY}; for {value:g} of 255 grey levels write {instead}{in_pixel_units(value)}")


def refuse_large_distance(value: float, option: str) -> None:
    """Raises RaysmoothError for a radius or a size of attacks above `LARGEST`. `option` is the name that it has."""
    if value > LARGEST:
        raise RaysmoothError(
            f"option {option}={value:g}: it is a distance of pixels in [0, 1], at most {LARGEST:g}: for {value:g} of "
            f"255 grey levels write {option}={in_pixel_units(value)}"
        )


def distance_hint(radius: float) -> str:
    """The end of a message about a radius that is out of reach: what to write if it is for pixels from 0 to 255."""
    return f"; for {radius:g} of 255 grey levels --radius {in_pixel_units(radius)}" if radius > LARGEST else ""


def scale_notes(*sigmas: float) -> list[str]:
    """What to say of noise levels that may be meant for pixels from 0 to 255."""
    return [
        f"sigma {sigma:g} is above all that papers use, {LARGEST_PUBLISHED:g}; pixels are in [0, 1]: for {sigma:g} of "
        f"255 grey levels write --sigma {in_pixel_units(sigma)}"
        for sigma in sigmas
        if sigma > LARGEST_PUBLISHED
    ]
