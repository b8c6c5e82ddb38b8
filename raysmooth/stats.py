"""The statistics of randomized smoothing as functions of numbers: bounds, radii, certificates of counts, and what rows
of certificates amount to. They are those that raysmooth itself computes with, so results are equal.

Importing this module is fast: NumPy, SciPy and pandas are imported by the first function that needs them; torch and Ray
by none. Radii are in pixel units ([0, 1]), alpha and delta are probabilities of being wrong. A certificate holds with
probability at least 1 - alpha over the noise, for one image.

Sources: Cohen et al. 2019, Certified adversarial robustness via randomized smoothing (CERTIFY, PREDICT, theorem 1);
Clopper and Pearson 1934; Yang et al. 2020, Randomized smoothing of all shapes and sizes (uniform noise); Zhai et al.
2020, MACER (average certified radius); Holm 1979.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from raysmooth.common.spelling import in_keywords

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from raysmooth.actors.noise.streams import NoiseFamily
    from raysmooth.pipeline.certification.certificate import Certificate, Prediction

__all__ = [
    "Interval",
    "accuracy_interval",
    "average_certified_radius",
    "certified_accuracy",
    "certify_counts",
    "holm",
    "holm_certified",
    "lower_bound",
    "needed_p_lower",
    "predict_counts",
    "radius",
    "upper_bound",
    "wrong_certificates_bound",
]


@in_keywords
def lower_bound(count: int, n: int, alpha: float = 0.001) -> float:
    """The one-sided Clopper-Pearson lower confidence bound on a probability with `count` successes in `n` draws:
    LowerConfBound(count, n, 1 - alpha) of Cohen et al. 2019. It exceeds the probability with probability at most alpha.

    >>> f"{lower_bound(9_900, 10_000):.6f}"
    '0.986531'
    >>> lower_bound(100, 100) == 0.001 ** (1 / 100)
    True
    """
    from raysmooth.pipeline.certification import certificate

    _refuse_odd_counts(count, n, alpha)
    return certificate.lower_bound(int(count), int(n), alpha)


@in_keywords
def upper_bound(count: int, n: int, alpha: float = 0.001) -> float:
    """The one-sided Clopper-Pearson upper confidence bound, the mirror image of `lower_bound`.

    >>> abs(upper_bound(0, 100) - (1 - lower_bound(100, 100))) < 1e-15
    True
    """
    from raysmooth.pipeline.certification import certificate

    _refuse_odd_counts(count, n, alpha)
    return certificate.upper_bound(int(count), int(n), alpha)


@in_keywords
def radius(
    p_lower: float,
    sigma: float,
    *,
    noise: str = "gaussian",
    norm: str | None = None,
    p_upper: float | None = None,
    pixels: int | None = None,
) -> float:
    """The certified radius of a class whose probability is at least `p_lower`, under noise of standard deviation
    `sigma`, where that of every other class is at most `p_upper` (default: 1 - p_lower).

    Gaussian noise, norm l2: sigma / 2 (PhiInv(p_lower) - PhiInv(p_upper)), which is sigma PhiInv(p_lower) by default
    (Cohen et al. 2019, theorem 1, equation 3). Norm linf: that divided by the square root of `pixels`, the number of an
    image's coordinates (C H W), rounded down. Uniform noise on [-lambda, lambda], lambda = sqrt(3) sigma, norm l1:
    lambda (p_lower - p_upper) (Yang et al. 2020), rounded down. 0 where p_lower is not above p_upper.

    >>> f"{radius(0.99, sigma=0.5):.5f}"
    '1.16317'
    >>> f"{radius(0.99, sigma=0.5, norm='linf', pixels=3 * 32 * 32):.6f}"
    '0.020986'
    >>> f"{radius(0.75, sigma=0.5, noise='uniform'):.4f}"
    '0.4330'
    >>> radius(0.5, sigma=0.5)
    0.0
    """
    _refuse_no_share(p_lower, "p_lower")
    if p_upper is not None:
        _refuse_no_share(p_upper, "p_upper")
    return _family(noise, sigma, norm, pixels).radius(p_lower, p_upper)


@in_keywords
def needed_p_lower(
    radius: float, sigma: float, *, noise: str = "gaussian", norm: str | None = None, pixels: int | None = None
) -> float:
    """The inverse of `radius`: the smallest p_lower that certifies `radius`, rounded up; 1.0 if none does.

    >>> f"{needed_p_lower(0.5, sigma=0.25):.6f}"
    '0.977250'
    """
    from raysmooth.common.errors import RaysmoothError

    if not radius >= 0:
        raise RaysmoothError(f"radius {radius:g}: write 0 or more, in pixel units")
    return _family(noise, sigma, norm, pixels).needed(radius)


@in_keywords
def certify_counts(
    selection: Sequence[int],
    estimation: Sequence[int],
    sigma: float,
    alpha: float = 0.001,
    *,
    noise: str = "gaussian",
    norm: str | None = None,
    pixels: int | None = None,
    noise_bound: str | None = None,
    alpha_share: float | None = None,
    rejected: int | None = None,
) -> "Certificate":
    """CERTIFY (Cohen et al. 2019, figure 2) from label counts: of `selection` draws, which choose the class, and of
    fresh `estimation` draws, which bound its probability; (K,) each.

    `noise_bound` is "complement" (every other class has at most 1 - p_lower), "runner-up" (a bound of their own, from
    the largest other count, for which alpha is split) or "rejection"; `alpha_share` is the fraction of alpha for
    p_lower. With a rejector, counts are of kept draws, and `rejected` is the number of rejected estimation draws.

    Returns `prediction` (-1: abstains), `radius`, `p_lower`, `p_upper` and `count_top`.

    >>> certificate = certify_counts([2, 98], [90, 9_910], sigma=0.25)
    >>> certificate.prediction, f"{certificate.radius:.7f}"
    (1, '0.5617957')
    >>> certify_counts([50, 50], [5_000, 5_000], sigma=0.25).prediction
    -1
    """
    from raysmooth.pipeline.certification.certificate import NOISE_BOUNDS
    from raysmooth.pipeline.certification.chosen_bound import ChosenBound

    first, second = _counts(selection, "selection"), _counts(estimation, "estimation")
    if len(first) != len(second):
        from raysmooth.common.errors import RaysmoothError

        raise RaysmoothError(f"selection has {len(first)} classes, estimation {len(second)}: give counts of the same")
    _refuse_no_share(alpha, "alpha")
    family, bound = _family(noise, sigma, norm, pixels), ChosenBound.of(noise_bound, alpha_share, rejected is not None)
    certify = NOISE_BOUNDS[bound.name].certify
    return certify(first, second, family, alpha, share=bound.part, rejected=rejected)


@in_keywords
def predict_counts(counts: Sequence[int], alpha: float = 0.001, *, rejected: int | None = None) -> "Prediction":
    """PREDICT (Cohen et al. 2019, figure 2) from label counts (K,): the most frequent class, or -1 if a two-sided
    binomial test of the two largest counts has a p-value above alpha.

    >>> predict_counts([3, 90, 7]).prediction, predict_counts([45, 55]).prediction
    (1, -1)
    """
    from raysmooth.pipeline.certification import certificate

    _refuse_no_share(alpha, "alpha")
    return certificate.predict_counts(_counts(counts, "counts"), alpha, rejected=rejected)


@in_keywords
def certified_accuracy(
    certificates: Any, radii: float | Sequence[float], correct: Sequence[bool] | None = None
) -> "np.ndarray":
    """Certified accuracy at each of `radii` (M,): the share of all images that are classified correctly with a radius
    of at least that (Cohen et al. 2019, section 4), float64 (M,). Abstentions and errors count as wrong.

    `certificates`: rows of one run, as `certify` returns them, or the radii of N images with whether each is `correct`,
    (N,) each.

    >>> certified_accuracy([0.5, 0.1, 0.9, 0.0], [0, 0.5], correct=[True, True, False, False]).tolist()
    [0.5, 0.25]
    """
    import numpy as np

    from raysmooth.pipeline.analysis import metrics

    return metrics.certified_accuracy(_rows(certificates, correct), np.atleast_1d(np.asarray(radii, float)))


@in_keywords
def average_certified_radius(certificates: Any, correct: Sequence[bool] | None = None) -> float:
    """ACR (Zhai et al. 2020): the mean over all images of the radius where the class is right, else 0; in pixel units.

    `certificates` and `correct` as in `certified_accuracy`.

    >>> average_certified_radius([0.5, 0.1, 0.9, 0.0], correct=[True, True, False, False])
    0.15
    """
    from raysmooth.pipeline.analysis import metrics

    return metrics.average_certified_radius(_rows(certificates, correct))


class Interval(NamedTuple):
    """Bounds of a certified accuracy, each wrong with probability at most delta / 2, see `accuracy_interval`."""

    low: float
    procedure_low: float
    high: float


@in_keywords
def accuracy_interval(certified: int, images: int, alpha: float = 0.001, delta: float = 0.05) -> Interval:
    """The interval of a certified accuracy, of which `certified` of `images` were counted with certificates at level
    `alpha`, over the choice of such images and the noise (Clopper and Pearson 1934):

    * `low`: at least this share of images like these is truly certifiable, so right and robust: (q - alpha) / (1 -
      alpha) for `procedure_low` q;
    * `procedure_low`, `high`: the certified accuracy of this procedure among such images is between them.

    For one run and one radius that were chosen in advance; for the best of M write delta / M.

    >>> interval = accuracy_interval(300, 500)
    >>> 0.5551 < interval.low < interval.procedure_low < 0.6 < interval.high < 0.6433
    True
    """
    import numpy as np

    from raysmooth.pipeline.analysis.confidence import population_interval
    from raysmooth.pipeline.analysis.run_checks import refuse_no_probability

    _refuse_odd_counts(certified, images, alpha)
    refuse_no_probability(delta)
    return Interval(*(float(bound[0]) for bound in population_interval(np.array([certified]), images, alpha, delta)))


@in_keywords
def wrong_certificates_bound(images: int, alpha: float = 0.001, delta: float = 0.001) -> int:
    """A number of wrong certificates among those of `images` at level `alpha` that is exceeded with probability at most
    `delta`: the 1 - delta quantile of Binomial(images, alpha). `images` are all that were tried, abstentions included.

    >>> wrong_certificates_bound(500)
    4
    """
    from raysmooth.pipeline.analysis import confidence

    _refuse_odd_counts(0, images, alpha)
    return confidence.wrong_certificates_bound(images, alpha, delta)


@in_keywords
def holm(p_values: Sequence[float], delta: float = 0.05) -> "np.ndarray":
    """Which hypotheses Holm's procedure (1979) rejects, bool (N,): all of them rightly with probability at least
    1 - delta. It compares the smallest p-value with delta / N, the next with delta / (N - 1), until one is larger.

    >>> holm([0.01, 0.04, 0.03, 0.005]).tolist()
    [True, False, False, True]
    """
    import numpy as np

    from raysmooth.pipeline.analysis.holm import holm_rejects
    from raysmooth.pipeline.analysis.run_checks import refuse_no_probability

    refuse_no_probability(delta)
    return holm_rejects(np.asarray(p_values, float), delta)


@in_keywords
def holm_certified(rows: "pd.DataFrame", radius: float, delta: float = 0.001) -> "pd.DataFrame":
    """Which images of one run, `rows` of `certify`, are certified at `radius`, all of these answers right at once with
    probability at least 1 - delta (Holm 1979): one row per image, with its `p_value` and whether it is certified
    `alone`, by `bonferroni` and by `holm`. Raises RaysmoothError for rows that decide one radius.
    """
    from raysmooth.pipeline.analysis import holm as analysis

    return analysis.holm(rows, radius, delta)


def _family(noise: str, sigma: float, norm: str | None, pixels: int | None) -> "NoiseFamily":
    from raysmooth.actors.noise.families import noise_family
    from raysmooth.common.errors import RaysmoothError

    if norm == "linf" and (pixels is None or pixels < 1):
        raise RaysmoothError("--norm linf needs the number of an image's coordinates: write --pixels 3072, say")
    return noise_family(noise, sigma, norm, pixels or 1)


def _refuse_odd_counts(count: int, n: int, alpha: float) -> None:
    from raysmooth.common.errors import RaysmoothError

    if n < 1 or not 0 <= count <= n or count != int(count) or n != int(n):
        raise RaysmoothError(f"{count} of {n}: write a count from 0 to n, of 1 or more")
    _refuse_no_share(alpha, "alpha")


def _refuse_no_share(value: float, name: str) -> None:
    from raysmooth.common.errors import RaysmoothError

    inside = 0 < value < 1 if name == "alpha" else 0 <= value <= 1
    if not inside:
        raise RaysmoothError(f"{name} {value:g}: write a probability between 0 and 1")


def _counts(counts: Any, name: str) -> "np.ndarray":
    import numpy as np

    from raysmooth.common.errors import RaysmoothError

    found = np.asarray(counts)
    whole = np.issubdtype(found.dtype, np.integer)
    if found.ndim != 1 or len(found) < 2 or not whole or (found < 0).any():
        raise RaysmoothError(f"{name}: write how many draws each class has, whole numbers of two classes or more")
    return found


def _rows(certificates: Any, correct: Any) -> "pd.DataFrame":
    """Rows of certificates: those given, or made of radii and whether each is correct."""
    import numpy as np
    import pandas as pd

    from raysmooth.common.errors import RaysmoothError
    from raysmooth.pipeline.analysis.run_checks import shared

    if isinstance(certificates, pd.DataFrame):
        if correct is not None:
            raise RaysmoothError("--correct is a column of the rows: leave it out")
        shared(certificates, "run_id")
        return certificates
    radii = np.asarray(certificates, float)
    if correct is None or radii.ndim != 1 or np.shape(correct) != radii.shape:
        raise RaysmoothError(
            "give rows of certificates, or the radii of the images with whether each is --correct, as many of each"
        )
    return pd.DataFrame({"radius": radii, "correct": np.asarray(correct, bool), "abstain": False, "status": "ok"})
