"""A rejector in memory: a rule from its options, or a trained network from its weights and their card."""

from typing import Any

from raysmooth.actors.models.rejection_rules import Rejector
from raysmooth.actors.models.rejectors import NO_REJECTOR, REJECTORS, read_rejector
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant


def load_rejector(
    name: str, path: str | None, folders: tuple[str, ...] = ()
) -> tuple[Rejector | None, str, dict[str, Any]]:
    """The rejector `name` (None for NO_REJECTOR), on the CPU; a trained one with the weights at `path` or below one of
    `folders`. Then its canonical text, with every option, and the weights' card.

    Raises RaysmoothError for an unknown name, options out of range, weights that are missing or do not fit, and weights
    for a rejector that takes none.
    """
    if name == NO_REJECTOR:
        if path is not None:
            raise RaysmoothError(f"--rejector-weights {path} without a rejector: write --rejector network too")
        return None, NO_REJECTOR, {}
    written, options = read_rejector(name)
    entry = REJECTORS[written.name]
    if not entry.trained:
        if path is not None:
            raise RaysmoothError(
                f"--rejector-weights {path}: rejector '{written.name}' is a rule without weights: leave them out, or "
                "write --rejector network"
            )
        return entry.build(**vars(options)), str(_whole(written, options)), {}
    if path is None:
        raise RaysmoothError(f"rejector '{written}' has no weights: give --rejector-weights FILE, of train rejector")
    raise NotImplementedError


def _whole(written: Variant, options: Any) -> Variant:
    """With every option, so that 0.60 and a default are written one way."""
    return Variant(written.name, tuple(sorted(vars(options).items())))
