"""Surrogates: classifiers that a black-box denoiser is trained through, in place of the protected one (Salman et al.
2020, section 2.3).
"""

import os
from collections.abc import Sequence
from itertools import chain

import torch

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.loading import Loaded, load_base_classifier
from raysmooth.actors.models.weights import fingerprint, read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.model_files import split_model_file
from raysmooth.common.variant import Variant
from raysmooth.tune.training.ensemble import members


def load_surrogates(
    written: Sequence[str], protected: Loaded | None, device: torch.device, trust_code: bool = False
) -> list[Loaded]:
    """The classifiers of `--surrogates`: FILE, ARCHITECTURE@FILE, or the FOLDER of an ensemble; frozen, in eval mode.

    Raises RaysmoothError for a file of unknown architecture, for two files with the same weights, and for the protected
    classifier itself under any name: black-box access has no gradients of it.
    """
    loaded: list[Loaded] = []
    seen: dict[str, str] = {}
    if protected is not None:
        seen[_tensors(protected)] = ""
    for text in chain.from_iterable(members(text) or [text] for text in written):
        file = split_model_file(text)
        architecture, _, path = ("", "", text) if os.path.exists(text) else text.rpartition("@")
        architecture, path = file or (architecture, path)
        if not architecture and not os.path.exists(path):
            raise RaysmoothError(
                f"--surrogates {path} does not exist: give a weights file, or the folder of a sweep that trained "
                "classifiers"
            )
        named = architecture or _architecture_in(path)
        spec = BaseClassifierSpec(named, path, import_path=(os.getcwd(),), trust_code=trust_code)
        surrogate = load_base_classifier(spec, device)
        found = _tensors(surrogate)
        if found in seen and not seen[found]:
            raise RaysmoothError(
                f"--surrogates {path} holds the protected classifier itself: leave it out, or, for white-box "
                "access to its gradients, leave --surrogates out"
            )
        if found in seen:
            raise RaysmoothError(f"--surrogates {path} holds the same weights as {seen[found]}: write each once")
        seen[found] = path
        loaded.append(surrogate)
    return loaded


def _tensors(loaded: Loaded) -> str:
    """Fingerprint of the weights alone, whatever network holds them."""
    classifier = loaded.model.classifier
    known = fingerprint(classifier) if isinstance(classifier, torch.nn.Module) else loaded.spec.classifier_fingerprint
    return str(known)


def _architecture_in(path: str) -> str:
    """The architecture named in a weights file: on its card, or as in published checkpoints."""
    card = read_weights(path).card
    if isinstance(named := card.get("architecture"), str):
        architecture = Variant.parse(named)
        if architecture.name in DENOISERS:
            raise RaysmoothError(f"--surrogates {path} holds a denoiser ({named}): give classifiers")
        if architecture.is_own:
            raise RaysmoothError(
                f"--surrogates {path} names code ('{architecture}') as its architecture: to import that, write it "
                f"yourself, {architecture}@{path}"
            )
        return str(architecture)
    for name, entry in CLASSIFIERS.items():
        if entry.published and entry.published == card.get("arch"):
            return name
    raise RaysmoothError(f"--surrogates {path} does not name its architecture: write ARCHITECTURE@{path}")
