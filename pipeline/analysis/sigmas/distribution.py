"""The sigmas of a run's images: their distribution, and where radii grew against a run with one sigma for all."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.sigma_search.search_options import Bounded, Selector
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.columns import flags, numbers
from raysmooth.pipeline.analysis.metrics import FIXED_SIGMA, certified_radii, sigma_rules
from raysmooth.pipeline.analysis.run_checks import named, shared
from raysmooth.pipeline.store.sigma_rules import envelope_levels

OUTCOMES = ("correct", "wrong", "unlabelled", "abstained")
"""What becomes of an image without error: certified for the right class, for a wrong one, for any where there is no
label, or not certified.
"""

QUANTILES = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "max": 1.0}

_ALIKE = (
    "dataset", "split", "classifier", "denoiser", "objective", "rejector", "noise", "norm", "sigma", "n0", "n",
    "alpha", "bound", "quantity",
)  # fmt: skip
"""What a run has in common with the run with one sigma for all to which it is compared."""

_CLOSE = 1e-9
"""Relative difference of a sigma from a bound at which it lies."""


def has_image_sigmas(rows: pd.DataFrame) -> bool:
    """Whether any of the rows, which may be those of several runs, has a sigma of its own."""
    return "image_sigma" in rows and bool(rows["image_sigma"].notna().any())


def image_sigmas(rows: pd.DataFrame) -> pd.DataFrame:
    """The images of one run without error: float64 `sigma`, that of the image, and `outcome`, an index into OUTCOMES;
    indexed as `rows`. Raises RaysmoothError for a run with one sigma for all, and if there are no rows, or rows of
    several runs.
    """
    if not has_image_sigmas(rows):
        raise RaysmoothError(
            f"{named(rows)} has one sigma for all images: certify with --sigmas, and a run of 'raysmooth "
            "optimize-sigma', for example"
        )
    shared(rows, "run_id")
    abstained, right = flags(rows["abstain"], missing=True), flags(rows["correct"], missing=False)
    outcome = np.where(abstained, 3, np.where(rows["correct"].isna(), 2, np.where(right, 0, 1)))
    sigma = numbers(rows["image_sigma"])
    sigma = np.where(np.isnan(sigma), numbers(rows["sigma"]), sigma)  # null: that of the run
    found = pd.DataFrame({"sigma": sigma, "outcome": outcome}, rows.index)[(rows["status"] != "error").to_numpy(bool)]
    return found[found["sigma"].notna()]


def sigma_distribution(rows: pd.DataFrame) -> pd.DataFrame:
    """The sigmas of one run's images: one row for all images without error, then one for each of OUTCOMES that occurs.

    Columns: `outcome` ("all" or one of OUTCOMES), `images`, `mean`, those of QUANTILES (each is the sigma of an image,
    the lower of two where the quantile lies between), `at_least` and `at_most`, the shares of images whose sigma is the
    smallest or the largest that the rule allows, NaN where the rule does not say them. Raises RaysmoothError as
    `image_sigmas` does.
    """
    found = image_sigmas(rows)
    bounds = sigma_limits(str(sigma_rules(rows).iloc[0]), shared(rows, "noise"), shared(rows, "sigma"))
    groups = {"all": found["sigma"], **{name: found["sigma"][found["outcome"] == i] for i, name in enumerate(OUTCOMES)}}
    return pd.DataFrame(
        [{"outcome": name, **_line(own.to_numpy(float), bounds)} for name, own in groups.items() if len(own)],
        columns=["outcome", "images", "mean", *QUANTILES, "at_least", "at_most"],
    )


def _line(sigmas: np.ndarray, bounds: tuple[float, float] | None) -> dict[str, float]:
    ends = (np.nan, np.nan) if bounds is None else bounds
    least, most = (float(np.isclose(sigmas, end, rtol=_CLOSE, atol=0).mean()) if end == end else end for end in ends)
    quantiles = np.quantile(sigmas, list(QUANTILES.values()), method="lower")
    own = {"images": len(sigmas), "mean": float(sigmas.mean()), **dict(zip(QUANTILES, quantiles, strict=True))}
    return {**own, "at_least": least, "at_most": most}


def sigma_limits(rule: str, noise: str | None, sigma: float | None) -> tuple[float, float] | None:
    """The smallest and the largest sigma that a rule allows for an image of a run with this noise and sigma; None where
    the rule does not say.
    """
    if levels := envelope_levels(rule):
        return min(levels), max(levels)
    try:
        _, search = read_search(rule)
    except RaysmoothError:  # of another version
        return None
    if noise is None or noise not in NOISES or not isinstance(search, Bounded | Selector):
        return None
    family = NOISES[noise]
    if isinstance(search, Selector):
        ends = min(search.choices), max(search.choices)
    elif sigma is None:
        return None
    else:
        ends = search.bounds(family.of_sigma(sigma))
    return family.sigma_of(ends[0]), family.sigma_of(ends[1])


def fixed_counterparts(runs: pd.DataFrame, parts: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """For each run with image sigmas, the run with one sigma for all that is equal in everything else, classifier and
    denoiser with their weights included; runs without one are missing. `runs` are those of `describe_runs`, `parts`
    the rows of each.
    """
    keys = runs[list(_ALIKE)].astype(object).where(runs[list(_ALIKE)].notna(), None)
    for column in ("classifier_fingerprint", "denoiser_fingerprint"):
        keys[column] = [shared(parts[run], column) for run in runs.index]
    known = {run: tuple(key) for run, key in zip(runs.index, keys.to_numpy().tolist(), strict=True)}
    fixed: dict[tuple[object, ...], str] = {}
    for run in runs.index[(runs["sigma_rule"] == FIXED_SIGMA) & runs["source"].isna()]:
        fixed.setdefault(known[run], run)
    return {run: fixed[known[run]] for run in runs.index if has_image_sigmas(parts[run]) and known[run] in fixed}


def grew(rows: pd.DataFrame, fixed: pd.DataFrame) -> pd.Series:
    """Which images of a run are certified for their class with a larger radius than in the run `fixed`, which may not
    certify them at all; bool, indexed as `rows`. Images that `fixed` lacks did not grow.
    """
    before = pd.Series(certified_radii(fixed), fixed["image_id"].to_numpy())
    own = pd.Series(certified_radii(rows), rows.index)
    return own > rows["image_id"].map(before).fillna(np.inf).to_numpy(float)
