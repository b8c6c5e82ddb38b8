"""The radius within which a class stays among the k most likely under Gaussian noise, in units of sigma.

Let class c have probability at least pL at an image, and any k other classes together at most m. At distance r sigma,
by Neyman and Pearson (Cohen et al. 2019, appendix A), c keeps at least Phi(PhiInv(pL) - r), and any k other classes
together reach at most Phi(PhiInv(m) + r): the draws of k classes are one set, whatever its shape. If c were not among
the k most likely there, k other classes would be as likely as c or likelier, so together at least k times as likely as
c. So c stays among them while

    k Phi(PhiInv(pL) - r) > Phi(PhiInv(m) + r).                                                              (1)

With pL alone, m = 1 - pL. As Phi(PhiInv(1 - pL) + r) = 1 - Phi(PhiInv(pL) - r), (1) is then Phi(PhiInv(pL) - r) >
1 / (k + 1), which also follows from no more than this: k others that are each as likely as a class of more than
1 / (k + 1) would have more than 1 together. The radius has a closed form,

    R = PhiInv(pL) - PhiInv(1 / (k + 1)),

and pL alone gives no larger one where there are k other classes: let f be c on the half-space behind a hyperplane
across the direction of the perturbation, of mass pL, and k other classes in equal slices along it on the rest. Beyond R
each slice is likelier than c.

Jia et al. 2020 (theorem 1) take the smallest of Phi(PhiInv(p(S_t)) + r) / t over t = 1 ... k, where S_t are the t
unlikeliest of the k others. With the same bound u on each other class p(S_t) is t u, and Phi(PhiInv(p) + r) is concave
in p and 0 at 0, so that the smallest is that of t = k: theirs is (1), with m the smaller of k u and 1 - pL.
"""

from math import nextafter

from raysmooth.common.late_imports import LateModule

special = LateModule("scipy.special")  # takes a quarter of a second to import

_ULPS = 8 * 2.0**-52
"""More than the relative error of SciPy's ndtri, and of a few sums and products."""

_APART = 1e-12
"""More than the relative error of SciPy's ndtr. Both sides of (1) count as different from this on."""


def top_k_margin(p_top: float, k: int, p_others: float | None = None) -> float:
    """The largest r of (1), rounded down; 0 where even r = 0 is not certain. `p_top`, above 0 and below 1, is pL; k is
    2 or more; `p_others` is m, above 0 and at most 1 - `p_top`, which None stands for.
    """
    top = float(special.ndtri(p_top))
    if p_others is None:
        least = float(special.ndtri(1 / (k + 1)))
        return _below(top - least, abs(top) + abs(least))
    others = float(special.ndtri(p_others))

    def stays(shift: float) -> bool:
        kept, reached = k * float(special.ndtr(top - shift)), float(special.ndtr(others + shift))
        return kept * (1 - _APART) > reached * (1 + _APART)

    if not stays(0.0):
        return 0.0
    inside, outside = 0.0, 1.0
    while stays(outside):
        inside, outside = outside, 2 * outside
    while inside < (middle := (inside + outside) / 2) < outside:
        inside, outside = (middle, outside) if stays(middle) else (inside, middle)
    return _below(inside, abs(top) + abs(others) + inside)


def _below(margin: float, size: float) -> float:
    """`margin` less what rounding numbers of this `size` may have added; never negative."""
    return max(0.0, nextafter(margin - _ULPS * size, 0.0))
