"""Networks that a program has in memory, as a base classifier: copies of its modules, and its functions as they are."""

import copy
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded, put_together
from raysmooth.actors.models.network_reading import load_denoiser
from raysmooth.actors.models.networks.input_size import resize_layer, settled_input_size
from raysmooth.actors.models.preprocess import parse_preprocess
from raysmooth.actors.models.rejector_loading import load_rejector
from raysmooth.actors.models.weights import fingerprint
from raysmooth.common.errors import RaysmoothError, described, one_line


@dataclass(frozen=True)
class GivenModel:
    """A program's own networks. `classifier` and `denoiser` are torch modules or functions of a batch of pixels (B, C,
    H, W), `preprocess` is a module. Parts that are None are those of the spec, or there are none. `num_classes` is that
    of a classifier that answers labels.
    """

    classifier: Any
    denoiser: Any = None
    preprocess: nn.Module | None = None
    num_classes: int | None = None

    def load(self, spec: BaseClassifierSpec, device: torch.device) -> Loaded:
        """The base classifier on `device`, of copies in eval mode: the program's own modules stay as they are.

        Raises RaysmoothError for objects that are no networks or cannot be copied, and as `load_base_classifier` for
        what `spec` names.
        """
        classifier = _part("model", self.classifier, self.num_classes)
        if self.denoiser is None:
            read = load_denoiser(spec.denoiser, spec.denoiser_weights, spec.import_path)
            denoiser, denoiser_name, denoiser_card = read.network, read.name, read.card
        else:
            found = _part("denoiser", self.denoiser)
            denoiser = found if isinstance(found, nn.Module) else _CalledDenoiser(found)
            denoiser_name, denoiser_card = spec.denoiser, {}
        rejector, rejector_name, rejector_card = load_rejector(spec.rejector, spec.rejector_weights, spec.import_path)
        if self.preprocess is None:
            preprocess, normalize = spec.preprocess or "none", parse_preprocess(spec.preprocess or "none")
        else:
            preprocess, normalize = name_of(self.preprocess), _copied("preprocess", self.preprocess)
        resizing = spec.resizing or settled_input_size(spec.input_size, spec.interpolation, None)
        if (resize := resize_layer(resizing)) is not None:
            normalize = nn.Sequential(resize, normalize)
        whole = BaseClassifierSpec(
            spec.classifier,
            preprocess=preprocess,
            resizing=resizing,
            denoiser=denoiser_name,
            denoiser_weights=spec.denoiser_weights,
            rejector=rejector_name,
            rejector_weights=spec.rejector_weights,
            import_path=spec.import_path,
            classifier_fingerprint=_fingerprint(classifier),
            denoiser_fingerprint=_fingerprint(denoiser),
            rejector_fingerprint=None if rejector is None else _fingerprint(rejector.network),
        )
        model: DenoisedClassifier = put_together(whole, denoiser, normalize, classifier, rejector, device)
        origin = "the classifier's own" if self.preprocess is None and spec.preprocess is None else "--preprocess"
        return Loaded(
            model,
            whole,
            {},
            denoiser_card,
            preprocess_from=origin,
            rejector_card=rejector_card,
            resizing_from="--input-size",
            fitting="images or the model that fits",
            stating="write --num-classes 10, say",
        )


def name_of(value: Any) -> str:
    """What rows call an object: MODULE:NAME of a function, or of an object's class, as "__main__:Net"."""
    named = value if hasattr(value, "__qualname__") else type(value)
    parts = [part for part in str(named.__qualname__).split(".") if part != "<locals>"]
    module = str(getattr(named, "__module__", None) or "__main__")
    return ":".join(".".join(map(_identifier, text)) for text in (module.split("."), parts))


def _identifier(text: str) -> str:
    return f"{'_' * text[:1].isdigit()}{re.sub(r'[^0-9A-Za-z_]', '', text)}" or "_"


def _part(what: str, value: Any, num_classes: int | None = None) -> Any:
    """A copy of a module, or the function, which states `num_classes`, if given."""
    if isinstance(value, type):
        raise RaysmoothError(f"{what} is {described(value)}: give an object of it, {value.__name__}(...)")
    if not isinstance(value, nn.Module):
        if not callable(value):
            raise RaysmoothError(
                f"{what} is {described(value)}: give a torch module with its weights, or a function of a batch of "
                "pixels (B, C, H, W)"
            )
        return value if num_classes is None else _Called(value, num_classes)
    module: Any = _copied(what, value)
    if num_classes is not None:
        module.num_classes = num_classes
    return module


def _copied(what: str, module: nn.Module) -> nn.Module:
    if any(isinstance(one, UninitializedParameter) for one in module.parameters()):
        raise RaysmoothError(f"{what} has lazy layers that have no weights yet: call it on a batch of pixels first")
    try:
        return copy.deepcopy(module)
    except Exception as error:  # whatever the module's own parts raise
        raise RaysmoothError(
            f"{what} cannot be copied ({one_line(error)}): give a function that calls it, such as lambda batch: "
            f"{what}(batch), with the module in eval mode"
        ) from error


def _fingerprint(part: Any) -> str | None:
    return fingerprint(part) if isinstance(part, nn.Module) and not isinstance(part, _CalledDenoiser) else None


class _Called:
    """A function that answers labels, with their number."""

    def __init__(self, function: Any, num_classes: int) -> None:
        self._function, self.num_classes = function, num_classes

    def __call__(self, batch: torch.Tensor) -> Any:
        return self._function(batch)


class _CalledDenoiser(nn.Module):
    """A function in a denoiser's place. It gets float32 pixels whatever the networks compute in, and is shared by
    copies: it may be a connection to a service.
    """

    def __init__(self, function: Any) -> None:
        super().__init__()
        self._call = partial(_in_float32, function)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self._call(batch)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_CalledDenoiser":
        return self


def _in_float32(function: Any, batch: torch.Tensor) -> torch.Tensor:
    pixels = function(batch.float())
    if not isinstance(pixels, torch.Tensor) or pixels.shape != batch.shape:
        raise RaysmoothError(
            f"the denoiser returns {described(pixels)}: it must return the pixels of the batch, a tensor of shape "
            f"{tuple(batch.shape)}"
        )
    return pixels.float()
