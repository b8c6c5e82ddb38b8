"""Confidence statements about a certified accuracy: for images like these, and for these images.

Two things are random: the choice of the test images, and the noise drawn for each. Let T = 1 for an image that the
smoothed classifier, if its probabilities were known exactly, would certify for the right class at radius r, and C = 1
for an image that the run counts as certified. A certificate fails with probability at most alpha whatever the image
(`Certificate`), so P(C = 1 | image) <= alpha where T = 0. An abstention is never wrong, however, so nothing bounds P(C
= 0 | image) where T = 1, and counts bound the truth only from below.

**Images like these.** Let the images be drawn independently from a population in which tau = P(T = 1), with noise that
is independent from image to image. Then each C is Bernoulli(q), independent of the others, where q = P(C = 1) over
image *and* noise: the certified accuracy of this very procedure (classifier, sampling, n0, n, alpha) in the population.
An interval [L, U] for the parameter of a binomial is therefore an interval for q that contains both sources of error;
no error probability need be split between them. A bound on the truth follows from q with certainty:

    q = P(C = 1, T = 1) + P(C = 1, T = 0) <= tau + alpha (1 - tau),   so   tau >= (q - alpha) / (1 - alpha).

The bound cannot be improved: it is attained where every image with T = 1 is certified, and every image with T = 0 with
probability alpha. It increases with q, so tau >= (L - alpha) / (1 - alpha) whenever q >= L.

**These certificates.** Given the images, the number of wrong certificates among N is stochastically no larger than
Binomial(N, alpha): `wrong_certificates_bound`.
"""

from bisect import bisect_left

import numpy as np
from scipy.special import betainc, betaincinv

from raysmooth.pipeline.analysis.run_checks import refuse_no_probability


def wrong_certificates_bound(images: int, alpha: float, delta: float) -> int:
    """A number of wrong certificates that a run exceeds with probability at most delta.

    Each image's certificate is wrong with probability at most alpha, independently given the images, so their number is
    stochastically no larger than Binomial(images, alpha), whose 1 - delta quantile this is. `images` counts all images
    tried, abstentions included: the number certified depends on the same draws and would invalidate the bound.
    """
    refuse_no_probability(delta)
    # P(Binomial(images, alpha) > wrong) by betainc, as scipy.stats takes half a second to import.
    return bisect_left(range(images), True, key=lambda wrong: betainc(wrong + 1, images - wrong, alpha) <= delta)


def share_intervals(
    shares: np.ndarray, images: np.ndarray, alpha: np.ndarray, delta: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`low` and `high` of `population_interval` for known shares of runs with `images` images at level `alpha`; all
    arguments are (M,) or broadcast to it. NaN where a share is.
    """
    certified = np.rint(shares * images)
    low, _, high = population_interval(np.nan_to_num(certified), np.nan_to_num(images, nan=1.0), alpha, delta)
    return np.where(np.isnan(certified), np.nan, low), np.where(np.isnan(certified), np.nan, high)


def population_interval(
    certified: np.ndarray, images: int | np.ndarray, alpha: float | np.ndarray, delta: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds for images like these, given that `certified` of `images`, int (M,), count as certified; float64 (M,)
    each. `images`, `alpha` and `delta` are scalars or (M,). Each bound holds with probability at least 1 - delta/2, low
    and high together with 1 - delta, over images and noise (Clopper and Pearson's interval, which is conservative):

    * low: at least this share of all images like these is truly certifiable at the radius (tau above), and so right and
      robust: low is also a lower bound of true robust accuracy. NaN where alpha is.
    * procedure_low: the certified accuracy of this very procedure in the population (q) is at least this.
    * high: q is at most this. It bounds neither tau nor robust accuracy from above: an image that is not certified may
      still be robust.

    The statements are valid for a single run and radius chosen in advance, not after looking at results. For M radii at
    once, or the best of M runs, use delta / M.
    """
    count, of, half = np.asarray(certified, float), np.asarray(images, float), np.asarray(delta, float) / 2
    with np.errstate(invalid="ignore"):  # where count is 0, or all
        procedure_low = np.where(count > 0, betaincinv(count, of - count + 1, half), 0.0)
        high = np.where(count < of, betaincinv(count + 1, of - count, 1 - half), 1.0)
    return np.maximum(0.0, (procedure_low - alpha) / (1 - alpha)), procedure_low, high
