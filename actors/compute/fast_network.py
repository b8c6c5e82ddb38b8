"""A base classifier made fast: BatchNorm folded, channels last, in the run's precision, compiled if configured."""

import copy
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from raysmooth.actors.compute.compilation import compiled
from raysmooth.actors.compute.compute_config import ComputeConfig, check_precision
from raysmooth.actors.compute.consensus import ConsensusSteps
from raysmooth.actors.compute.folding import fold_batch_norms
from raysmooth.actors.compute.pooling import pool_by_halves
from raysmooth.actors.models.answers import read_answer
from raysmooth.actors.models.base_classifier import DenoisedClassifier, excess_of, labels_of, taps_of
from raysmooth.actors.models.networks.ensemble import Ensemble
from raysmooth.actors.models.stage_features import StageFeatures
from raysmooth.actors.models.steadiness import alike
from raysmooth.common.errors import RaysmoothError, one_line


def fast_network(model: DenoisedClassifier, compute: ComputeConfig, device: torch.device) -> "FastNetwork":
    """A fast copy of `model` (in eval mode, on `device`) that computes as `compute` says; `model` is not changed.

    Raises RaysmoothError if `device` does not support the precision, or the user's module cannot be copied.
    """
    dtype = check_precision(compute.precision, device).dtype
    try:
        # Do not copy the user's own callable if it is not a torch module: it may be a connection to a service.
        shared = {} if isinstance(model.classifier, nn.Module) else {id(model.classifier): model.classifier}
        network = copy.deepcopy(model, shared).eval().requires_grad_(False)
    except Exception as error:
        if compute.precision != "float32":
            raise _unfit(compute.precision, error) from error
        return FastNetwork(model, model, compute, dtype)
    for part in (network.denoiser, network.classifier, network.rejector):
        if isinstance(part, nn.Module):
            fold_batch_norms(part)
            if device.type == "cpu" and not compute.compiled:
                pool_by_halves(part)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return FastNetwork(network, model, compute, dtype)


