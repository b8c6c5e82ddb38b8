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

**These images.** Let S of the N images have T = 1. Given the images, the number counted X is at most S + W, where W,
the number of wrong certificates, is stochastically no larger than Binomial(N - S, alpha). An S is rejected where
P(S + Binomial(N - S, alpha) >= X) <= delta; this probability grows with S, so the smallest S that is not rejected is
above the true one with probability at most delta. It is never below X - `wrong_certificates_bound`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import scipy
from scipy.special import betaincinv, ndtri

from actors.table import Table
from pipeline.metrics import asked_radius, certified_radii
from pipeline.one_run import refuse_no_probability, shared


def _exact(count: np.ndarray, of: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(invalid="ignore"):  # where count is 0, or all
        low = np.where(count > 0, betaincinv(count, of - count + 1, delta / 2), 0.0)
        high = np.where(count < of, betaincinv(count + 1, of - count, 1 - delta / 2), 1.0)
    return low, high


def _wilson(count: np.ndarray, of: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = -ndtri(delta / 2)
    middle, half = count + z**2 / 2, z * np.sqrt(count * (of - count) / of + z**2 / 4)
    return np.clip((middle - half) / (of + z**2), 0.0, 1.0), np.clip((middle + half) / (of + z**2), 0.0, 1.0)


METHODS: Table[Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = Table(
    "kind of interval", {"exact": _exact, "wilson": _wilson}
)
"""Intervals of a binomial's parameter: Clopper-Pearson's, which never fails more often than it says, and Wilson's,
shorter, which does so only on average over what the parameter may be. (Those of statsmodels, "beta" and "wilson", which
takes as long to import as a report may take.)
"""


def accuracy_intervals(
    rows: pd.DataFrame, radii: Sequence[float] | np.ndarray, delta: float = 0.05, method: str = "exact"
) -> pd.DataFrame:
    """Certified accuracy of one run at `radii` (M,), each with an interval for images like these; M rows.

    Columns: radius; images (N: all finished, errors among them, which count as not certified); certified (of them);
    share; and, with probability at least 1 - delta/2 each and 1 - delta together, over images and noise:

    * `low`: at least this share of all images like these is truly certifiable at the radius (tau above), hence right
      and robust: so this is a lower bound of true robust accuracy too. NaN where the rows have no alpha.
    * `high`: the certified accuracy of this very procedure in the population (q) is at most this. It bounds neither tau
      nor robust accuracy from above: an image that is not certified may still be robust.
    * `procedure_low`: q is at least this (together with `low`, which follows from it).

    Each radius is a statement of its own, about a run that was not chosen for its result: for M radii at once, or the
    best of M runs, ask for delta / M. Without labels an image counts whatever its class. Beyond the one radius that a
    run decides all is null. Raises Refusal if there are no rows, or those of several runs or alphas, and for a delta or
    method that is none.
    """
    refuse_no_probability(delta)
    shared(rows, "run_id")
    table = pd.DataFrame(
        {"radius": np.asarray(radii, float), "images": len(rows), "certified": _certified_at(rows, radii)}
    )
    return with_intervals(table, rows, delta, method)


def with_intervals(table: pd.DataFrame, rows: pd.DataFrame, delta: float, method: str) -> pd.DataFrame:
    """`table` has columns radius, images and certified, of one run's `rows` or parts of them; the same with the other
    columns of `accuracy_intervals`, null where the run decides a smaller radius.
    """
    share = table["certified"] / table["images"]
    certified, images = table["certified"].to_numpy(), table["images"].to_numpy()
    low, procedure_low, high = population_interval(certified, images, _alpha(rows), delta, method)
    table = table.assign(share=share, low=low, high=high, procedure_low=procedure_low)
    table["certified"] = table["certified"].astype("Int64")
    if (unknown := table["radius"] > asked_radius(rows)).any():
        table.loc[unknown, ["share", "low", "high", "procedure_low"]] = np.nan
        table.loc[unknown, "certified"] = pd.NA
    return table


def share_intervals(
    shares: np.ndarray, images: np.ndarray, alpha: np.ndarray, delta: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`low` and `high` of `accuracy_intervals` for shares that are known already, of runs of so many images and such an
    alpha; all are (M,), or can be made so. NaN where a share is.
    """
    certified = np.rint(shares * images)
    low, _, high = population_interval(np.nan_to_num(certified), np.nan_to_num(images, nan=1.0), alpha, delta)
    return np.where(np.isnan(certified), np.nan, low), np.where(np.isnan(certified), np.nan, high)


def population_interval(
    certified: np.ndarray,
    images: int | np.ndarray,
    alpha: float | np.ndarray,
    delta: float | np.ndarray,
    method: str = "exact",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`low`, `procedure_low` and `high` of `accuracy_intervals`, float64 (M,), of `certified`, int (M,); `images`,
    `alpha` and `delta` are one number for all, or (M,).
    """
    procedure_low, high = METHODS[method](
        np.asarray(certified, float), np.asarray(images, float), np.asarray(delta, float)
    )
    return np.maximum(0.0, (procedure_low - alpha) / (1 - alpha)), procedure_low, high


def truly_certifiable(rows: pd.DataFrame, radii: Sequence[float] | np.ndarray, delta: float = 0.05) -> pd.DataFrame:
    """How many of the very images of one run are truly certifiable at `radii` (M,), wrong certificates taken off.

    M rows; columns: radius, images, certified, and `at_least`: with probability at least 1 - delta over the noise, so
    many of these images (S above), each radius by itself; null where the rows have no alpha. Nothing is left to the
    choice of images, and nothing is said about others. Null and refused as in `accuracy_intervals`.
    """
    refuse_no_probability(delta)
    shared(rows, "run_id")
    certified, alpha = _certified_at(rows, radii), _alpha(rows)
    table = pd.DataFrame({"radius": np.asarray(radii, float), "images": len(rows), "certified": certified})
    least = [pd.NA if np.isnan(alpha) else least_right(int(count), len(rows), alpha, delta) for count in certified]
    unknown = table["radius"] > asked_radius(rows)
    return table.assign(
        certified=table["certified"].astype("Int64").mask(unknown),
        at_least=pd.Series(least, table.index, "Int64").mask(unknown),
    )


def least_right(certified: int, images: int, alpha: float, delta: float) -> int:
    """Of `certified` among `images` certificates so many are right, with probability at least 1 - delta."""
    wrong = int(scipy.stats.binom.ppf(1 - delta, images, alpha))
    truly = np.arange(max(0, certified - wrong), certified + 1)
    not_rejected = scipy.stats.binom.sf(certified - truly - 1, images - truly, alpha) > delta
    return int(truly[np.argmax(not_rejected)])


def _certified_at(rows: pd.DataFrame, radii: Sequence[float] | np.ndarray) -> np.ndarray:
    """How many images count as certified at each of `radii`, int64 (M,)."""
    reached = np.sort(certified_radii(rows))
    return len(reached) - np.searchsorted(reached, np.asarray(radii, float), side="left")


def _alpha(rows: pd.DataFrame) -> float:
    """The run's alpha; NaN where it is unknown."""
    alpha = shared(rows, "alpha")
    return float("nan") if alpha is None else float(alpha)
