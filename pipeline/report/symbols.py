"""The norms' symbols, as text and as formulas."""

import re

_SYMBOLS = {
    "l1": ("\N{SCRIPT SMALL L}\N{SUBSCRIPT ONE}", r"$\ell_1$"),
    "l2": ("\N{SCRIPT SMALL L}\N{SUBSCRIPT TWO}", r"$\ell_2$"),
    "linf": ("\N{SCRIPT SMALL L}\N{INFINITY}", r"$\ell_\infty$"),
}
"""By norm: in Unicode, and in TeX, which matplotlib reads too."""


def norm_symbol(norm: str) -> str:
    """The norm in Unicode; a norm without a symbol as it is."""
    return _SYMBOLS[norm][0] if norm in _SYMBOLS else norm


def norm_formula(norm: str) -> str | None:
    """The norm as a formula in TeX, None for one that has none."""
    return _SYMBOLS[norm][1] if norm in _SYMBOLS else None


def with_formulas(escaped: str) -> str:
    """A caption in TeX with the norms in "l2 norm" and "l2 radius" as formulas."""
    return re.sub(r"\b(l1|l2|linf)(?= (?:norm|radius|radii|distance)\b)", lambda found: _SYMBOLS[found[0]][1], escaped)
