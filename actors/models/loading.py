"""From a spec to a base classifier in memory: networks built, their weights read, checked against what the run began
with, and put on a device.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import CLASSIFIERS, build_classifier, default_preprocess
from raysmooth.actors.models.denoisers import NO_DENOISER, build_denoiser
from raysmooth.actors.models.ensemble_cards import card_of
from raysmooth.actors.models.ensembles import (
    ensemble_name,
    joined_preprocess,
    member_name,
    one_classifier,
    one_denoiser,
    one_identity,
    preprocess_of_members,
)
from raysmooth.actors.models.formats.onnx_interface import OnnxInterface
from raysmooth.actors.models.formats.onnx_options import ONNX, read_options
from raysmooth.actors.models.formats.onnx_session import OnnxClassifier, read_classifier, read_denoiser
from raysmooth.actors.models.networks.ensemble import Ensemble
from raysmooth.actors.models.own_callable import make_importable, refused_images, source_digest
from raysmooth.actors.models.preprocess import EACH, in_pixel_units, parse_preprocess, preprocess_text
from raysmooth.actors.models.rejection_rules import Rejector
from raysmooth.actors.models.rejector_loading import check_taps, load_rejector
from raysmooth.actors.models.weight_paths import found_below, members_of
from raysmooth.actors.models.weights import Weights, fingerprint, load_weights, read_weights
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.limits import MOST_CLASSES
from raysmooth.common.variant import Variant


@dataclass(frozen=True)
class Loaded:
    """A base classifier in memory, its spec with all defaults and fingerprints filled in, and the weights' cards."""

    model: DenoisedClassifier
    spec: BaseClassifierSpec
    classifier_card: Mapping[str, Any]
    denoiser_card: Mapping[str, Any]
    assumed: str | None = None
    """What neither the user nor the files said, and what was taken instead."""
    preprocess_from: str = "the classifier's own"
    """Where the spec's normalisation comes from."""
    rejector_card: dict[str, Any] = field(default_factory=dict)
    """That of a trained rejector."""
    about: tuple[str, ...] = ()
    """What files of other tools say of their networks, in a few words each."""
    fitting: str = "the data set, --resize/--crop or the model that fits"
    """What can be chosen where the images do not fit the networks."""
    stating: str = "give the object an attribute num_classes"
    """What to do where a classifier of labels does not say how many there are."""


def load_base_classifier(spec: BaseClassifierSpec, device: torch.device) -> Loaded:
    """Build the networks, load their weights, and put them on `device` in eval mode, channels last.

    Raises RaysmoothError for an unknown name, a weights file that is missing or does not fit, and weights whose
    fingerprint differs from the spec's.
    """
    architecture = Variant.parse(spec.classifier)
    if architecture.is_own and spec.trust_code:
        make_importable(spec.import_path)
    names = spec.classifiers or (None,)
    architecture, consensus = member_name(architecture, len(names), "classifier")
    consensus = spec.consensus or consensus
    written = preprocess_of_members(spec.preprocess, len(names))
    members = [_load_member(architecture, spec, name, own) for name, own in zip(names, written, strict=True)]
    networks = [member.network for member in members]
    preprocess = joined_preprocess([member.preprocess for member in members])
    classifier = one_classifier(networks, [str(name) for name in names], consensus, EACH in preprocess)
    denoiser, denoiser_name, denoiser_card = load_denoiser(spec.denoiser, spec.denoiser_weights, spec.import_path)
    rejector, rejector_name, rejector_card = load_rejector(spec.rejector, spec.rejector_weights, spec.import_path)
    found = replace(
        spec,
        classifier=str(ensemble_name(architecture, len(names), consensus)),
        preprocess=preprocess,
        denoiser=denoiser_name,
        rejector=rejector_name,
        classifier_fingerprint=one_identity([_identity(architecture, network) for network in networks]),
        denoiser_fingerprint=fingerprint(denoiser) if denoiser is not None else None,
        rejector_fingerprint=None if rejector is None or rejector.network is None else fingerprint(rejector.network),
    )
    for part in ("classifier", "denoiser", "rejector"):
        wanted, got = getattr(spec, f"{part}_fingerprint"), getattr(found, f"{part}_fingerprint")
        if wanted is not None and wanted != got:
            raise RaysmoothError(
                f"the {part}'s weights on {os.uname().nodename} are not those that this run began with "
                f"({getattr(spec, f'{part}_weights') or spec.classifier}): give every machine the same file, and the "
                "user's own module fixed weights"
            )
    model = put_together(found, denoiser, parse_preprocess(preprocess), classifier, rejector, device)
    assumed = dict.fromkeys(member.assumed for member in members if member.assumed is not None)
    return Loaded(
        model,
        found,
        card_of([(str(name), member.card) for name, member in zip(names, members, strict=True)]),
        denoiser_card,
        "; ".join(assumed) or None,
        ", ".join(dict.fromkeys(member.preprocess_from for member in members)),
        rejector_card,
        _about([*networks, denoiser]),
    )


