"""Names of classes from two sides: those of the data, and those that a classifier's own files give its labels."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from raysmooth.common.errors import RaysmoothError, printable

_NUMBERED = re.compile(r"(?i)(?:(?:label|class)[ _-]?)?(\d{1,9})")
"""Names that say no more than a label."""

_DECIDED = ("--classes", "--label-map")
"""Orders of classes that the user has decided."""

_FLAGS = "write --classes FILE or --label-map FILE with the classifier's labels"


def telling_names(names: Sequence[str]) -> tuple[str, ...]:
    """`names` of labels 0, 1, ..., unless all of them say no more than their label, as LABEL_0 does: then none."""
    return () if _only_numbers(dict(enumerate(names))) else tuple(map(printable, names))


def _only_numbers(names: Mapping[int, str]) -> bool:
    """Whether each name says its label and no more."""
    found = ((label, _NUMBERED.fullmatch(name.strip())) for label, name in names.items())
    return all(number is not None and int(number[1]) == label for label, number in found)


def _names_of(summary: Mapping[str, Any]) -> dict[int, str]:
    """The data's names of classes by label; none where they say no more than their label, as those of digits."""
    names = {int(label): str(name) for label, name in summary.get("class_names", {}).items()}
    return {} if _only_numbers(names) else names


def with_class_names(summary: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The `summary` of a data set, with the classifier's `names` of labels 0, 1, ... where the data has none."""
    if _names_of(summary) or not names:
        return dict(summary)
    named = {str(label): name for label, name in enumerate(names)}
    return {**summary, "class_names": named, "class_names_from": "the classifier's files"}


def order_note(summary: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """What to say where the data's names of classes are not the classifier's `names`, as far as both have any; None
    where they agree.

    Raises RaysmoothError where they are the same names in another order, which the user has not decided: every label
    would be another class's.
    """
    ours = {label: name for label, name in _names_of(summary).items() if label < len(names)}
    differing = [label for label, name in ours.items() if not _alike(name, names[label])]
    if not differing or summary.get("class_names_from"):
        return None
    label = differing[0]
    apart = f"label {label} is '{printable(ours[label])}' in the data and '{printable(names[label])}' in the classifier"
    same = sorted(map(_plain, ours.values())) == sorted(map(_plain, names))
    if same and summary.get("class_order") not in _DECIDED:
        raise RaysmoothError(f"{apart}, and both have the same classes, in another order: {_FLAGS}")
    return f"{apart}: rows have the data's names; if the order of the classes differs too, {_FLAGS}"


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _alike(ours: str, theirs: str) -> bool:
    """Whether one of the names that a classifier gives a class, 'tench, Tinca tinca', is the data's."""
    return _plain(ours) in (_plain(theirs), *map(_plain, theirs.split(",")))
