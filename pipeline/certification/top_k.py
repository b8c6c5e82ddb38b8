"""Top-k certificates from label counts: that a class stays among the k most likely ones.

The derivation, and its proof that pL alone allows no larger radius, are in `actors.noise.gaussian_top_k`; for uniform
noise they are with its family. No draws are needed besides those of CERTIFY, and none of its alpha is spent. Each of
three statements about an image holds with probability at least 1 - alpha by itself:

* the certificate of the selected class (`radius`);
* that the selected class stays among the k most likely (`radius_top_k`). It follows from the same bounds, so that it
  fails only where that of the certificate may fail too: both hold together with probability 1 - alpha. A class may be
  too unlikely to be predicted, and still have such a radius;
* that the label stays among the k most likely (`label_radius_top_k`). The label is known before the draws, so its own
  Clopper-Pearson bound, from the estimation draws and all of alpha, needs no selection. Where the label was selected,
  and alpha is not shared with another bound, it is the same statement; elsewhere it may fail when the others hold.

Where the other classes have a bound of their own (--noise-bound), k of them have together at most k times that of the
likeliest or, with the rejection bound, which is one on all others together, at most that. Rejected draws are draws of
no class, which are never among the k: they only make every class less likely.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import inf, nextafter

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import ABSTAIN, COMPLEMENT, REJECTION, Certificate, lower_bound
from raysmooth.pipeline.certification.rejected_draws import kept_and_rejected
from raysmooth.pipeline.certification.sampling_rule import Counts


@dataclass(frozen=True)
class TopKCertificate:
    """The columns of a row. `prediction_top_k` is the selected class where it is certain to stay among the k most
    likely within `radius_top_k`, else ABSTAIN and None. `label_radius_top_k` is that radius of the label, None where
    it is not certain at any radius or there is no label; `count_label` is the label's number of estimation draws.
    """

    prediction_top_k: int
    radius_top_k: float | None
    count_label: int | None
    label_radius_top_k: float | None


@dataclass(frozen=True)
class TopK:
    """What top-k certificates of an image rest on, besides its counts: as in the rule that gave its certificate.
    `same_within` is that of `own_level.AtOwnLevel`: beyond it another level may be chosen.
    """

    k: int
    alpha: float
    noise: NoiseFamily
    bound: str = COMPLEMENT
    rejecting: bool = False
    same_within: float | None = None

    def certify(self, counts: Counts, certificate: Certificate, label: int | None) -> TopKCertificate:
        """The statements about an image with these `counts`, whose `certificate` the rule concluded from them."""
        selection, _ = kept_and_rejected(counts[Role.SELECTION], self.rejecting)
        radius = self._radius(certificate.p_lower, certificate.p_upper) if selection.any() else None
        prediction = ABSTAIN if radius is None else int(np.argmax(selection))
        drawn = counts.get(Role.ESTIMATION)
        if label is None or drawn is None:
            return TopKCertificate(prediction, radius, None if label is None else 0, None)
        kept, _ = kept_and_rejected(drawn, self.rejecting)
        count = int(kept[label]) if label < len(kept) else 0
        of_label = self._radius(lower_bound(count, int(drawn.sum()), self.alpha), None)
        return TopKCertificate(prediction, radius, count, of_label)

    def _radius(self, p_lower: float, p_upper: float | None) -> float | None:
        """None where the class may not be among the k most likely at the image itself."""
        others = self._together(p_upper)
        if others is not None and others >= 1 - p_lower:
            others = None  # 1 - pL, which holds as well, is no larger
        most = 1 - Fraction(p_lower) if others is None else Fraction(others)
        if self.k * Fraction(p_lower) <= most or (self.same_within is not None and self.same_within <= 0):
            return None
        radius = self.noise.radius_top_k(p_lower, self.k, others)
        return radius if self.same_within is None else min(radius, self.same_within)

    def _together(self, p_upper: float | None) -> float | None:
        """The bound on any k other classes together, rounded up, from that on every one; None: 1 - pL."""
        if p_upper is None or self.bound == REJECTION or self.k == 1:
            return p_upper
        together = self.k * p_upper
        return nextafter(together, inf) if Fraction(together) < self.k * Fraction(p_upper) else together


def refuse_no_choice(k: int | None, num_classes: int) -> None:
    """Raises RaysmoothError where every class is among the k most likely of `num_classes`."""
    if k is not None and k >= num_classes:
        write = f"write --top-k {num_classes - 1} or less" if num_classes > 1 else "leave it out"
        raise RaysmoothError(
            f"--top-k {k}: with {num_classes} classes, every class is always among the {k} most likely: {write}"
        )


def refuse_top_k(k: int, sampling: str, asks_api: bool) -> None:
    """Raises RaysmoothError for draws that top-k certificates cannot, or should not, rest on: `sampling` is the name of
    the sampling method.
    """
    if asks_api:
        raise RaysmoothError(
            f"--top-k {k}: the labels of a vision API are an open set, in which each answer has one: leave --top-k out"
        )
    if sampling == "decide":
        raise RaysmoothError(
            f"--top-k {k}: --sampling decide stops an image's draws by the evidence about one radius, which bounds no "
            "probability: write --sampling fixed, or leave --top-k out"
        )
    if sampling == "adaptive":
        raise RaysmoothError(
            f"--top-k {k}: --sampling adaptive gives no draws to an image whose class is not above 1/2, which has a "
            "top-k radius all the same: write --sampling fixed, or leave --top-k out"
        )
