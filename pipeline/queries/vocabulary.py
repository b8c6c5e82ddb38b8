"""Labels as numbers: codes of texts for counts, written down before a count uses them.

Of K codes the last two stand for what is no label: an empty answer and a refused picture. Codes never change, so that
rows and counts of earlier sessions keep their meaning.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from raysmooth.actors.apis.answers import NO_ANSWER, NO_TAGS
from raysmooth.common.errors import RaysmoothError, counted, printable
from raysmooth.common.limits import MOST_CLASSES
from raysmooth.storage.location import Location
from raysmooth.storage.records import Record, read_record, shown_path

OPEN_LABELS = 16_384
"""Codes where any text can be a label, those of an empty answer and a refused picture among them."""

UNLABELLED = 2
"""Codes that stand for no label."""

VOCABULARY = "vocabulary.json"


class Vocabulary(ABC):
    """`num_labels` is K. Codes are from 0 to K - 1; `no_tags` and `no_answer` are the last two."""

    num_labels: int

    @property
    def no_tags(self) -> int:
        """The code of an empty answer."""
        return self.num_labels - 2

    @property
    def no_answer(self) -> int:
        """The code of a picture that has no usable answer."""
        return self.num_labels - 1

    def is_label(self, code: int) -> bool:
        """Whether a code is that of a label, and may be a prediction."""
        return 0 <= code < self.no_tags

    @abstractmethod
    def codes(self, labels: Iterable[str]) -> list[int]:
        """The codes of labels, on disk before this returns. Raises RaysmoothError for one that has no place."""

    @abstractmethod
    def _known(self) -> Sequence[str]:
        """The labels that have codes, in their order."""

    def names(self) -> dict[int, str]:
        """The names of all codes that have one."""
        return {**dict(enumerate(self._known())), self.no_tags: NO_TAGS, self.no_answer: NO_ANSWER}


class ClosedVocabulary(Vocabulary):
    """All labels are known beforehand; nothing is written."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._places = {label: place for place, label in enumerate(labels)}
        if len(self._places) < len(labels):
            twice = next(label for place, label in enumerate(labels) if self._places[label] != place)
            raise RaysmoothError(f"the label '{printable(twice)}' is there twice: write each label once")
        if 2 * (len(labels) + UNLABELLED) > MOST_CLASSES:
            raise RaysmoothError(
                f"{counted(len(labels), 'label')} are too many: write fewer than {MOST_CLASSES // 2:,}"
            )
        self.num_labels = len(labels) + UNLABELLED

    def codes(self, labels: Iterable[str]) -> list[int]:
        return [self._code(label) for label in labels]

    def _code(self, label: str) -> int:
        if (place := self._places.get(label)) is None:
            raise RaysmoothError(
                f"the API answered '{printable(label)}', which is none of the labels that it says it has: "
                "write --label-rule among:FILE with those that are meant"
            )
        return place

    def _known(self) -> Sequence[str]:
        return self._labels


class OpenVocabulary(Vocabulary):
    """Any text can be a label; it gets the next code when it is first met. `file` has those of all runs in a folder of
    results; one process at a time may add to it, and asks `verify` before, which raises RaysmoothError if it may not.
    Without `verify` nothing is written. A label that no count has yet does no harm.
    """

    num_labels = OPEN_LABELS

    def __init__(self, file: Location, verify: Callable[[], object] | None) -> None:
        self._file, self._verify = file, verify
        self._labels = read_vocabulary(file)
        self._places = {label: place for place, label in enumerate(self._labels)}

    def codes(self, labels: Iterable[str]) -> list[int]:
        labels = list(labels)
        if new := [label for label in dict.fromkeys(labels) if label not in self._places]:
            self._add(new)
        return [self._places[label] for label in labels]

    def _add(self, new: list[str]) -> None:
        grown = [*self._labels, *new]
        if len(grown) > OPEN_LABELS - UNLABELLED:
            raise RaysmoothError(
                f"the API has given more than {OPEN_LABELS - UNLABELLED:,} different labels, the last '"
                f"{printable(new[-1])}': write --label-rule among:FILE with the labels that matter"
            )
        if self._verify is not None:
            self._verify()
            self._file.write_atomic(json.dumps({"labels": grown}).encode())
        self._labels = grown
        self._places |= {label: place for place, label in enumerate(grown[-len(new) :], len(grown) - len(new))}

    @property
    def labels(self) -> Sequence[str]:
        """Those that have codes, which are their places."""
        return self._labels

    def _known(self) -> Sequence[str]:
        return self._labels


class AcceptedVocabulary(Vocabulary):
    """The data's classes come first, with the data's own labels as codes; then those of `others`. `class_of`: the class
    that accepts a label, for all labels that one accepts.
    """

    def __init__(self, classes: Sequence[str], class_of: Mapping[str, int], others: Vocabulary) -> None:
        self._classes, self._class_of, self._others = tuple(classes), dict(class_of), others
        self.num_labels = len(self._classes) + others.num_labels

    def codes(self, labels: Iterable[str]) -> list[int]:
        labels = list(labels)
        own = [label for label in labels if label not in self._class_of]
        others = dict(zip(own, self._others.codes(own), strict=True))
        return [
            self._class_of[label] if label in self._class_of else len(self._classes) + others[label] for label in labels
        ]

    def _known(self) -> Sequence[str]:
        return [*self._classes, *self._others._known()]


class _StoredVocabulary(Record):
    """As it stands in the file: the place of a label is its code."""

    labels: Annotated[list[str], Field(max_length=OPEN_LABELS - UNLABELLED)]


def read_vocabulary(file: Location) -> list[str]:
    """The labels in a vocabulary's file, in the order of their codes; none where there is no file. Raises BadRecord for
    another file, and for one that has a label twice.
    """
    try:
        labels = list(read_record(_StoredVocabulary, file).labels)
    except FileNotFoundError:
        return []
    if len(set(labels)) < len(labels):
        raise RaysmoothError(f"{shown_path(file)} has a label twice: restore the file, rows have its codes")
    return labels
