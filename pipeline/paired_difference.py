"""An interval for the difference of two shares that were seen on the same images.

Each image is won by a alone with probability p10, by b alone with p01, else both or neither have it. The parameter is
theta = p10 - p01; in its way stands phi = p10 + p01, how often they differ. With phi known, the wins' difference B - C
grows stochastically with theta, and P(B - C >= d) can be summed exactly. Berger and Boos 1994: take the worst phi below
an upper confidence bound that fails with probability gamma, and gamma itself off the level; then the test, and the
interval of all theta that it does not reject, holds whatever phi is. (The worst of all phi would do too, and make the
interval much longer: where two runs mostly agree, few wins say much.)
"""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from pipeline.one_run import refuse_no_probability

GAMMA = 1 / 20
"""The part of each end's error probability that is spent on phi."""

PHIS = 9
"""Of how many phi, evenly spaced up to their bound, the worst is taken. Tails that matter grow with phi, but for the
parity of very few images that all differ: the worst is the bound itself, and the others are for those.
"""

_NEGLIGIBLE, _STEP = 1e-12, 1e-7


def difference_interval(only_a: int, only_b: int, images: int, delta: float = 0.05) -> tuple[float, float]:
    """Low and high end, in [-1, 1], of an interval for theta that fails with probability at most delta, delta/2 at each
    end; `only_a` and `only_b` are how many of the `images` >= 1 were won by one alone.
    """
    refuse_no_probability(delta)
    low = _low(only_a, only_b, images, delta / 2)
    return low, -_low(only_b, only_a, images, delta / 2) + 0.0


def _low(wins: int, losses: int, images: int, level: float) -> float:
    gamma = level * GAMMA
    # Upper end of a two-sided interval at 2 gamma: a one-sided bound at gamma.
    most = float(proportion_confint(wins + losses, images, alpha=2 * gamma, method="beta")[1])
    phis = np.linspace(0.0, most, PHIS)

    def excess(theta: float) -> float:
        return max(_tail(wins - losses, images, theta, phi) for phi in phis) - (level - gamma)

    if excess(-1.0) > 0:
        return -1.0
    # Rounded outwards by more than the root may be off.
    return max(-1.0, float(brentq(excess, -1.0, 1.0, xtol=_STEP / 4)) - _STEP)


def _tail(difference: int, images: int, theta: float, phi: float) -> float:
    """P(B - C >= difference), or a little more, summed over how many images differ; phi is no less than |theta|."""
    phi = max(phi, abs(theta))
    first, last = binom.ppf([_NEGLIGIBLE, 1 - _NEGLIGIBLE], images, phi)
    differ = np.arange(max(0, first), last + 1)
    won = (1 + theta / phi) / 2 if phi else 0.5
    enough = np.ceil((differ + difference) / 2)
    inside = binom.pmf(differ, images, phi) @ binom.sf(enough - 1, differ, won)
    return float(inside) + 2 * _NEGLIGIBLE