def _about(networks: Sequence[Any]) -> tuple[str, ...]:
    """What ONNX files among these networks say of themselves."""
    found = [getattr(getattr(one, "network", one), "interface", None) for one in networks]
    return tuple(dict.fromkeys(interface.about for interface in found if isinstance(interface, OnnxInterface)))


@dataclass(frozen=True)
class _Member:
    """A classifier in memory, on the CPU, without its normalisation; the fields are as in `Loaded`."""

    network: Any
    card: Mapping[str, Any]
    preprocess: str
    assumed: str | None
    preprocess_from: str


def _load_member(architecture: Variant, spec: BaseClassifierSpec, name: str | None, written: str | None) -> _Member:
    """The classifier of `spec` with the weights of path `name`. `written`: its normalisation, if the user wrote one."""
    file = found_below(name, spec.import_path)
    if architecture.name == ONNX:
        return _onnx_member(architecture, file, written)
    classifier = build_classifier(architecture, spec.trust_code)
    weights = _classifier_weights(architecture, classifier, file)
    stored = None
    if weights is not None:
        fit = load_weights(classifier, weights, str(name))
        stored = weights.card.get("preprocess") or (preprocess_text(*fit.normalisation) if fit.normalisation else None)
        if fit.normalisation and written is None:
            _refuse_other_units(fit.normalisation, str(name))
    preprocess = written or stored or default_preprocess(architecture)
    assumed = None
    if weights is not None and weights.where and not (written or stored):
        assumed = (
            f"preprocess {preprocess} assumed, as {weights.where} does not name one: write --preprocess if it differs"
        )
    card = weights.card if weights is not None else {}
    origin = "the classifier's own"
    if written:
        differs = stored is not None and _constants(stored) != _constants(written)
        origin = "--preprocess" + (f", though the weights have {printable(stored)}" if differs and stored else "")
    elif stored:
        origin = "the weights' card" if card.get("preprocess") else "layers in the weights file"
    elif assumed:
        origin = "assumed"
    return _Member(classifier, card, preprocess, assumed, origin)


def _onnx_member(architecture: Variant, path: str | None, written: str | None) -> _Member:
    """The classifier in an ONNX file, which does not say how pixels are normalised for it."""
    options = read_options(architecture, "classifier")
    if path is None:
        raise RaysmoothError("classifier 'onnx' is in a file: write --classifier onnx --classifier-weights FILE.onnx")
    if written is not None:
        return _Member(read_classifier(path, options), {}, written, None, "--preprocess")
    assumed = f"preprocess none assumed, as {path} does not name one: write --preprocess if it differs"
    return _Member(read_classifier(path, options), {}, "none", assumed, "assumed")


def put_together(
    spec: BaseClassifierSpec,
    denoiser: torch.nn.Module | None,
    normalize: torch.nn.Module,
    classifier: Any,
    rejector: Rejector | None,
    device: torch.device,
) -> DenoisedClassifier:
    """The base classifier of these parts, on `device` in eval mode, channels last; `spec` names them in messages.

    Raises RaysmoothError for a BatchNorm that classifies by the batch, and a trained rejector of another classifier.
    """
    if rejector is not None and isinstance(classifier, OnnxClassifier):
        classifier.refuse_as_logits(f"--rejector {spec.rejector}")
    if rejector is not None and rejector.network is not None and not isinstance(classifier, torch.nn.Module):
        raise RaysmoothError(
            f"--rejector {spec.rejector}: '{spec.classifier}' returns no torch module, so that it has no features for "
            "a trained rejector: write a rule, such as --rejector confidence:threshold=0.6"
        )
    if rejector is not None and rejector.network is not None and isinstance(classifier, Ensemble):
        raise RaysmoothError(
            f"--rejector {spec.rejector}: a trained rejector sees the features of one classifier, and "
            f"'{spec.classifier}' is an ensemble: write a rule, such as --rejector confidence:threshold=0.6"
        )
    model = DenoisedClassifier(denoiser, normalize, classifier, rejector)
    if any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.running_mean is None for m in model.modules()):
        raise RaysmoothError(
            f"classifier '{spec.classifier}' or its denoiser has a BatchNorm without running statistics: an image's "
            "label would depend on the others in its batch. Give networks whose BatchNorms track them"
        )
    model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
    if rejector is not None:
        check_taps(classifier, model.normalize, rejector, str(spec.rejector_weights))
    return model


