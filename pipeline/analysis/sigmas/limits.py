"""What rows with levels of their own, and rows of a memory, do not say: one sentence for each, the same wherever it is
read. (Facts: Alfarra et al., Data dependent randomized smoothing; Sukenik et al. 2022, why no more can be said.)
"""

from collections.abc import Iterable, Mapping
from typing import Any

from raysmooth.pipeline.store.sigma_rules import MEMORY_OF, envelope_levels, is_certified_rule

PER_IMAGE = (
    "Each row certifies the classifier smoothed with that image's own sigma, a fixed number; it is no statement about "
    "a classifier that finds sigma again for every input."
)

MEMORY = (
    "A row of a memory holds for later queries only: once an image is stored, every later query within its radius gets "
    "its class; points seen before, and smoothing, play no part."
)


def is_per_image(rule: str | None) -> bool:
    """Whether the rows of a `sigma_rule` are about another classifier for each image: those of a certified selector,
    and of an envelope, are about one.
    """
    return rule is not None and not is_certified_rule(rule) and not envelope_levels(rule)


def is_of_memory(source: str | None) -> bool:
    """Whether rows of this `source` are those of a memory."""
    return source is not None and source.startswith(MEMORY_OF)


def limits_of(rule: str | None, source: str | None) -> str | None:
    """The sentence on what a row with this `sigma_rule` and `source` does not say; None where it says it all."""
    if is_of_memory(source):
        return MEMORY
    return PER_IMAGE if is_per_image(rule) else None


def limits_of_all(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The sentences on `rows` that are shown together, each once. Where it is not about all of them, that on levels of
    their own says which rows it is about; that on a memory does so anyway.
    """
    found = dict.fromkeys(limits_of(row.get("sigma_rule"), row.get("source")) for row in rows)
    which = "" if [*found] == [PER_IMAGE] else "Where DDRS or a grid search chose sigma: "
    own = f"{which}{PER_IMAGE[0].lower() if which else PER_IMAGE[0]}{PER_IMAGE[1:]}"
    return [own if sentence == PER_IMAGE else sentence for sentence in found if sentence is not None]
