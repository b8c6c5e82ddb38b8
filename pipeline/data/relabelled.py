"""A data set whose classes have other labels than it gives them itself: `--class-order`, `--classes`, `--label-map`."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import takewhile

import numpy as np

from raysmooth.common.errors import RaysmoothError, counted, nearest, printable
from raysmooth.pipeline.data.dataset import Dataset
from raysmooth.pipeline.data.facts import Facts
from raysmooth.pipeline.data.images import Cut, Example, UnreadableImage
from raysmooth.pipeline.data.reading import Reading

MOST_SHOWN = 20
"""Names in a message."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?(?![0-9])")


class Relabelled:
    """The images of `dataset` in their order, with the label `labels[old]` for `old`; images whose label becomes None
    are left out. Positions count the images that stay.
    """

    def __init__(self, dataset: Dataset, labels: Mapping[int, int | None], num_classes: int, facts: Facts) -> None:
        self.name, self.split, self.framing = dataset.name, dataset.split, dataset.framing
        self.recoloured = dataset.recoloured
        self.num_classes: int | None = num_classes
        self.facts = facts
        self._dataset = dataset
        old = dataset.labels()
        kept = [place for place, label in enumerate(old) if label is None or labels[label] is not None]
        self._positions: Sequence[int] = kept if len(kept) < len(old) else range(len(old))
        self._labels = [None if (label := old[place]) is None else labels[label] for place in self._positions]
        self._is_same = self._labels == old

    @property
    def channels(self) -> int:
        return self._dataset.channels

    def __len__(self) -> int:
        return len(self._positions)

    def read(self, index: int) -> Example:
        try:
            return replace(self._dataset.read(self._positions[index]), label=self._labels[index])
        except UnreadableImage as error:
            raise UnreadableImage(index, error.reason, error.place) from None

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        try:
            return self._dataset.values(self._positions[index], cut)
        except UnreadableImage as error:
            raise UnreadableImage(index, error.reason, error.place) from None

    def place(self, index: int) -> str | None:
        return self._dataset.place(self._positions[index])

    def labels(self) -> list[int | None]:
        return list(self._labels)

    def raw(self, index: int) -> bytes:
        head, _, rest = self._dataset.raw(self._positions[index]).partition(b";")  # the head says if it is missing
        return head + b";" + self._mark(index) + rest

    def listed(self, index: int) -> bytes:
        return self._dataset.listed(self._positions[index]) + self._mark(index).rstrip(b";")

    def _mark(self, index: int) -> bytes:
        """For the fingerprint: none if the labels are those that the data set has anyway."""
        return b"" if self._is_same else f"label={self._labels[index]};".encode()


def relabelled(dataset: Dataset, reading: Reading) -> Dataset:
    """`dataset` with the labels that `reading` decides; itself where they are its own. Raises RaysmoothError for a
    class without a label, and for a decision that does not fit the data set.
    """
    facts = dataset.facts
    if not reading.relabels:
        if (note := _text_order_note(facts)) is None:
            return dataset
        own: dict[int, int | None] = {label: label for label in facts.class_names}
        return Relabelled(dataset, own, len(own), replace(facts, notes=(*facts.notes, note)))
    if facts.labels_from is None:
        raise RaysmoothError(f"{dataset.name} has no labels: leave --class-order, --classes and --label-map out")
    present = sorted({label for label in dataset.labels() if label is not None})
    chosen = _Choice({label: label for label in {*present, *facts.class_names}}, dataset.num_classes or 0, facts)
    for what, names in (
        (dataset.name, list(facts.class_names.values())),
        ("--classes", [printable(name) for name in reading.classes or ()]),
        ("--label-map", [printable(name) for name in reading.label_map or ()]),
    ):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise RaysmoothError(f"{what}: two classes look the same as text: '{twice[0]}': give them shorter names")
    if reading.class_order is not None:
        chosen = _ordered(dataset.name, chosen, reading.class_order)
    if reading.classes is not None:
        chosen = _by_name(dataset.name, chosen, reading.classes, present)
    if reading.label_map is not None:
        chosen = _mapped(dataset, chosen, reading.label_map, present)
    return Relabelled(dataset, chosen.labels, chosen.num_classes, chosen.facts)


@dataclass(frozen=True)
class _Choice:
    """New labels by old ones, and what follows from them."""

    labels: Mapping[int, int | None]
    num_classes: int
    facts: Facts


def _ordered(name: str, own: _Choice, order: str) -> _Choice:
    facts = own.facts
    if not facts.names_sorted:
        raise RaysmoothError(
            f"--class-order {order}: the labels of {name} are not places among sorted names ({facts.labels_from}): "
            "write --classes or --label-map"
        )
    if order == "name":
        return own
    numbers: dict[int, Decimal] = {}
    values = _numbers(list(facts.class_names.values()))
    for (label, text), value in zip(facts.class_names.items(), values, strict=True):
        if value is None:
            raise RaysmoothError(f"--class-order number: the class '{text}' is no number: write --classes FILE")
        if value in numbers.values():
            raise RaysmoothError(f"--class-order number: two classes are the number {value}: write --classes FILE")
        numbers[label] = value
    places = {label: place for place, label in enumerate(sorted(numbers, key=numbers.__getitem__))}
    names = {places[label]: text for label, text in facts.class_names.items()}
    return _Choice(places, own.num_classes, replace(facts, class_names=names, class_order="names sorted as numbers"))


