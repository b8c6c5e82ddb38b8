"""A frozen classifier's features, one map for each resolution, kept while it computes its logits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from raysmooth.common.errors import RaysmoothError, printable


@dataclass(frozen=True)
class Tap:
    """The output of call number `call`, from 0, of the submodule named `module` during one forward pass: features
    (B, channels, height, width).
    """

    module: str
    call: int
    channels: int
    height: int
    width: int


@torch.inference_mode()
def find_taps(classifier: nn.Module, normalised: torch.Tensor) -> tuple[Tap, ...]:
    """The last features of each resolution, in the order in which `classifier` computes them for a batch (B, C, H, W)
    of `normalised` images: in a ResNet, the output of each of its stages.

    Looked at are the outputs of all submodules, so that any torch module has some that has a convolution. The module
    keeps its mode.
    """
    calls: Counter[str] = Counter()
    last: dict[tuple[int, int], Tap] = {}

    def note(name: str, _: nn.Module, __: Any, output: Any) -> None:
        call, calls[name] = calls[name], calls[name] + 1
        if isinstance(output, torch.Tensor) and output.ndim == 4 and len(output) == len(normalised):
            channels, height, width = output.shape[1:]
            last.pop((height, width), None)  # to the end of the order
            last[height, width] = Tap(name, call, channels, height, width)

    # Not the classifier itself, whose output is the answer.
    named = [(name, module) for name, module in classifier.named_modules() if name]
    hooks = [module.register_forward_hook(partial(note, name)) for name, module in named]
    try:
        classifier(normalised)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(last.values())


class StageFeatures:
    """Keeps the outputs at `taps` of every forward pass of `classifier`, until `close`.

    Fold BatchNorms first: modules with hooks are not folded. Raises RaysmoothError where the classifier lacks a module.
    """

    def __init__(self, classifier: nn.Module, taps: Sequence[Tap]) -> None:
        self._taps = tuple(taps)
        self._kept: dict[str, list[torch.Tensor]] = {tap.module: [] for tap in taps}
        self._hooks: list[RemovableHandle] = []
        modules = {}
        for name in self._kept:
            try:
                modules[name] = classifier.get_submodule(name)
            except AttributeError:
                raise RaysmoothError(
                    f"the classifier has no module '{printable(name)}', whose features the rejector was trained on: "
                    "give the rejector of this classifier"
                ) from None
        self._hooks.append(classifier.register_forward_pre_hook(self._begin))
        self._hooks += [module.register_forward_hook(partial(self._keep, name)) for name, module in modules.items()]

    @property
    def features(self) -> list[torch.Tensor]:
        """Those of the last forward pass, in the order of the taps. Raises RaysmoothError where it lacks one."""
        for tap in self._taps:
            if len(self._kept[tap.module]) <= tap.call:
                raise RaysmoothError(
                    f"the classifier has not called its module '{printable(tap.module)}' {tap.call + 1} times, as when "
                    "the rejector was trained: give the rejector of this classifier"
                )
        return [self._kept[tap.module][tap.call] for tap in self._taps]

    def clear(self) -> None:
        """Forget the features of the last forward pass, which otherwise stay in memory until the next one."""
        for outputs in self._kept.values():
            outputs.clear()

    def close(self) -> None:
        """Remove the hooks and forget the features."""
        for hook in self._hooks:
            hook.remove()
        self.clear()

    def __enter__(self) -> "StageFeatures":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, _: nn.Module, __: Any) -> None:
        self.clear()

    def _keep(self, name: str, _: nn.Module, __: Any, output: Any) -> None:
        self._kept[name].append(output)
