"""What figures for papers have in common: widths, font sizes, and the only formulas that their text holds."""

import re
from textwrap import fill
from typing import Literal, TypeAlias

from matplotlib.text import Text

from raysmooth.common.registry import Registry
from raysmooth.pipeline.report.symbols import norm_formula

FigureWidth: TypeAlias = Literal["column", "page"]

WIDTHS: Registry[float] = Registry("figure width", {"column": 3.25, "page": 6.75})
"""Inches, as most conferences have them: one column of two, and both."""

COLUMN = WIDTHS["column"]

LABEL, TICK = 8, 7
"""Points: the text of axes; ticks and legends."""

_FORMULA = "formula"
"""The group id of a text that is ours alone, in which dollar signs enclose formulas."""


def set_formula(text: Text) -> None:
    """Mark a text as one that `save_figure` prints with formulas. Users' names must not be part of it."""
    text.set_gid(_FORMULA)


def is_formula(text: Text) -> bool:
    return text.get_gid() == _FORMULA


def wrapped(label: str, width: int) -> str:
    """A label in lines of at most `width` characters, in which a sigma stays beside its number."""
    return fill(re.sub(r"\bsigma (?=\d)", "sigma\N{NO-BREAK SPACE}", label), width).replace("\N{NO-BREAK SPACE}", " ")


def radius_label(norm: str) -> str:
    """The name of the axis of radii; a norm that we do not know is without dollar signs."""
    return f"{norm_formula(norm) or norm.replace('$', '')} radius"