def _by_name(name: str, own: _Choice, classes: Mapping[str, int], present: Sequence[int]) -> _Choice:
    shown = {label: printable(text) for text, label in classes.items()}
    count, order = max(classes.values()) + 1, "--classes"
    if not own.facts.class_names:  # the labels are numbers already: the file names them
        if lost := [label for label in present if label not in shown]:
            raise RaysmoothError(f"--classes: the label {lost[0]} of {name} has no name there: add it")
        return _Choice(own.labels, count, replace(own.facts, class_names=shown))
    by_shown = {text: label for label, text in shown.items()}
    labels: dict[int, int | None] = dict(own.labels)
    for label, text in own.facts.class_names.items():
        if text in by_shown:
            labels[label] = by_shown[text]
        elif label in present:
            near = nearest(text, list(by_shown)[:MOST_SHOWN])
            raise RaysmoothError(f"--classes: the class '{text}' of {name} is not there: add it; {near}")
        else:
            del labels[label]
    notes = (*own.facts.notes, *_unused("--classes", by_shown, own.facts))
    facts = replace(own.facts, class_names=shown, class_order=order, names_sorted=False, notes=notes)
    return _Choice(labels, count, facts)


def _unused(flag: str, given: Iterable[str], facts: Facts) -> list[str]:
    """What to say of names in a file that no class of the data has: a heading and a misspelling are such names, too."""
    names = [text for text in given if text not in facts.class_names.values()]
    if not names or not facts.class_names:
        return []
    count = f"{len(names)} name{'s' if len(names) > 1 else ''}"
    listing = ", ".join(f"'{text}'" for text in names[:3]) + (", ..." if len(names) > 3 else "")
    return [f"{flag} has {count} that no class of the data has ({listing})"]


def _mapped(dataset: Dataset, own: _Choice, label_map: Mapping[str, int | None], present: Sequence[int]) -> _Choice:
    """Classes are meant by their names, and those without one by their labels."""
    given = {printable(text): label for text, label in label_map.items()}
    labels: dict[int, int | None] = {}
    names: dict[int, list[str]] = {}
    for label, numbered in own.labels.items():
        text = str(numbered) if numbered is None else own.facts.class_names.get(numbered, str(numbered))
        if text not in given:
            if label in present:
                near = nearest(text, list(given)[:MOST_SHOWN])
                raise RaysmoothError(
                    f"--label-map: the class '{text}' of {dataset.name} is not there: write '{text}: LABEL' for the "
                    f"classifier's label, or '{text}: null' to leave its images out; {near}"
                )
            continue
        labels[label] = mapped = given[text]
        if mapped is not None:
            names.setdefault(mapped, []).append(text)
    left_out = Counter(label for label in dataset.labels() if label is not None and labels[label] is None)
    if left_out.total() == len(dataset):
        raise RaysmoothError(f"--label-map leaves out all images of {dataset.name}: give a class a label")
    skipped = dict(own.facts.skipped)
    if left_out:
        skipped[f"images of {counted(len(left_out), 'class')} that --label-map leaves out"] = left_out.total()
    joined = {label: " / ".join(dict.fromkeys(texts)) for label, texts in sorted(names.items())}
    count = max(joined, default=-1) + 1
    notes = (*own.facts.notes, *_unused("--label-map", given, own.facts))
    facts = replace(
        own.facts, class_names=joined, class_order="--label-map", names_sorted=False, skipped=skipped, notes=notes
    )
    return _Choice(labels, count, facts)


def _text_order_note(facts: Facts) -> str | None:
    """Says so where classes are numbers, and sorting them as text is not sorting them by value."""
    texts = list(facts.class_names.values())
    values = {text: value for text, value in zip(texts, _numbers(texts), strict=True) if value is not None}
    if not facts.names_sorted or len(values) < len(texts):
        return None
    by_number = sorted(texts, key=values.__getitem__)
    if texts == by_number:
        return None
    different = next(place for place, (one, other) in enumerate(zip(texts, by_number, strict=True)) if one != other)
    return (
        "the names of the classes have numbers, and are numbered in the order of their names as text: "
        f"'{texts[different]}' has label {different}, not '{by_number[different]}': if the classifier numbers them by "
        "value, write --class-order number, otherwise --class-order name"
    )


def _numbers(names: Sequence[str]) -> list[Decimal | None]:
    """The number at the beginning of each name, behind the text that all names begin with: of 1, 10; of class_1,
    class_10; of 1_cat, 10_dog. None for a name without.
    """
    first, last = min(names, default=""), max(names, default="")
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    beginning = re.sub(r"[0-9]+(\.[0-9]*)?$", "", "".join(one for one, _ in alike))
    beginning = "" if beginning in ("+", "-") else beginning
    found = [_NUMBER.match(name, len(beginning)) for name in names]
    return [Decimal(one[0]) if one else None for one in found]
