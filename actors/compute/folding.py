"""BatchNorm folded into the preceding convolution: the same function, in fewer passes over memory."""

from collections import Counter

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(network: nn.Module) -> int:
    """Fold, in place, every BatchNorm2d of `network` (in eval mode) whose only input is a convolution into that
    convolution; returns the number folded.

    y = (conv(x) - mean) / sqrt(var + eps) * weight + bias is a convolution too (Jacob et al. 2018, section 3.2); its
    weights are computed in float64. A torch.fx trace shows which BatchNorm follows which convolution; the module still
    runs its own code, with an identity in place of the BatchNorm. If a module cannot be traced, its children are tried
    one by one. Pre-activation BatchNorms stay.
    """
    names = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    shared = {module for module, count in names.items() if count > 1}
    return _fold(network, shared)


def _fold(network: nn.Module, shared: set[int]) -> int:
    # Tracing runs the user's code: do not trace a module without a BatchNorm.
    if not any(type(module) is nn.BatchNorm2d for module in network.modules()):
        return 0
    try:
        graph = fx.Tracer().trace(network)
    except Exception:
        return sum(_fold(child, shared) for child in network.children())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    folded = 0
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not (isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1):
            continue
        conv, norm = network.get_submodule(str(before.target)), network.get_submodule(str(node.target))
        once = calls[before.target] == calls[node.target] == 1 and not {id(conv), id(norm)} & shared
        # Exactly these types, without hooks: a subclass or a hook may do more.
        if once and type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and _plain(conv) and _plain(norm):
            _fold_into(conv, norm)
            network.set_submodule(str(node.target), nn.Identity())
            folded += 1
    return folded


def _plain(module: nn.Module) -> bool:
    """In eval mode, without hooks and, for a BatchNorm, with running statistics."""
    hooked = module._forward_hooks or module._forward_pre_hooks
    return not module.training and not hooked and getattr(module, "track_running_stats", True)


def _fold_into(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    def exact(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else tensor.detach().double()

    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight.detach().double(),
        exact(conv.bias),
        norm.running_mean.double(),
        norm.running_var.double(),
        norm.eps,
        exact(norm.weight),
        exact(norm.bias),
    )
    conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=False)
