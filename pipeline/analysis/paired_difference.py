"""A confidence interval for the difference of two shares measured on the same images.

Each image is won by a alone with probability p10, by b alone with p01; otherwise both or neither win it. The parameter
is theta = p10 - p01; the nuisance parameter is phi = p10 + p01, the probability that a and b differ. With phi known,
the difference of wins, B - C, grows stochastically with theta, and P(B - C >= d) can be summed exactly. Following
Berger and Boos 1994, take the worst phi below an upper confidence bound that fails with probability gamma, and subtract
gamma from the level; then the test, and the interval of all theta that it does not reject, is valid whatever phi is.
(The worst of all phi would be valid too, but the interval much longer: where two runs mostly agree, few wins carry much
information.)

The worst phi is usually the bound, but not where few images differ and parity matters. So there is no search for it:
the tail grows with p10 and falls with p01, so over phi in [low, high] it is at most that of p10 = (high + theta) / 2
with p01 = (low - theta) / 2. Where this bound is too large, the halves of [low, high] are examined.
"""

from math import ceil, floor, sqrt

import numpy as np
from scipy.special import bdtrc
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from raysmooth.pipeline.analysis.run_checks import refuse_no_probability

GAMMA = 1 / 20
"""The part of each end's error probability used for the bound on phi."""

_HALVINGS, _MOST_CELLS = 10, 32
"""Limits of the proof that no phi is worse; beyond them theta is not rejected, and the interval is slightly longer."""

_STEPS = 17
"""Bisections: each end is found to 2e-5, always rounded outwards."""

_NEGLIGIBLE = 1e-12


def difference_interval(only_a: int, only_b: int, images: int, delta: float = 0.05) -> tuple[float, float]:
    """Low and high end, in [-1, 1], of an interval for theta that fails with probability at most delta, delta/2 at each
    end; `only_a` and `only_b` of the `images` >= 1 were won by one alone. Takes a tenth of a second to a few tenths.
    """
    refuse_no_probability(delta)
    return _low(only_a, only_b, images, delta / 2), -_low(only_b, only_a, images, delta / 2) + 0.0


def _low(wins: int, losses: int, images: int, level: float) -> float:
    gamma = level * GAMMA
    # Upper end of a two-sided interval at 2 gamma: a one-sided bound at gamma.
    most = float(proportion_confint(wins + losses, images, alpha=2 * gamma, method="beta")[1])
    low, high = -1.0, 1.0
    if not _is_rejected(low, most, wins - losses, images, level - gamma):
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        rejected = _is_rejected(middle, most, wins - losses, images, level - gamma)
        low, high = (middle, high) if rejected else (low, middle)
    return low


def _is_rejected(theta: float, most: float, difference: int, images: int, level: float) -> bool:
    """Whether P(B - C >= difference) is at most `level` for every phi in [0, most] compatible with `theta`."""
    most = max(most, abs(theta))
    if _tail(difference, images, (most + theta) / 2, (most - theta) / 2) > level:
        return False
    cells = [(abs(theta), most)]
    for _ in range(_HALVINGS):
        cells = [
            (low, high)
            for low, high in cells
            if _tail(difference, images, (high + theta) / 2, (low - theta) / 2) > level
        ]
        if not cells or len(cells) > _MOST_CELLS:
            break
        cells = [half for low, high in cells for half in ((low, (low + high) / 2), ((low + high) / 2, high))]
    return not cells


def _tail(difference: int, images: int, p10: float, p01: float) -> float:
    """P(B - C >= difference), or slightly more, summed over the number of images that differ."""
    phi = min(1.0, p10 + p01)
    # By Bernstein's inequality the rest is less than _NEGLIGIBLE.
    reach = 8 * sqrt(images * phi * (1 - phi)) + 30
    differ = np.arange(max(0, floor(images * phi - reach)), min(images, ceil(images * phi + reach)) + 1)
    fewer = np.ceil((differ + difference) / 2) - 1
    won = bdtrc(np.minimum(fewer, differ), differ, min(1.0, p10 / phi) if phi else 0.5)
    return float(binom.pmf(differ, images, phi) @ won) + _NEGLIGIBLE
