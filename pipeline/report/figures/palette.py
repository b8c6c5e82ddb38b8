"""The colours of all figures."""

PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
"""Okabe and Ito's palette, which colour-blind readers can distinguish, without its yellow, too faint for a line."""

BLUE, VERMILION, GREEN, _, _, SKY, BLACK = PALETTE