class FastNetwork:
    """Float32 batch (compute.batch_size, C, H, W) in pixel units, channels last in memory -> int64 labels, as
    `DenoisedClassifier` returns them.

    Noisy pixels are cast here, so that a compiler fuses the cast with the first layer. Normalisation, the layer that
    computes the logits (of an ensemble, of each member's) and BatchNorms that were not folded stay in float32, so that
    their rounding decides no ties. The user's own callable, if not a torch module, gets float32 pixels; only the
    denoiser before it is made fast.

    On a GPU, compiled code overwrites its output in the next call (CUDA graphs): copy it first.

    Batches of other sizes work too, unless `fixed_shape` (compiled code takes a single size).

    The first call completes the preparation, which needs the images' shape. It raises RaysmoothError for outputs of a
    wrong shape, a module that does not compute in the precision, and one that does not compile.
    """

    def __init__(
        self, network: DenoisedClassifier, plain: DenoisedClassifier, compute: ComputeConfig, dtype: torch.dtype
    ) -> None:
        self.num_classes = network.num_classes
        self.fixed_shape = compute.compiled
        self._network = network
        self._plain: DenoisedClassifier | None = plain
        self._config = compute
        self._dtype = dtype
        self._own = not isinstance(network.classifier, nn.Module)
        self._compute: Any = None
        self._stages: StageFeatures | None = None

    @property
    def num_labels(self) -> int:
        """The number of labels: that of the classes, or twice that with a rejector."""
        return self.num_classes if self._network.rejector is None else 2 * self.num_classes

    @torch.inference_mode()
    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        batch = batch.contiguous(memory_format=torch.channels_last)
        if self._compute is None:
            self._compute = self._prepared(batch)
        result = self._compute(batch)
        # No rule looks at the pixels: a rejector that does needs features, which a callable of another kind lacks.
        return self._labels(result, self._answer(result)) if self._own else result

    def _prepared(self, batch: torch.Tensor) -> Any:
        """The map from a batch to labels; with the user's own callable, to the input of that callable."""
        few = batch[:2].contiguous(memory_format=torch.channels_last)
        plain, self._plain = self._plain, None
        if plain is not None and not self._is_faithful(plain, few):
            self._network = copy.deepcopy(plain).to(memory_format=torch.channels_last)
            self._keep_features()
        last = self._check_answer(few)
        if self._dtype != torch.float32:
            try:
                self._cast(last)
                self._eager(few)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                raise _unfit(self._config.precision, error) from error
        denoiser = self._network.denoiser
        nothing_to_compile = self._own and (isinstance(denoiser, nn.Identity) or _in_its_own_precision(denoiser))
        to_compile = self._config.compiled and not nothing_to_compile
        classifier = self._network.classifier
        if isinstance(classifier, Ensemble) and classifier.consensus is not None:
            steps = ConsensusSteps(classifier, lambda noisy: self._normalised(self._denoised(noisy)))
            if to_compile:
                steps.compile(batch)
            # No rule looks at the pixels, and a trained rejector takes no ensemble.
            return lambda noisy: self._labels(noisy, steps(noisy))
        return compiled(self._eager, batch) if to_compile else self._eager

    def _is_faithful(self, plain: DenoisedClassifier, few: torch.Tensor) -> bool:
        """Whether the folded network still computes the function of `plain`: the user's code may use its parts in ways
        that a trace does not show.
        """
        pixels = plain.denoiser(few)
        pairs = [(self._network.denoiser(few), pixels)]
        if isinstance(plain.classifier, Ensemble):  # one by one: whether they agree may be a matter of rounding
            normalised = plain.normalize(pixels)
            pairs += zip(
                self._network.classifier.answers(normalised), plain.classifier.answers(normalised), strict=True
            )
        elif not self._own:
            answer, excess = plain.answer_and_excess(pixels)
            try:
                self._keep_features()
            except RaysmoothError:  # folding has replaced a module under one of its names only
                return False
            pairs.append((self._answer(plain.normalize(pixels)), answer))
            if excess is not None:
                pairs.append((self._excess(pixels, answer), excess))
        return all(ours.shape == theirs.shape and alike(ours, theirs, 1e-2) for ours, theirs in pairs)

    def _keep_features(self) -> None:
        """Let the network keep its features, where its rejector needs some: from here on, as modules with hooks are not
        folded.
        """
        if self._stages is not None:
            self._stages.close()
        taps = taps_of(self._network.rejector)
        self._stages = StageFeatures(self._network.classifier, taps) if taps else None

    def _check_answer(self, few: torch.Tensor) -> list[nn.Module]:
        """Find the number of classes from an output in float32; returns the layers whose output, reshaped or not, is
        the logits, of an ensemble each member's.
        """
        network = self._network
        outputs: list[tuple[nn.Module, torch.Tensor]] = []  # kept alive, so that no two share an address
        logits: list[torch.Tensor] = []

        def note(layer: nn.Module, _: Any, output: Any) -> None:
            outputs.append((layer, output))

        def note_answer(_: nn.Module, __: Any, output: Any) -> None:
            logits.append(read_answer(output, few))

        hooks: list[RemovableHandle] = []
        if not self._own:
            layers = (layer for layer in network.classifier.modules() if type(layer) in (nn.Linear, nn.Conv2d))
            hooks = [layer.register_forward_hook(note) for layer in layers]
            members = network.classifier.members if isinstance(network.classifier, Ensemble) else [network.classifier]
            hooks += [member.register_forward_hook(note_answer) for member in members]
        try:
            answer = self._answer(network.normalize(network.denoiser(few)))
        finally:
            for hook in hooks:
                hook.remove()
        if answer.ndim == 2:
            self.num_classes = answer.shape[1]
        ends = {one.data_ptr() for one in logits}
        return [layer for layer, output in outputs if output.data_ptr() in ends]

    def _cast(self, last: list[nn.Module]) -> None:
        network = self._network
        if not _in_its_own_precision(network.denoiser):
            network.denoiser.to(self._dtype)
        if not self._own:
            network.classifier.to(self._dtype)
        if (rejector := network.rejector.network if network.rejector is not None else None) is not None:
            rejector.to(self._dtype)
        for module in network.modules():
            # torch combines BatchNorm's float32 statistics with inputs of any precision.
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.float()
        for layer in (*last, *([rejector.head[-1]] if rejector is not None else [])):
            layer.float().register_forward_pre_hook(_in_float32)

    def _eager(self, batch: torch.Tensor) -> torch.Tensor:
        denoised = self._denoised(batch)
        pixels = self._normalised(denoised)
        return pixels if self._own else self._labels(denoised, self._answer(pixels))

    def _denoised(self, batch: torch.Tensor) -> torch.Tensor:
        denoiser = self._network.denoiser
        if isinstance(denoiser, nn.Identity):
            return batch
        return denoiser(batch if _in_its_own_precision(denoiser) else batch.to(self._dtype)).float()

    def _normalised(self, denoised: torch.Tensor) -> torch.Tensor:
        """What the classifier is given: in the run's precision, unless it is the user's own callable."""
        pixels = self._network.normalize(denoised)
        return pixels if self._own else pixels.to(self._dtype)

    def _answer(self, pixels: torch.Tensor) -> torch.Tensor:
        return read_answer(self._network.classifier(pixels), pixels)

    def _labels(self, denoised: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        answer = answer.float() if answer.ndim == 2 else answer
        return labels_of(answer, self.num_classes, self._excess(denoised, answer))

    def _excess(self, denoised: torch.Tensor, answer: torch.Tensor) -> torch.Tensor | None:
        """The rejector's, with the features that the last answer left."""
        features = self._stages.features if self._stages is not None else []
        excess = excess_of(self._network.rejector, denoised, answer, features)
        if self._stages is not None:
            self._stages.clear()
        return excess


def _in_its_own_precision(denoiser: nn.Module) -> bool:
    """Whether it computes as its file says, from float32 pixels, whatever it is cast to."""
    return bool(getattr(denoiser, "in_float32", False))


def _in_float32(_: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return inputs[0].float()


def _unfit(precision: str, error: Exception) -> RaysmoothError:
    return RaysmoothError(f"the network does not compute in {precision} ({one_line(error)}): write --precision float32")
