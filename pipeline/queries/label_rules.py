"""Which one label an answer gives to a picture: rules by name, chosen before anything is counted (--label-rule).

A rule never looks at the order of tags, which an API may change: equal scores are decided by the labels' names.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from raysmooth.actors.apis.answers import OTHER, RESERVED, Tag
from raysmooth.actors.apis.label_files import described_labels, read_label_lines
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.numbers import number
from raysmooth.common.registry import Registry


class LabelRule(ABC):
    """`name`: that of its entry in LABEL_RULES."""

    name: ClassVar[str]

    @property
    def closed_labels(self) -> tuple[str, ...] | None:
        """All labels that it can give, in the order of their codes; None where any text can be one."""
        return None

    @abstractmethod
    def label_of(self, tags: Sequence[Tag]) -> str | None:
        """The label of an answer, whatever the order of its tags; None for an answer without tags."""

    def describe(self) -> dict[str, Any]:
        """All that decides the label, as JSON values, with a digest in place of a file."""
        return {"rule": self.name}

    def __str__(self) -> str:
        """As it is written after --label-rule."""
        return self.name


class Top(LabelRule):
    """The tag with the highest score; of equal ones that whose name comes first."""

    name = "top"

    def label_of(self, tags: Sequence[Tag]) -> str | None:
        best = best_tag(tags)
        return None if best is None else best.name


class Leaf(LabelRule):
    """As `Top`, among the tags that no other tag has as a parent: Vulture, not Bird or Animal."""

    name = "leaf"

    def label_of(self, tags: Sequence[Tag]) -> str | None:
        parents = {parent for tag in tags for parent in tag.parents if parent != tag.name}
        # Where each is a parent of another one there is no leaf.
        best = best_tag([tag for tag in tags if tag.name not in parents] or tags)
        return None if best is None else best.name


@dataclass(frozen=True)
class Among(LabelRule):
    """As `Top`, among the tags that are `labels`; OTHER if none is. `file` is where the user has the labels."""

    file: str
    labels: tuple[str, ...]

    name: ClassVar[str] = "among"

    @property
    def closed_labels(self) -> tuple[str, ...]:
        return (*self.labels, OTHER)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.labels)

    def label_of(self, tags: Sequence[Tag]) -> str | None:
        best = best_tag([tag for tag in tags if tag.name in self._known])
        return best.name if best is not None else OTHER if tags else None

    def describe(self) -> dict[str, Any]:
        return {"rule": self.name, **described_labels(self.labels)}

    def __str__(self) -> str:
        return f"{self.name}:{self.file}"


@dataclass(frozen=True)
class Has(LabelRule):
    """`tag` if the answer has it with a score of at least `threshold`, else OTHER."""

    tag: str
    threshold: float

    name: ClassVar[str] = "has"

    @property
    def closed_labels(self) -> tuple[str, ...]:
        return self.tag, OTHER

    def label_of(self, tags: Sequence[Tag]) -> str | None:
        if not tags:
            return None
        found = any(tag.name == self.tag and tag.score >= self.threshold for tag in tags)
        return self.tag if found else OTHER

    def describe(self) -> dict[str, Any]:
        return {"rule": self.name, "tag": self.tag, "threshold": self.threshold}

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}@{self.threshold!r}"


def best_tag(tags: Sequence[Tag]) -> Tag | None:
    """The tag with the highest score; of equal ones that whose name comes first. A score that is no number is the
    lowest. None if there are no tags.
    """
    return min(tags, key=lambda tag: (math.inf if math.isnan(tag.score) else -tag.score, tag.name), default=None)


def _among(flag: str, file: str) -> LabelRule:
    if not file:
        raise RaysmoothError(f"{flag}: name a file of labels, one a line, as in among:labels.txt")
    labels = read_label_lines(flag, file)
    if found := [label for label in labels if label in RESERVED]:
        raise RaysmoothError(f"{flag}: {printable(file)} has the label {found[0]}, which has a meaning of its own here")
    return Among(file, labels)


def _has(flag: str, rest: str) -> LabelRule:
    tag, at, written = rest.rpartition("@")
    try:
        threshold = number(written)
    except ValueError:
        threshold = math.nan
    if not (at and tag and tag == tag.strip() and math.isfinite(threshold)):
        raise RaysmoothError(f"{flag}: write a tag and the score that it must have at least, as in has:Dog@0.6")
    if tag in RESERVED:
        raise RaysmoothError(f"{flag}: {tag} has a meaning of its own here: name a tag of the API")
    return Has(tag, threshold)


@dataclass(frozen=True)
class LabelRuleEntry:
    """`written`: how it is written after --label-rule. `read` makes the rule from the flag with its value, for
    messages, and from the text after the colon; None for a rule that takes none, which is `plain`.
    """

    written: str
    summary: str
    plain: LabelRule | None = None
    read: Callable[[str, str], LabelRule] | None = None


LABEL_RULES: Registry[LabelRuleEntry] = Registry(
    "label rule",
    {
        "top": LabelRuleEntry("top", "the tag with the highest score, ties by name", Top()),
        "leaf": LabelRuleEntry("leaf", "the best tag that is no parent of another tag", Leaf()),
        "among": LabelRuleEntry("among:FILE", f"the best of the labels in FILE, one a line, else {OTHER}", read=_among),
        "has": LabelRuleEntry("has:TAG@0.6", f"TAG, where its score is at least 0.6, else {OTHER}", read=_has),
    },
)


def read_label_rule(text: str) -> LabelRule:
    """The rule that `text` names, as in top or among:labels.txt. Raises RaysmoothError for an unknown rule, and for a
    file of labels that cannot be read.
    """
    name, colon, rest = text.strip().partition(":")
    entry, flag = LABEL_RULES[name.strip()], f"--label-rule {printable(text.strip())}"
    if entry.read is not None:
        return entry.read(flag, rest.strip())
    if colon:
        raise RaysmoothError(f"{flag}: {name} takes nothing after it: write {entry.written}")
    assert entry.plain is not None, "an entry is plain or reads its text"
    return entry.plain
