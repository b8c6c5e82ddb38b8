"""The colours of all figures, on white and on dark ground."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex

PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
"""Okabe and Ito's palette, which colour-blind readers can distinguish, without its yellow, too faint for a line."""

_ON_DARK = ["#4C9BE8", "#FF8A4C", "#2FC49A", "#E3A3C6", "#F0B429", "#A5DDFB", "#F2F2F2"]
"""The same hues, light enough for a dark page."""

BLUE, VERMILION, GREEN, _, _, SKY, BLACK = PALETTE
GREY, GREY_ON_DARK = "#b8b8b8", "#6b6b6b"


def colours_of(size: int, on_dark: bool = False) -> list[str]:
    """`size` colours: the palette's if it has enough."""
    palette = _ON_DARK if on_dark else PALETTE
    if size <= len(palette):
        return palette[:size]
    ends = (0.3, 1.0) if on_dark else (0.0, 0.9)
    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(*ends, size))]
