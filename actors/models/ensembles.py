"""The members of an ensemble made one classifier or denoiser, with one normalisation and one identity."""

import hashlib
from collections.abc import Sequence
from typing import Any

from torch import nn

from raysmooth.actors.models.networks.ensemble import CallableEnsemble, Ensemble, MeanDenoiser
from raysmooth.actors.models.preprocess import EACH, read_preprocess
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

COUNT, CONSENSUS = "ensemble", "consensus"
"""Options that the names of ensembles have in results: of cifar_resnet110, cifar_resnet110:consensus=2,ensemble=3."""


def ensemble_name(architecture: Variant, count: int, consensus: int | None = None) -> Variant:
    """The name of an ensemble of `count` networks of this architecture, which is that of the only one."""
    if count == 1:
        return architecture
    own = {COUNT: count} if consensus is None else {COUNT: count, CONSENSUS: consensus}
    return Variant(architecture.name, tuple(sorted({**dict(architecture.options), **own}.items())))


def member_name(name: Variant, count: int, what: str) -> tuple[Variant, int | None]:
    """The architecture and the consensus of an ensemble with the `name` in results, or of any other name itself.

    `what`: "classifier" or "denoiser", for the message. Raises RaysmoothError for another number of members than
    `count`.
    """
    options = dict(name.options)
    if COUNT not in options or (count == 1 and name.is_own):
        return name, None
    if options.pop(COUNT) != count:
        raise RaysmoothError(
            f"{what} '{name}' is an ensemble, and there are weights of {count}: write --{what}-weights with the paths "
            "of all members, with commas between them"
        )
    consensus = options.pop(CONSENSUS, None)
    return Variant(name.name, tuple(sorted(options.items()))), consensus if isinstance(consensus, int) else None


def one_classifier(
    members: Sequence[Any], names: Sequence[str], consensus: int | None = None, own_inputs: bool = False
) -> Any:
    """The mean of the `members`' logits, or the only member itself. `consensus` and `own_inputs` are as in `Ensemble`.

    Raises RaysmoothError for callables that are no torch modules with one of these.
    """
    if len(members) == 1:
        return members[0]
    if all(isinstance(member, nn.Module) for member in members):
        return Ensemble(members, names, consensus, own_inputs)
    if consensus is not None or own_inputs:
        what = f"--consensus {consensus}" if consensus is not None else "several normalisations"
        raise RaysmoothError(f"{what} of an ensemble need torch modules, and {names[0]} is none: leave them out")
    return CallableEnsemble(members, names)


def one_denoiser(members: Sequence[nn.Module]) -> nn.Module:
    """The mean of the `members`' pixels, or the only member itself."""
    return members[0] if len(members) == 1 else MeanDenoiser(members)


def one_identity(members: Sequence[str]) -> str:
    """The only member's identity, or a hash of all, in their order."""
    return members[0] if len(members) == 1 else hashlib.sha256("\n".join(members).encode()).hexdigest()


def preprocess_of_members(text: str | None, count: int) -> list[str | None]:
    """What a user wrote, or an earlier run recorded, as the normalisation of each of `count` members: one for all, or
    as many with semicolons between them. Raises RaysmoothError for another number.
    """
    if text is None or EACH not in text:
        return [text] * count
    parts: list[str | None] = [part.strip() for part in text.split(EACH)]
    if len(parts) != count:
        raise RaysmoothError(
            f"--preprocess {text} has {len(parts)} normalisations, there are weights of {count}: write one, or one for "
            "each"
        )
    return parts


def joined_preprocess(texts: Sequence[str]) -> str:
    """The normalisation of members that have these: one where they are equal, however they are written."""
    if len(set(texts)) == 1 or len({read_preprocess(text) for text in texts}) == 1:
        return texts[0]
    return EACH.join(texts)
