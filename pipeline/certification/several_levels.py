"""One certificate from draws at several noise levels: of the envelope of their smoothed classifiers
(`certify_envelope`), or of any choice among them (`certify_worst`).

Both speak of one fixed function of the image, so that they hold for every image at once and in any order. A level that
is chosen for each image by looking at it (Alfarra et al., Data dependent randomized smoothing) gives a certificate of
another classifier for every image instead. Each level may have a denoiser, a classifier and a rejector of its own.

Write p_k,c(x) for the probability that level k answers class c at x, and s_k for the score of a probability: for
Gaussian noise s_k(p) = sigma_k PhiInv(p), for uniform noise s_k(p) = 2 lambda_k (p - 1/2). The score of each class is a
1-Lipschitz function of x in the norm of the noise's certificates, whatever the base classifier is, and with rejection
too: "the draw is kept and is of class c" is one event.

* Gaussian, l2: Salman et al. 2019 (Provably robust deep learning via adversarially trained smoothed classifiers, lemma
  2) and Levine et al. 2019 (Certifiably robust interpretation in deep learning): PhiInv of a function smoothed by
  N(0, I), with values in [0, 1], is 1-Lipschitz; with N(0, sigma^2 I), x is measured in units of sigma.
* Gaussian, linf: |delta|_2 <= sqrt(d) |delta|_inf for images of d coordinates, so the score divided by sqrt(d) is
  1-Lipschitz in linf.
* Uniform, l1: the cubes of half width lambda around x and x + delta share at least the fraction
  prod_i (1 - |delta_i| / (2 lambda)) >= 1 - |delta|_1 / (2 lambda) of their volume (each factor taken as 0 where it is
  negative). So p_k,c changes by at most |delta|_1 / (2 lambda), and the score by at most |delta|_1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, nextafter
from typing import TYPE_CHECKING

import numpy as np

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import (
    ABSTAIN,
    COMPLEMENT,
    NOISE_BOUNDS,
    largest_p_lower,
    lower_bound,
    upper_bound,
)
from raysmooth.pipeline.certification.rejected_draws import kept_and_rejected

if TYPE_CHECKING:  # it imports torch, which certificates of stored counts do not need
    from raysmooth.actors.noise.streams import NoiseFamily

LIPSCHITZ = frozenset({("gaussian", "l2"), ("gaussian", "linf"), ("uniform", "l1")})
"""The noise families and norms whose scores are shown to be 1-Lipschitz above."""

_OUTWARD = 2.0**-50
"""Relative error that a score may have by rounding: lower scores are rounded down by it, upper ones up."""


@dataclass(frozen=True)
class Level:
    """The draws of one image at one noise level: label counts, int (num_labels,), of disjoint selection and estimation
    draws. With a rejector (`rejecting`) they have 2 K labels, as in `rejected_draws`.
    """

    noise: "NoiseFamily"
    selection: np.ndarray
    estimation: np.ndarray
    rejecting: bool = False

    @property
    def n(self) -> int:
        """The number of estimation draws."""
        return int(self.estimation.sum())

    @cached_property
    def chosen(self) -> np.ndarray:
        """The selection draws that were kept, by class; int (num_classes,)."""
        return kept_and_rejected(self.selection, self.rejecting)[0]

    @cached_property
    def kept(self) -> np.ndarray:
        """The estimation draws that were kept, by class; int (num_classes,)."""
        return kept_and_rejected(self.estimation, self.rejecting)[0]

    @property
    def rejected(self) -> int | None:
        """The number of rejected estimation draws, None without a rejector."""
        return kept_and_rejected(self.estimation, self.rejecting)[1]


@dataclass(frozen=True)
class LevelsCertificate:
    """With probability at least 1 - alpha over the draws of all levels: where `prediction` is not ABSTAIN, the
    classifier predicts it everywhere within `radius` (pixel units, in the noise's norm) of the image. `level` is the
    place of the level that decided: the one with the largest lower score, or with the smallest radius; None where it
    abstains.
    """

    prediction: int
    radius: float
    level: int | None = None


_ABSTENTION = LevelsCertificate(ABSTAIN, 0.0)


def refuse_not_lipschitz(name: str, norm: str) -> None:
    """Raises RaysmoothError for a noise family and a norm that `certify_envelope` has no proof for."""
    if (name, norm) not in LIPSCHITZ:
        raise RaysmoothError(
            f"--envelope: there is no certificate for {name} noise and {norm} radii: choose other runs"
        )


def certify_envelope(levels: Sequence[Level], alpha: float) -> LevelsCertificate:
    """Certify the envelope h(x) = argmax_c max_k s_k(p_k,c(x)) of the m `levels` at one image; see the module.

    The class A is that of the selection draws' scores. L is the largest score of the levels' lower bounds on A's
    probability, and U the largest score of their upper bounds on every other class. The radius is (L - U) / 2, rounded
    down; abstains unless it is above 0. With one level it is the radius of `certify_runner_up`.

    Proof. The score of class c, S_c = max_k s_k(p_k,c), is a maximum of 1-Lipschitz functions and so 1-Lipschitz. If
    L <= S_A(x) and U >= S_c(x) for every c other than A, then at distance r from x, S_A is at least L - r and every
    other S_c at most U + r: h is A there as long as r < (L - U) / 2. Each of the 2 m bounds fails with probability at
    most alpha / (2 m), so all hold together with probability at least 1 - alpha, however the levels' draws depend on
    each other (union bound), and then L and U are as needed, whichever levels decide them.

    No correction for the number of classes is needed, and none for choosing by the same draws: max_k and max_c change
    places, so U needs one bound a level, on the likeliest class B_k other than A. B_k is fixed before the estimation
    draws, and the Clopper-Pearson bound grows with the count, so that of the largest count is no smaller than that of
    B_k's own. 1 minus the lower bound on A, which holds whenever that bound does, is used where it is smaller, at no
    cost. A itself rests on selection draws alone: any rule may choose it.

    All `levels` are of one noise family and norm. Raises RaysmoothError for those without a proof.
    """
    noise, part = levels[0].noise, alpha / (2 * len(levels))
    refuse_not_lipschitz(noise.name, noise.norm)
    if not any(level.chosen.any() for level in levels):
        return _ABSTENTION
    top = int(np.argmax(np.max([_estimated_scores(level) for level in levels], axis=0)))
    lower = [lower_bound(int(level.kept[top]), level.n, part) for level in levels]
    others = [int(np.delete(level.kept, top).max()) for level in levels]
    own = [upper_bound(count, level.n, part) for count, level in zip(others, levels, strict=True)]
    radius, decisive = envelope_radius([level.noise for level in levels], lower, own)
    return LevelsCertificate(top, radius, decisive) if radius > 0 else _ABSTENTION


def envelope_radius(
    noises: Sequence["NoiseFamily"], lower: Sequence[float], upper: Sequence[float]
) -> tuple[float, int]:
    """The radius of the envelope, rounded down, 0 where there is none, and the place of the level with the largest
    lower score: from each level's `lower` bound on the class's probability and `upper` bound on that of every other
    class, for which 1 - lower is used where it is smaller.
    """
    lows = [_score(noise, p, -1) for noise, p in zip(noises, lower, strict=True)]
    highs = [
        # The score of 1 - p is minus that of p, without the rounding of the difference.
        min(_score(noise, high, +1), -low)
        for noise, high, low in zip(noises, upper, lows, strict=True)
    ]
    decisive = int(np.argmax(lows))
    low, high = lows[decisive], max(highs)
    return (max(0.0, nextafter(low - high, -inf) / 2) if low > high else 0.0), decisive


def certify_worst(
    levels: Sequence[Level], alpha: float, bound: str = COMPLEMENT, share: float = 1.0
) -> LevelsCertificate:
    """Certify every classifier h(x) = g_k(x)(x) that answers, at each x, as one of the smoothed classifiers g_1..g_m of
    the `levels` does, by whatever rule it chooses the level k(x): an optimizer, a random choice, an adversary's.

    Each level is certified by itself at alpha / m, with the noise bound and the share of it that `certify_counts` has
    them. If all of them certify one class, the radius is the smallest of theirs; otherwise abstains.

    Proof. With probability at least 1 - alpha all m certificates hold (union bound), and within the smallest radius
    every g_k answers that class: it does not matter which of them is asked. No level has to know of the others, so
    families and norms need no proof of their own.

    With the bound `runner-up` and half of alpha for each of a level's bounds, these are the bounds of
    `certify_envelope`: both certificates then hold together with probability at least 1 - alpha, and this radius is
    never the larger one.
    """
    found = [
        NOISE_BOUNDS[bound].certify(
            level.chosen, level.kept, level.noise, alpha / len(levels), share=share, rejected=level.rejected
        )
        for level in levels
    ]
    classes = {certificate.prediction for certificate in found}
    if len(classes) > 1 or ABSTAIN in classes:
        return _ABSTENTION
    smallest = int(np.argmin([certificate.radius for certificate in found]))
    return LevelsCertificate(found[0].prediction, found[smallest].radius, smallest)


def can_certify_envelope(noises: Sequence["NoiseFamily"], draws: Sequence[int], alpha: float) -> bool:
    """Whether `draws` estimation draws a level, all of one class, certify anything."""
    lower = [largest_p_lower(n, alpha / (2 * len(noises))) for n in draws]
    return envelope_radius(noises, lower, [1 - p for p in lower])[0] > 0


def _score(noise: "NoiseFamily", p: float, way: int) -> float:
    """s(p) in the noise's norm, rounded down with way -1 and up with +1; infinite where p is 0 or 1 and the noise is
    Gaussian.
    """
    # Twice the radius of two classes with the probabilities p and 1/2.
    if p >= 0.5:
        return 2 * noise.radius(p, 0.5) * (1 + way * _OUTWARD)
    return -2 * noise.radius(0.5, p) * (1 - way * _OUTWARD)


def _estimated_scores(level: Level) -> np.ndarray:
    """The scores of all classes' shares of the selection draws, float64 (num_classes,); half a draw more of each class,
    of one draw more in all, keeps them finite, so that a class with all draws of two levels gets the larger score.
    """
    shares = (level.chosen + 0.5) / (level.selection.sum() + 1)
    return np.array([_score(level.noise, float(share), -1) for share in shares])
