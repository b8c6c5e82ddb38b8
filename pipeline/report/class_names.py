"""Classes by their names, in tables, sentences and figures."""

from collections.abc import Mapping

from raysmooth.common.errors import printable
from raysmooth.pipeline.analysis.metrics import UNANSWERED

IN_CELLS = 40
"""Characters of a name in a table's cell and beside a bar."""


class LabelNames(dict[int, str]):
    """The names of labels whose numbers say nothing, as those of a vision API: they count the order of first use."""


def names_of_run(names: Mapping[int, str], rejector: object) -> Mapping[int, str]:
    """`names` as LabelNames where the run's `rejector` is that of vision APIs."""
    return LabelNames(names) if rejector == UNANSWERED else names


def named(label: int, class_names: Mapping[int, str], most: int | None = None) -> str:
    """A label with the name of its class, if that says more: "3 (cat)"; at most `most` characters of the name. Of
    LabelNames the name alone.
    """
    name = name_of(label, class_names, most)
    if isinstance(class_names, LabelNames) and name is not None:
        return name
    return f"{label} ({name})" if name is not None else str(label)


def name_of(label: int, class_names: Mapping[int, str], most: int | None = None) -> str | None:
    """The name of a label's class, if it has one that is not just its number."""
    name = printable(class_names.get(label, ""))
    if name in ("", str(label)):
        return None
    return name if most is None or len(name) <= most else f"{name[: most - 3]}..."
