"""What the members of an ensemble were trained with, each by its card, and as one card."""

from collections.abc import Mapping, Sequence
from typing import Any


class EnsembleCard(dict[str, Any]):
    """The entries in which the cards of all `members`, each a path and a card, agree; and the objectives of those that
    name one, joined by " + " where they differ.
    """

    def __init__(self, members: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self.members = tuple(members)
        cards = [card for _, card in members]
        entries = {key: value for key, value in cards[0].items() if all(card.get(key) == value for card in cards[1:])}
        objectives = dict.fromkeys(str(card["objective"]) for card in cards if card.get("objective") is not None)
        if objectives and "objective" not in entries:
            entries["objective"] = " + ".join(objectives)
        super().__init__(entries)


def card_of(members: Sequence[tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any]:
    """The card of the one member, or that of the ensemble."""
    return members[0][1] if len(members) == 1 else EnsembleCard(members)


def member_cards(path: str | None, card: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The path and the card of each member, or these, of a single network."""
    return card.members if isinstance(card, EnsembleCard) else [(str(path), card)]
