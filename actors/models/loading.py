"""From a spec to a base classifier in memory: networks built, their weights read, checked against what the run began
with, and put on a device.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import default_preprocess
from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.models.ensemble_cards import card_of
from raysmooth.actors.models.ensembles import (
    ensemble_name,
    joined_preprocess,
    member_name,
    one_classifier,
    one_identity,
    preprocess_of_members,
)
from raysmooth.actors.models.formats.onnx_session import OnnxClassifier
from raysmooth.actors.models.network_reading import ReadNetwork, load_denoiser, read_classifier_network
from raysmooth.actors.models.networks.ensemble import Ensemble
from raysmooth.actors.models.networks.input_size import settled_input_size
from raysmooth.actors.models.own_callable import refused_images
from raysmooth.actors.models.preprocess import (
    EACH,
    in_pixel_units,
    input_layers,
    parse_preprocess,
    preprocess_text,
)
from raysmooth.actors.models.rejection_rules import Rejector
from raysmooth.actors.models.rejector_loading import check_taps, load_rejector
from raysmooth.actors.models.weight_paths import found_below
from raysmooth.actors.models.weights import fingerprint
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.limits import MOST_CLASSES
from raysmooth.common.model_files import is_model_file
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
    resizing_from: str = ""
    """Where the spec's resizing comes from."""
    class_names: tuple[str, ...] = ()
    """Names that the classifier's file gives labels 0 to K - 1; none where it gives none."""


_FITTING = "the data set, --resize/--crop, --channels, --input-size or the model that fits"
"""As `Loaded.fitting`, for files that have an input size of their own."""


def load_base_classifier(spec: BaseClassifierSpec, device: torch.device) -> Loaded:
    """Build the networks, load their weights, and put them on `device` in eval mode, channels last.

    Raises RaysmoothError for an unknown name, a weights file that is missing or does not fit, and weights whose
    fingerprint differs from the spec's.
    """
    architecture = Variant.parse(spec.classifier)
    names = spec.classifiers or (None,)
    architecture, consensus = member_name(architecture, len(names), "classifier")
    consensus = spec.consensus or consensus
    written = preprocess_of_members(spec.preprocess, len(names))
    members = [_load_member(architecture, spec, name, own) for name, own in zip(names, written, strict=True)]
    networks = [member.read.network for member in members]
    preprocess = joined_preprocess([member.preprocess for member in members])
    classifier = one_classifier(networks, [str(name) for name in names], consensus, EACH in preprocess)
    resizing = spec.resizing or _one_resizing(spec, [member.read.resizing for member in members])
    denoiser = load_denoiser(spec.denoiser, spec.denoiser_weights, spec.import_path)
    rejector, rejector_name, rejector_card = load_rejector(spec.rejector, spec.rejector_weights, spec.import_path)
    found = replace(
        spec,
        classifier=str(ensemble_name(architecture, len(names), consensus)),
        preprocess=preprocess,
        resizing=resizing,
        denoiser=denoiser.name,
        rejector=rejector_name,
        classifier_fingerprint=one_identity([member.read.fingerprint for member in members]),
        denoiser_fingerprint=denoiser.fingerprint or None,
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
    model = put_together(found, denoiser.network, input_layers(resizing, preprocess), classifier, rejector, device)
    assumed = dict.fromkeys(member.assumed for member in members if member.assumed is not None)
    return Loaded(
        model,
        found,
        card_of([(str(name), member.read.card) for name, member in zip(names, members, strict=True)]),
        denoiser.card,
        "; ".join(assumed) or None,
        ", ".join(dict.fromkeys(member.preprocess_from for member in members)),
        rejector_card,
        (*(words for member in members for words in member.read.about), *denoiser.about),
        _FITTING if is_model_file(architecture.name) else Loaded.fitting,
        resizing_from="--input-size" if spec.input_size is not None else members[0].read.preprocess_from,
        class_names=members[0].read.class_names,
    )


@dataclass(frozen=True)
class _Member:
    """A classifier with its normalisation; the fields are as in `Loaded`."""

    read: ReadNetwork
    preprocess: str
    assumed: str | None
    preprocess_from: str


def _load_member(architecture: Variant, spec: BaseClassifierSpec, name: str | None, written: str | None) -> _Member:
    """The classifier of `spec` with the weights of path `name`. `written`: its normalisation, if the user wrote one."""
    read = read_classifier_network(architecture, found_below(name, spec.import_path), spec.trust_code, spec.import_path)
    if read.unsaid and spec.resizing is None and (written is None or spec.input_size is None):
        raise RaysmoothError(read.unsaid)
    if read.layers and written is None:
        _refuse_other_units(read.layers, str(name))
    preprocess = written or read.preprocess or default_preprocess(architecture)
    assumed = None
    if read.where and not (written or read.preprocess):
        assumed = (
            f"preprocess {preprocess} assumed, as {read.where} does not name one: write --preprocess if it differs"
        )
    origin = "the classifier's own"
    if written:
        differs = read.preprocess is not None and _constants(read.preprocess) != _constants(written)
        origin = "--preprocess" + (f", though the weights have {printable(str(read.preprocess))}" if differs else "")
    elif read.preprocess:
        origin = read.preprocess_from
    elif assumed:
        origin = "assumed"
    return _Member(read, preprocess, assumed, origin)


def _one_resizing(spec: BaseClassifierSpec, own: list[str | None]) -> str:
    """The resizing before the classifier, whose members' files say `own`. Raises RaysmoothError where these differ."""
    if len(set(own)) > 1 and spec.input_size is None:
        differing = " and ".join(str(one) for one in dict.fromkeys(own))
        raise RaysmoothError(
            f"the members of '{spec.classifier}' resize images in different ways ({differing}): write --input-size"
        )
    return settled_input_size(spec.input_size, spec.interpolation, own[0])


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
