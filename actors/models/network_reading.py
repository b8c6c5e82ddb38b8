"""One classifier or denoiser with its weights: built by its name and loaded, or read from a file of another tool."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from raysmooth.actors.models.classifiers import CLASSIFIERS, build_classifier
from raysmooth.actors.models.denoisers import NO_DENOISER, build_denoiser
from raysmooth.actors.models.ensemble_cards import card_of
from raysmooth.actors.models.ensembles import ensemble_name, member_name, one_denoiser, one_identity
from raysmooth.actors.models.formats.readers import FileNetwork, read_classifier, read_denoiser
from raysmooth.actors.models.own_callable import make_importable, source_digest
from raysmooth.actors.models.preprocess import preprocess_text
from raysmooth.actors.models.weight_paths import found_below, members_of
from raysmooth.actors.models.weights import Weights, fingerprint, load_weights, read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.model_files import is_model_file
from raysmooth.common.variant import Variant


@dataclass(frozen=True)
class ReadNetwork:
    """A network on the CPU, with its weights.

    `name`: its architecture with all options. `fingerprint`: SHA-256 in hex of what decides its answers; empty for no
    network. `preprocess`: the normalisation that its files name, and `preprocess_from` where; `layers`: its constants,
    where they are layers of the weights file. `where`: the file that could have named it. `resizing`: that before the
    classifier, as `InputSize.parse` reads it. The rest is as in `FileNetwork`.
    """

    network: Any
    name: str
    fingerprint: str
    card: Mapping[str, Any] = field(default_factory=dict)
    preprocess: str | None = None
    preprocess_from: str = ""
    layers: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    where: str = ""
    resizing: str | None = None
    unsaid: str = ""
    class_names: tuple[str, ...] = ()
    about: tuple[str, ...] = ()


def read_classifier_network(
    architecture: Variant, path: str | None, trust_code: bool = False, import_path: tuple[str, ...] = ()
) -> ReadNetwork:
    """The classifier with the weights at `path`. The user's own module is looked for below `import_path` too.

    Raises RaysmoothError for an unknown name, own code without `trust_code`, and weights that are missing or do not
    fit.
    """
    if is_model_file(architecture.name):
        return _from_file(read_classifier(architecture, path), architecture, path)
    if architecture.is_own and trust_code:
        make_importable(import_path)
    classifier = build_classifier(architecture, trust_code)
    weights = _classifier_weights(architecture, classifier, path)
    if weights is None:
        return ReadNetwork(classifier, str(architecture), _identity(architecture, classifier))
    layers = load_weights(classifier, weights, str(path)).normalisation
    carded = weights.card.get("preprocess")
    return ReadNetwork(
        classifier,
        str(architecture),
        _identity(architecture, classifier),
        weights.card,
        carded or (preprocess_text(*layers) if layers else None),
        "the weights' card" if carded else "layers in the weights file",
        layers,
        weights.where,
        weights.card.get("resizing"),
    )


def load_denoiser(name: str, path: str | None, folders: tuple[str, ...] = ()) -> ReadNetwork:
    """The denoiser `name`, with the weights at `path` or below one of `folders`, and by default with the options in the
    weights' card. Of several weights, the mean of them. Its network is None for NO_DENOISER, else a torch module.

    Raises RaysmoothError for an unknown name, weights that are missing or do not fit, weights without a denoiser, and
    weights of different architectures.
    """
    if name == NO_DENOISER:
        if path is not None:
            raise RaysmoothError(f"--denoiser-weights {path} without a denoiser: write --denoiser dncnn too")
        return ReadNetwork(None, NO_DENOISER, "")
    architecture = Variant.parse(name)
    paths = members_of(path, folders)
    architecture, _ = member_name(architecture, len(paths) or 1, "denoiser")
    if not paths:
        if is_model_file(architecture.name):
            read_denoiser(architecture, None)
        build_denoiser(architecture)  # an unknown name is the more useful message
        raise RaysmoothError(f"denoiser '{architecture}' has no weights: give --denoiser-weights FILE")
    members = [_read_denoiser(architecture, one, folders) for one in paths]
    for one, member in zip(paths, members, strict=True):
        if member.name != members[0].name:
            raise RaysmoothError(
                f"denoiser weights {paths[0]} are of '{members[0].name}', {one} of '{member.name}': give an ensemble "
                "members of one architecture"
            )
    return ReadNetwork(
        one_denoiser([member.network for member in members]),
        str(ensemble_name(Variant.parse(members[0].name), len(paths))),
        one_identity([member.fingerprint for member in members]),
        card_of([(one, member.card) for one, member in zip(paths, members, strict=True)]),
        about=tuple(words for member in members for words in member.about),
    )


def _read_denoiser(architecture: Variant, path: str, folders: tuple[str, ...]) -> ReadNetwork:
    """As `load_denoiser`, of one weights file."""
    file = found_below(path, folders) or ""
    if is_model_file(architecture.name):
        return _from_file(read_denoiser(architecture, file), architecture, file)
    weights = read_weights(file)
    carded = weights.card.get("architecture")
    if carded and not architecture.options and Variant.parse(carded).name == architecture.name:
        # The card has the depth, width and channels of the training: users need not repeat them.
        architecture = Variant.parse(carded)
    denoiser = build_denoiser(architecture)
    load_weights(denoiser, weights, path)
    return ReadNetwork(denoiser, str(architecture), fingerprint(denoiser), weights.card)


def _from_file(file: FileNetwork, architecture: Variant, path: str | None) -> ReadNetwork:
    return ReadNetwork(
        file.network,
        str(architecture),
        file.fingerprint or fingerprint(file.network),
        file.card,
        file.preprocess,
        "the model's own files",
        where="" if file.unsaid else str(path),
        resizing=file.resizing,
        unsaid=file.unsaid,
        class_names=file.class_names,
        about=file.about,
    )


def _classifier_weights(architecture: Variant, classifier: Any, path: str | None) -> Weights | None:
    """The classifier's weights: from a file, or one of torchvision's sets by name. None for the user's own callable,
    which has its weights already.
    """
    own = architecture.is_own
    if path is None:
        if own:
            return None
        raise RaysmoothError(
            f"classifier '{architecture}' has no weights: give --classifier-weights FILE (safetensors or torch), "
            "or for a torchvision model the name of one of its weight sets, such as IMAGENET1K_V1"
        )
    if own and not isinstance(classifier, torch.nn.Module):
        raise RaysmoothError(f"--classifier-weights {path}: '{architecture}' returns no torch module to load them into")
    if not os.path.exists(path) and path.isidentifier():
        if architecture.name in CLASSIFIERS and path in (named := CLASSIFIERS[architecture.name].weights):
            return read_weights(named[path]())
        from torchvision.models import get_model_weights, list_models

        if architecture.name in list_models():
            published = get_model_weights(architecture.name)
            if path not in published.__members__:
                raise RaysmoothError(
                    f"--classifier-weights {path}: neither a file nor one of {architecture}'s weight sets "
                    f"({', '.join(published.__members__)})"
                )
            try:
                return Weights({"": published[path].get_state_dict(progress=False, check_hash=True)}, {})
            except OSError as error:
                raise RaysmoothError(
                    f"--classifier-weights {path}: cannot be fetched ({error}): give a file instead"
                ) from None
    return read_weights(path)


def _identity(architecture: Variant, classifier: Any) -> str:
    """Fingerprint of the tensors, and of the source of the user's own callable."""
    state = fingerprint(classifier) if isinstance(classifier, torch.nn.Module) else ""
    return source_digest(architecture, state) or state