def _refuse_other_units(normalisation: tuple[tuple[float, ...], tuple[float, ...]], where: str) -> None:
    """Raises RaysmoothError for constants of pixels from 0 to 255."""
    if (scaled := in_pixel_units(*normalisation)) is not None:
        raise RaysmoothError(
            f"weights {where} normalise by {preprocess_text(*normalisation)}, for pixels from 0 to 255; here they have "
            f"0 to 1: write --preprocess {scaled}"
        )


def _constants(preprocess: str) -> list[list[float]] | None:
    """Means and deviations; None for a text of a card that is no normalisation."""
    try:
        return [constant.flatten().tolist() for constant in parse_preprocess(preprocess).buffers()]
    except RaysmoothError:
        return None


def check_image(loaded: Loaded, image: torch.Tensor) -> int:
    """Classify two copies of one image (C, H, W) and return the number of classes; raises RaysmoothError if the
    classifier rejects them, or has fewer than two classes.
    """
    try:
        with torch.inference_mode():
            loaded.model(torch.stack([image, image]).contiguous(memory_format=torch.channels_last))
    except RaysmoothError:
        raise
    except SystemExit as end:
        raise RaysmoothError(
            f"classifier '{loaded.spec.classifier}' ends the program when it is called (SystemExit: {end}): let it "
            "return logits, or raise an error"
        ) from end
    except Exception as error:
        with_denoiser = "" if loaded.spec.denoiser == NO_DENOISER else f" behind denoiser '{loaded.spec.denoiser}'"
        who, own = f"classifier '{loaded.spec.classifier}'{with_denoiser}", Variant.parse(loaded.spec.classifier).is_own
        raise refused_images(who, own, tuple(image.shape), error, loaded.fitting) from error
    if loaded.model.num_classes < 1:
        raise RaysmoothError(
            f"classifier '{loaded.spec.classifier}' returns labels but not how many there are: "
            f"{loaded.stating}, a whole number from 2 to {MOST_CLASSES:,}"
        )
    if loaded.model.num_classes < 2:
        raise RaysmoothError(
            f"classifier '{loaded.spec.classifier}' has one class: smoothing needs two or more logits per image "
            "(turn a single logit z into two, 0 and z)"
        )
    return loaded.model.num_classes


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


def load_denoiser(
    name: str, path: str | None, folders: tuple[str, ...] = ()
) -> tuple[torch.nn.Module | None, str, Mapping[str, Any]]:
    """The denoiser `name` (None for NO_DENOISER), on the CPU, with the weights at `path` or below one of `folders`; its
    architecture, by default with the options in the weights' card; and that card. Of several weights, the mean of them.

    Raises RaysmoothError for an unknown name, weights that are missing or do not fit, weights without a denoiser, and
    weights of different architectures.
    """
    if name == NO_DENOISER:
        if path is not None:
            raise RaysmoothError(f"--denoiser-weights {path} without a denoiser: write --denoiser dncnn too")
        return None, NO_DENOISER, {}
    architecture = Variant.parse(name)
    paths = members_of(path, folders)
    architecture, _ = member_name(architecture, len(paths) or 1, "denoiser")
    if not paths:
        build_denoiser(architecture)  # an unknown name is the more useful message
        raise RaysmoothError(f"denoiser '{architecture}' has no weights: give --denoiser-weights FILE")
    members = [_load_one_denoiser(architecture, one, folders) for one in paths]
    for one, (_, built, _) in zip(paths, members, strict=True):
        if built != members[0][1]:
            raise RaysmoothError(
                f"denoiser weights {paths[0]} are of '{members[0][1]}', {one} of '{built}': give an ensemble members "
                "of one architecture"
            )
    card = card_of([(one, card) for one, (_, _, card) in zip(paths, members, strict=True)])
    return one_denoiser([network for network, _, _ in members]), str(ensemble_name(members[0][1], len(paths))), card


def _load_one_denoiser(
    architecture: Variant, path: str, folders: tuple[str, ...]
) -> tuple[torch.nn.Module, Variant, Mapping[str, Any]]:
    """As `load_denoiser`, of one weights file."""
    file = found_below(path, folders) or ""
    if architecture.name == ONNX:
        return read_denoiser(file, read_options(architecture, "denoiser")), architecture, {}
    weights = read_weights(file)
    carded = weights.card.get("architecture")
    if carded and not architecture.options and Variant.parse(carded).name == architecture.name:
        # The card has the depth, width and channels of the training: users need not repeat them.
        architecture = Variant.parse(carded)
    denoiser = build_denoiser(architecture)
    load_weights(denoiser, weights, path)
    return denoiser, architecture, weights.card


def _identity(architecture: Variant, classifier: Any) -> str:
    """Fingerprint of the tensors, and of the source of the user's own callable; of an ONNX network, its digest."""
    if isinstance(classifier, OnnxClassifier):
        return classifier.digest
    state = fingerprint(classifier) if isinstance(classifier, torch.nn.Module) else ""
    return source_digest(architecture, state) or state
