"""The fast form of a base classifier: BatchNorm folded, channels last, in the run's precision, compiled if it pays."""

import copy
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from raysmooth.actors.compute.compilation import compiled
from raysmooth.actors.compute.compute_config import ComputeConfig, check_precision
from raysmooth.actors.compute.folding import fold_batch_norms
from raysmooth.actors.compute.pooling import pool_by_halves
from raysmooth.actors.models.base_classifier import INVALID, DenoisedClassifier
from raysmooth.common.errors import RaysmoothError


def fast_network(model: DenoisedClassifier, path: ComputeConfig, device: torch.device) -> "FastNetwork":
    """`model`, in eval mode and on `device`, as `path` has it computed; `model` itself is not touched.

    Raises RaysmoothError where `device` has no such precision, or the user's module cannot be copied.
    """
    dtype = check_precision(path.precision, device).dtype
    try:
        # The user's own callable that is no torch module is not ours to copy: it may be a connexion to a service.
        shared = {} if isinstance(model.classifier, nn.Module) else {id(model.classifier): model.classifier}
        network = copy.deepcopy(model, shared).eval().requires_grad_(False)
    except Exception as error:
        if path.precision != "float32":
            raise _unfit(path.precision, error) from error
        return FastNetwork(model, model, path, dtype)
    for part in (network.denoiser, network.classifier):
        if isinstance(part, nn.Module):
            fold_batch_norms(part)
            if device.type == "cpu" and not path.compiled:
                pool_by_halves(part)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return FastNetwork(network, model, path, dtype)


class FastNetwork:
    """Float32 batch (path.batch_size, C, H, W) in pixel units, channels last in memory -> int64 labels, as
    `DenoisedClassifier` gives them.

    Pixels are cast here, noise and all, so that a compiler makes one pass of cast and first layer. Normalisation and
    the layer that gives the logits stay in float32: their rounding decides no ties. BatchNorms that are left do too.
    The user's own callable that is no torch module gets float32 pixels; only the denoiser before it is made fast.

    On a GPU, compiled code writes its answer where the next call writes its own (CUDA graphs): copy it before.

    Batches of other sizes are computed too, unless `fixed_shape` (the code is compiled for one).

    The first call needs the images' shape for the rest of the preparation. It raises RaysmoothError for answers of a wrong
    shape, for a module that does not compute in the precision, and for one that does not compile.
    """

    def __init__(
        self, network: DenoisedClassifier, plain: DenoisedClassifier, path: ComputeConfig, dtype: torch.dtype
    ) -> None:
        self.num_classes = network.num_classes
        self.fixed_shape = path.compiled
        self._network = network
        self._plain: DenoisedClassifier | None = plain
        self._path = path
        self._dtype = dtype
        self._own = not isinstance(network.classifier, nn.Module)
        self._compute: Any = None

    @torch.inference_mode()
    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        batch = batch.contiguous(memory_format=torch.channels_last)
        if self._compute is None:
            self._compute = self._prepared(batch)
        return self._labels(self._network.classifier(self._compute(batch))) if self._own else self._compute(batch)

    def _prepared(self, batch: torch.Tensor) -> Any:
        """What maps a batch to labels; where the classifier is the user's own callable, to what that is given."""
        few = batch[:2].contiguous(memory_format=torch.channels_last)
        plain, self._plain = self._plain, None
        if plain is not None and not self._is_faithful(plain, few):
            self._network = copy.deepcopy(plain).to(memory_format=torch.channels_last)
        last = self._check_answer(few)
        if self._dtype != torch.float32:
            try:
                self._cast(last)
                self._eager(few)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                raise _unfit(self._path.precision, error) from error
        nothing_to_compile = self._own and isinstance(self._network.denoiser, nn.Identity)
        if not self._path.compiled or nothing_to_compile:
            return self._eager
        return compiled(self._eager, batch)

    def _is_faithful(self, plain: DenoisedClassifier, few: torch.Tensor) -> bool:
        """Whether what was folded and rearranged still computes the function of `plain`: the code of the user's own
        module may use its parts in ways that do not show in a trace.
        """
        network = self._network
        pixels = plain.denoiser(few)
        pairs = [(network.denoiser(few), pixels)]
        if not self._own:
            given = plain.normalize(pixels)
            pairs.append((network.classifier(given), plain.classifier(given)))
        return all(
            ours.shape == theirs.shape
            and torch.allclose(ours.float(), theirs.float(), 1e-2, 1e-2 * float(theirs.abs().max()), equal_nan=True)
            for ours, theirs in pairs
        )

    def _check_answer(self, few: torch.Tensor) -> nn.Module | None:
        """Learn the number of classes from an answer in float32; returns the layer that gives the logits, if it is one
        whose output is the answer, however reshaped.
        """
        network = self._network
        outputs: list[tuple[nn.Module, torch.Tensor]] = []  # kept, so that no two have one address

        def note(layer: nn.Module, _: Any, output: Any) -> None:
            outputs.append((layer, output))

        hooks: list[RemovableHandle] = []
        if not self._own:
            layers = (layer for layer in network.classifier.modules() if type(layer) in (nn.Linear, nn.Conv2d))
            hooks = [layer.register_forward_hook(note) for layer in layers]
        try:
            answer = network.classifier(network.normalize(network.denoiser(few)))
        finally:
            for hook in hooks:
                hook.remove()
        if len(answer) != len(few):
            raise RaysmoothError(
                f"the classifier gives {len(answer)} answers for {len(few)} images: it must give one for each"
            )
        if answer.ndim == 2:
            self.num_classes = answer.shape[1]
        elif answer.ndim != 1 or answer.is_floating_point():
            raise RaysmoothError(
                f"the classifier answers with shape {tuple(answer.shape)}: "
                "it must give logits (images, classes), or one integer label an image"
            )
        return next((layer for layer, output in outputs if output.data_ptr() == answer.data_ptr()), None)

    def _cast(self, last: nn.Module | None) -> None:
        network = self._network
        network.denoiser.to(self._dtype)
        if not self._own:
            network.classifier.to(self._dtype)
        for module in network.modules():
            # torch takes BatchNorm's float32 statistics with any precision of its input.
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.float()
        if last is not None:
            last.float().register_forward_pre_hook(_in_float32)

    def _eager(self, batch: torch.Tensor) -> torch.Tensor:
        network = self._network
        if not isinstance(network.denoiser, nn.Identity):
            batch = network.denoiser(batch.to(self._dtype)).float()
        pixels = network.normalize(batch)
        return pixels if self._own else self._labels(network.classifier(pixels.to(self._dtype)))

    def _labels(self, answer: torch.Tensor) -> torch.Tensor:
        if answer.ndim == 1:
            return torch.where((answer >= 0) & (answer < self.num_classes), answer.long(), INVALID)
        answer = answer.float()
        return torch.where(answer.isfinite().all(dim=1), answer.argmax(dim=1), INVALID)


def _in_float32(_: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return inputs[0].float()


def _unfit(precision: str, error: Exception) -> RaysmoothError:
    lines = str(error).strip().splitlines()
    return RaysmoothError(
        f"the network does not compute in {precision} ({lines[0] if lines else type(error).__name__}): "
        "write --precision float32"
    )
