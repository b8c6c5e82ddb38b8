"""Classes by their names, in tables, sentences and figures."""

from collections.abc import Mapping

from raysmooth.common.errors import printable

IN_CELLS = 40
"""Characters of a name in a table's cell and beside a bar."""


def named(label: int, class_names: Mapping[int, str], most: int | None = None) -> str:
    """A label with the name of its class, if that says more: "3 (cat)"; at most `most` characters of the name."""
    name = name_of(label, class_names, most)
    return f"{label} ({name})" if name is not None else str(label)


def name_of(label: int, class_names: Mapping[int, str], most: int | None = None) -> str | None:
    """The name of a label's class, if it has one that is not just its number."""
    name = printable(class_names.get(label, ""))
    if name in ("", str(label)):
        return None
    return name if most is None or len(name) <= most else f"{name[: most - 3]}..."
