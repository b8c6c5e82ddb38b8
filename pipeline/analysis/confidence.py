"""How sure a certified accuracy is: of images like these, and of these images.

Two things are left to chance: which images were drawn to be tested, and the noise that was drawn for each of them.
Let T = 1 for an image on which the smoothed classifier, its probabilities known exactly, would be certified right at
radius r, and C = 1 for one that the run counts so. A certificate fails with probability at most alpha whatever the
image (`Certificate`), so P(C = 1 | image) <= alpha where T = 0. An abstention is never wrong, however: nothing bounds
P(C = 0 | image) where T = 1. So counts bound the truth from below alone.

**Images like these.** Let the images be drawn independently from a population in which tau = P(T = 1), with draws of
noise that are independent from image to image. Then each C is Bernoulli(q), independent of the others, where
q = P(C = 1) over image *and* noise: the certified accuracy of this very procedure (classifier, sampling, n0, n, alpha)
in the population. An interval [L, U] for the parameter of a binomial is thus an interval for q that contains both
sources of error, and no error probability need be split between them. The truth follows from q with certainty:

    q = P(C = 1, T = 1) + P(C = 1, T = 0) <= tau + alpha (1 - tau),   hence   tau >= (q - alpha) / (1 - alpha).

This is no less than q - alpha where q >= alpha, and cannot be improved: it is attained where every T = 1 is certified
and every T = 0 is with probability alpha. It grows with q, so tau >= (L - alpha) / (1 - alpha) whenever q >= L.

**These certificates.** Given the images, the number of wrong ones among N is stochastically no larger than
Binomial(N, alpha): `wrong_certificates_bound`.
"""

from bisect import bisect_left

import numpy as np
from scipy.special import betainc, betaincinv

from raysmooth.pipeline.analysis.run_checks import refuse_no_probability


def wrong_certificates_bound(images: int, alpha: float, delta: float) -> int:
    """With probability at least 1 - delta at most so many certificates of a run are wrong.

    Each image's is with probability at most alpha, independently given the images, so that their number is
    stochastically no larger than Binomial(images, alpha), whose 1 - delta quantile this is. `images` are all that were
    tried, abstentions included: the number that came out certified depends on the same draws, and would void the bound.
    """
    refuse_no_probability(delta)
    # P(Binomial(images, alpha) > wrong) is betainc's; that of scipy.stats takes half a second to import.
    return bisect_left(range(images), True, key=lambda wrong: betainc(wrong + 1, images - wrong, alpha) <= delta)


def share_intervals(
    shares: np.ndarray, images: np.ndarray, alpha: np.ndarray, delta: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`low` and `high` of `population_interval` for shares that are known already, of runs of so many images and such
    an alpha; all are (M,), or can be made so. NaN where a share is.
    """
    certified = np.rint(shares * images)
    low, _, high = population_interval(np.nan_to_num(certified), np.nan_to_num(images, nan=1.0), alpha, delta)
    return np.where(np.isnan(certified), np.nan, low), np.where(np.isnan(certified), np.nan, high)


def population_interval(
    certified: np.ndarray, images: int | np.ndarray, alpha: float | np.ndarray, delta: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `certified` of `images`, int (M,), say of images like these; float64 (M,) each. `images`, `alpha` and
    `delta` are one number for all, or (M,). With probability at least 1 - delta/2 each and 1 - delta together, over
    images and noise (Clopper and Pearson's interval, which never fails more often than it says):

    * low: at least this share of all images like these is truly certifiable at the radius (tau above), hence right and
      robust: so this is a lower bound of true robust accuracy too. NaN where alpha is.
    * procedure_low: the certified accuracy of this very procedure in the population (q) is at least this.
    * high: q is at most this. It bounds neither tau nor robust accuracy from above: an image that is not certified may
      still be robust.

    Each is a statement of its own, about a run that was not chosen for its result: for M radii at once, or the best of
    M runs, ask for delta / M.
    """
    count, of, half = np.asarray(certified, float), np.asarray(images, float), np.asarray(delta, float) / 2
    with np.errstate(invalid="ignore"):  # where count is 0, or all
        procedure_low = np.where(count > 0, betaincinv(count, of - count + 1, half), 0.0)
        high = np.where(count < of, betaincinv(count + 1, of - count, 1 - half), 1.0)
    return np.maximum(0.0, (procedure_low - alpha) / (1 - alpha)), procedure_low, high
