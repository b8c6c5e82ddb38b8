"""From a logged answer to the code that is counted: rule, accepted classes and vocabulary together."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from raysmooth.actors.apis.answers import Tag
from raysmooth.pipeline.queries.accepted import Accepted
from raysmooth.pipeline.queries.label_rules import LabelRule
from raysmooth.pipeline.queries.vocabulary import (
    AcceptedVocabulary,
    ClosedVocabulary,
    OpenVocabulary,
    Vocabulary,
)


class HasTags(Protocol):
    """What a label is read from: an answer's tags, or the reason why the API gives none."""

    @property
    def tags(self) -> tuple[Tag, ...]: ...

    @property
    def refused(self) -> str | None: ...


class Labelling:
    """`rule` reads a label from an answer, `vocabulary` gives its code. Draws with a label have codes from 0 to K - 1;
    those without are rejected draws, whose codes are K more.
    """

    def __init__(self, rule: LabelRule, vocabulary: Vocabulary) -> None:
        self.rule, self.vocabulary = rule, vocabulary

    @property
    def num_labels(self) -> int:
        """K: a row of counts has 2 K numbers."""
        return self.vocabulary.num_labels

    def label(self, answer: HasTags) -> str | None:
        """The label of an answer; None where it has none."""
        return None if answer.refused is not None else self.rule.label_of(answer.tags)

    def draw_codes(self, answers: Iterable[HasTags]) -> list[int]:
        """The codes, from 0 to 2 K - 1, under which draws are counted. New labels are in the vocabulary's file before
        this returns: one write for all of them. Codes follow from the order of the answers, which must not be that of
        their arrival. Raises RaysmoothError as `Vocabulary.codes`.
        """
        answers = list(answers)
        labels = [self.label(answer) for answer in answers]
        known = iter(self.vocabulary.codes(label for label in labels if label is not None))
        return [
            next(known) if label is not None else self.num_labels + self._unlabelled(answer)
            for answer, label in zip(answers, labels, strict=True)
        ]

    def draw_code(self, answer: HasTags) -> int:
        """As `draw_codes`, of one answer."""
        return self.draw_codes([answer])[0]

    def _unlabelled(self, answer: HasTags) -> int:
        return self.vocabulary.no_answer if answer.refused is not None else self.vocabulary.no_tags

    def describe(self) -> dict[str, Any]:
        """What decides labels, for the identity of a run."""
        return {"label_rule": self.rule.describe()}


def vocabulary_of(
    open_labels: OpenVocabulary, rule: LabelRule, api_labels: Sequence[str] | None, accepted: Accepted | None = None
) -> Vocabulary:
    """The vocabulary of a run. Labels are closed where the rule's are, or the API's own, `api_labels`; otherwise they
    are `open_labels`, which all runs in a folder of results share.
    """
    closed = rule.closed_labels if rule.closed_labels is not None else api_labels
    if accepted is None:
        return ClosedVocabulary(closed) if closed is not None else open_labels
    if closed is None:
        return AcceptedVocabulary(accepted.classes, accepted.class_of, open_labels)
    others = [label for label in closed if label not in accepted.class_of]
    return AcceptedVocabulary(accepted.classes, accepted.class_of, ClosedVocabulary(others))
