"""What the texts `sigma_rule` and `source` of a row say of its radius, for checks of whole columns: no torch is needed.

`ddrs:...` or `grid:...` found a level for each image: a row is a certificate at that level. `selector:...` certified
the level too: half of alpha is the class's, and the radius may be smaller, or nothing, for the level's sake. `envelope
of 0.25, 0.5` joins the bounds of several levels, each at its share of alpha; `worst of 0.25, 0.5` has the smallest of
their radii.
"""

import re
from math import isfinite

SELECTOR = "selector"
"""First word of the rules whose level is certified with half of alpha."""

ENVELOPE = "envelope of "
"""Beginning of the rule of rows that join several levels; these follow, separated by commas."""

WORST = "worst of "
"""Beginning of the rule of rows that have the smallest radius of several levels."""

MEMORY_OF = "memory of "
"""Beginning of `source` in the rows of a memory; the id of the run whose rows it adjusted follows."""

CLASS_SHARE = 0.5
"""The fraction of alpha for the class where the level is certified too."""

_LEVEL = re.compile(r"[0-9.eE+-]{1,40}")


def is_certified_rule(rule: str | None) -> bool:
    """Whether a rule certifies the level as well as the class."""
    return rule is not None and re.match(SELECTOR + r"(:|$)", rule) is not None


def class_share(rule: str | None) -> float:
    """The fraction of a row's alpha that its bounds on class probabilities have."""
    return CLASS_SHARE if is_certified_rule(rule) else 1.0


def envelope_rule(sigmas: list[float], beginning: str = ENVELOPE) -> str:
    """The rule of an envelope, or the worst, of these levels: `envelope of 0.25, 0.5, 1`."""
    return beginning + ", ".join(f"{sigma:.15g}" for sigma in sorted(sigmas))


def envelope_levels(rule: str | None) -> tuple[float, ...]:
    """The levels of an envelope, or of the worst of several, by its rule; none for another text."""
    if rule is None or not rule.startswith((ENVELOPE, WORST)):
        return ()
    texts = [text.strip() for text in rule.removeprefix(ENVELOPE).removeprefix(WORST).split(",")]
    try:
        levels = tuple(float(text) for text in texts if _LEVEL.fullmatch(text))
    except ValueError:
        return ()
    return levels if len(levels) == len(texts) and all(isfinite(level) and level > 0 for level in levels) else ()
