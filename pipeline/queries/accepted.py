"""Real labels for an API's own words: which labels count as which class of the data (--accepted)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from raysmooth.actors.apis.answers import RESERVED
from raysmooth.actors.apis.label_files import labels_digest, read_label_text
from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.common.limits import LARGEST_LABEL
from raysmooth.common.settings_file import yaml_node
from raysmooth.pipeline.queries.query_settings import CLASS_NAMES, CLASS_NUMBERS


@dataclass(frozen=True, eq=False)
class Accepted:
    """`classes`: names of the data's classes by label, a number where it has no name. `class_of`: the class that each
    accepted label counts as.
    """

    classes: tuple[str, ...]
    class_of: Mapping[str, int]

    def describe(self) -> dict[str, Any]:
        """All that decides which labels are accepted, as JSON values."""
        pairs = [f"{place} {label}" for label, place in sorted(self.class_of.items())]
        return {"classes": len(self.classes), "accepted_sha256": labels_digest(pairs)}


def read_accepted(written: str, names: Mapping[int, str], num_classes: int) -> Accepted:
    """What `--accepted written` accepts, for data with labels from 0 to `num_classes` - 1, some of which have `names`.

    Raises RaysmoothError for a file that is no YAML mapping from classes to lists of labels, for a class that the data
    has not, for a label that two classes accept, and for `names` where a class has none.
    """
    flag = f"--accepted {printable(written)}"
    if not 0 < num_classes <= LARGEST_LABEL:
        raise RaysmoothError(f"{flag}: the data has no labels: leave --accepted out")
    classes = tuple(names.get(place, str(place)) for place in range(num_classes))
    if written == CLASS_NUMBERS:
        pairs = [(str(place), place) for place in range(num_classes)]
    elif written == CLASS_NAMES:
        if nameless := [place for place in range(num_classes) if place not in names]:
            raise RaysmoothError(
                f"{flag}: class {nameless[0]} of the data has no name: write {CLASS_NUMBERS}, or a file"
            )
        pairs = [(names[place], place) for place in range(num_classes)]
    else:
        pairs = _pairs(flag, written, _places(flag, classes, names))
    return Accepted(classes, _unambiguous(flag, classes, pairs))


def _places(flag: str, classes: Sequence[str], names: Mapping[int, str]) -> dict[str, int]:
    """Labels of the data by what a file may call them: the class's name, or its number."""
    places = {str(place): place for place in range(len(classes))}
    for place, name in names.items():
        if places.setdefault(name, place) != place:
            raise RaysmoothError(f"{flag}: '{printable(name)}' is the name of class {place} and the number of another")
    return places


def _unambiguous(flag: str, classes: Sequence[str], pairs: Sequence[tuple[str, int]]) -> dict[str, int]:
    class_of: dict[str, int] = {}
    for label, place in pairs:
        if label in RESERVED:
            raise RaysmoothError(f"{flag}: {label} has a meaning of its own here: write labels of the API")
        if class_of.setdefault(label, place) != place:
            one, other = printable(classes[class_of[label]]), printable(classes[place])
            raise RaysmoothError(f"{flag}: classes '{one}' and '{other}' both accept '{printable(label)}'")
    return class_of


def _pairs(flag: str, file: str, places: Mapping[str, int]) -> list[tuple[str, int]]:
    """Accepted labels with their classes, as they are written: a label may be `no`, `007` or `1e3`."""
    try:
        node = yaml_node(read_label_text(flag, file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RaysmoothError(f"{flag} is not YAML: {printable(one_line(error, whole=True))}") from None
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise RaysmoothError(f"{flag}: write a line 'class: [label, label]' for each class")
    pairs: list[tuple[str, int]] = []
    seen: set[int] = set()
    for key, value in node.value:
        name, where = _text(flag, key), f"{flag}, line {key.start_mark.line + 1}"
        if (place := places.get(name)) is None:
            raise RaysmoothError(f"{where}: the data has no class '{printable(name)}'")
        if place in seen:
            raise RaysmoothError(f"{where}: class '{printable(name)}' is there twice: write one list for it")
        seen.add(place)
        if not isinstance(value, yaml.SequenceNode):
            raise RaysmoothError(f"{where}: write a list of labels after the class: [label, label]")
        labels = [_text(flag, label) for label in value.value]
        if len(set(labels)) < len(labels):
            raise RaysmoothError(f"{where}: a label is there twice: write it once")
        pairs += [(label, place) for label in labels]
    return pairs


def _text(flag: str, node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise RaysmoothError(f"{flag}, line {node.start_mark.line + 1}: expected a label or a class's name or number")
    return str(node.value)
