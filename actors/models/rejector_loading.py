"""A rejector in memory: a rule from its options, or a trained network from its weights and their card."""

from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from raysmooth.actors.models.checkpoints import fits
from raysmooth.actors.models.networks.rejector import BLOCKS, RejectorNetwork
from raysmooth.actors.models.rejection_rules import Rejector
from raysmooth.actors.models.rejectors import NO_REJECTOR, REJECTORS, Network, read_rejector
from raysmooth.actors.models.stage_features import Tap, find_taps
from raysmooth.actors.models.weight_paths import found_below
from raysmooth.actors.models.weights import Weights, load_weights, misfit, read_weights
from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.common.limits import MOST_CLASSES
from raysmooth.common.settings import read_options
from raysmooth.common.variant import Variant
from raysmooth.storage.records import BadRecord, Name, Record, validated

LARGEST_SIDE = 2048
"""Pixels of a side, and channels, that a card may name: the classifier is tried on such an image."""


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
    weights = read_weights(found_below(path, folders) or "")
    card = _card(weights, path)
    carded = Variant.parse(card.architecture or "")
    # The card has the size of the training: users need not repeat it.
    merged = Variant(written.name, tuple(sorted({**dict(carded.options), **dict(written.options)}.items())))
    chosen = read_options(Network, merged, f"weights {path}: rejector")
    build = partial(_network, card, chosen)
    with torch.device("meta"):  # without memory: a card may say anything
        empty = build()
    if not any(fits(empty.state_dict(), state) for state in weights.state_dicts.values()):
        raise RaysmoothError(misfit(empty.state_dict(), empty, weights, path))
    network = build()
    load_weights(network, weights, path)
    return entry.build(network, chosen.threshold), str(_whole(merged, chosen)), weights.card


class _Tap(Record):
    module: Name
    call: Annotated[int, Field(ge=0, le=100_000)]
    channels: Annotated[int, Field(ge=1, le=100_000)]
    height: Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
    width: Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class _RejectorCard(Record):
    """What a trained rejector is built from, `RejectorNetwork.card`."""

    architecture: Name
    taps: Annotated[list[_Tap], Field(max_length=len(BLOCKS[34]))]
    num_classes: Annotated[int, Field(ge=2, le=MOST_CLASSES)]
    image_shape: Annotated[list[Annotated[int, Field(ge=1, le=LARGEST_SIDE)]], Field(min_length=3, max_length=3)]


def _card(weights: Weights, path: str) -> _RejectorCard:
    try:
        card = validated(_RejectorCard, weights.card, f"weights {path}: its card")
    except BadRecord as refusal:
        raise RaysmoothError(f"{refusal}: give weights of train rejector") from None
    try:
        made = Variant.parse(card.architecture)
    except RaysmoothError:
        made = None
    # The threshold is the user's, not the file's.
    if made is None or made.name != "network" or "threshold" in dict(made.options):
        raise RaysmoothError(f"weights {path} are those of '{card.architecture}': give weights of train rejector")
    return card


def _network(card: _RejectorCard, size: Network) -> RejectorNetwork:
    taps = [Tap(tap.module, tap.call, tap.channels, tap.height, tap.width) for tap in card.taps]
    return RejectorNetwork(taps, card.num_classes, card.image_shape, size.width, size.depth)


@torch.inference_mode()
def check_taps(model: nn.Module, normalize: nn.Module, rejector: Rejector, path: str) -> None:
    """Raises RaysmoothError where the features of the classifier `model` that `rejector` was trained on are not those
    that `find_taps` finds in it now: with the weights, these decide what is rejected.
    """
    if (network := rejector.network) is None:
        return
    parameter = next(model.parameters(), torch.empty(0))
    blank = torch.zeros(1, *network.image_shape, device=parameter.device)
    try:
        found = find_taps(model, normalize(blank))
    except Exception as error:
        raise RaysmoothError(
            f"rejector weights {path} are for images of shape {network.image_shape}, on which the classifier fails "
            f"({one_line(error)}): give the rejector of this classifier"
        ) from error
    for tap in network.taps:
        if tap not in found:
            raise RaysmoothError(
                f"rejector weights {path} are for a classifier whose last features of {tap.height} x {tap.width} are "
                f"{tap.channels} at '{printable(tap.module)}', and this one has others: give the rejector of this "
                "classifier"
            )


def _whole(written: Variant, options: Any) -> Variant:
    """With every option, so that 0.60 and a default are written one way."""
    return Variant(written.name, tuple(sorted(vars(options).items())))
