"""Checkpoints as training scripts write them: where the state dicts are in a file, and how their keys are wrapped."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

StateDict: TypeAlias = Mapping[str, torch.Tensor]

BARE = ""
"""The place of a state dict that is the whole file."""

_DEPTH = 3
"""How many containers may be around a state dict."""

_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Parts of keys that DataParallel, torch.compile, FSDP and activation checkpointing add, anywhere in a key."""

_NO_TENSOR = ("num_batches_tracked", "n_averaged")
"""Last parts of keys that inference does not use: BatchNorm's counter, and that of AveragedModel (SWA)."""


def state_dicts(found: Any, place: str = BARE, depth: int = _DEPTH) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """The state dicts in the content of a file, by their places: "" for the file itself, "state_dict", "model.ema".

    A state dict is a mapping from texts to tensors, with at least one tensor of floating point. Other values beside
    them, such as a number of epochs, are left out; where they are mappings, they are searched too.
    """
    if not isinstance(found, Mapping):
        return
    tensors = {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    # A single tensor beside other things is a measure, such as the best accuracy.
    is_state = len(tensors) == len(found) or len(tensors) > 1
    if is_state and any(value.is_floating_point() for value in tensors.values()):
        yield place, {key: value.detach() for key, value in tensors.items()}
    if depth:
        for key, value in found.items():
            if isinstance(key, str) and key not in ("optimizer", "optimizer_states", "optim"):
                yield from state_dicts(value, f"{place}.{key}" if place else key, depth - 1)


def odd_kind(tensor: torch.Tensor) -> str | None:
    """What a tensor is that no network here can be made of, such as "sparse"; None for a plain one."""
    if tensor.is_meta:
        return "meta"
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout is not torch.strided:
        return "sparse"
    return "complex" if tensor.is_complex() else None


@dataclass(frozen=True)
class Fit:
    """The tensors of a state dict under a network's own keys. `prefix` was removed from the file's; `normalisation` are
    the mean and the deviation of each channel, where the file has them in a layer before the network.
    """

    state: dict[str, torch.Tensor]
    prefix: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def fits(own: StateDict, state: StateDict) -> list[Fit]:
    """All ways in which `state` has exactly the tensors of a network with the state `own`: under its keys, or below a
    prefix such as "1." of Sequential(normalize, network), "model." of Lightning, "module." of DataParallel.
    """
    found = []
    for unwrapped in _unwrapped(own, state):
        for prefix in _prefixes(own, unwrapped):
            inner = {key.removeprefix(prefix): value for key, value in unwrapped.items() if key.startswith(prefix)}
            inner = {key: value for key, value in inner.items() if key in own or not _is_counter(key)}
            outer = {key: value for key, value in unwrapped.items() if not key.startswith(prefix)}
            outer = {key: value for key, value in outer.items() if not _is_counter(key)}
            normalisation = _normalisation(outer)
            if (outer and normalisation is None) or faults(own, inner):
                continue
            counters = {key: own[key] for key in own if key not in inner}
            found.append(Fit({**inner, **counters}, prefix, normalisation))
        if found:
            break  # as it is in the file, before parts of keys are left out
    return found


def fitting_parts(own: StateDict, state: StateDict) -> list[str]:
    """The prefixes below which `state` has the network, beside tensors of something else, such as a metric's."""
    return [
        prefix.rstrip(".")
        for prefix in _prefixes(own, state)
        if prefix and fits(own, {key: value for key, value in state.items() if key.startswith(prefix)})
    ]


def faults(own: StateDict, state: StateDict) -> list[tuple[str, list[str]]]:
    """Why `state` does not fit a network with the state `own`: kinds of faults, each with the keys concerned.

    BatchNorm's `num_batches_tracked` may be missing: torch before 0.4.1 had none, and inference does not use it.
    """
    missing = [key for key in own if key not in state and not _is_counter(key)]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} {_shape(state[key])} where the network has {_shape(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    kinds = [
        f"{key} of {str(state[key].dtype).removeprefix('torch.')}, no floating-point numbers,"
        for key in own
        if key in state and own[key].is_floating_point() and not state[key].is_floating_point()
    ]
    named = {"misses": missing, "has unexpected": unexpected, "has": shapes + kinds}
    return [(title, keys) for title, keys in named.items() if keys]


def nearest_form(own: StateDict, state: StateDict) -> dict[str, torch.Tensor]:
    """`state` under the keys that come nearest to those of `own`, for the message about what does not fit."""
    forms = [
        {key.removeprefix(prefix): value for key, value in unwrapped.items()}
        for unwrapped in _unwrapped(own, state)
        for prefix in ("", *_prefixes(own, unwrapped))
    ]
    unfit = [form for form in forms if faults(own, form)]  # keys with and without a prefix may fit only together
    return max(unfit, key=lambda form: len(own.keys() & form.keys()))


def _unwrapped(own: StateDict, state: StateDict) -> Iterator[dict[str, torch.Tensor]]:
    """The state as it is, then without the parts of keys that wrappers add and the network does not have."""
    yield dict(state)
    wrappers = _WRAPPERS - {part for key in own for part in key.split(".")}
    without = {".".join(part for part in key.split(".") if part not in wrappers): state[key] for key in state}
    if len(without) == len(state) and without.keys() != state.keys():
        yield without


def _prefixes(own: StateDict, state: StateDict) -> list[str]:
    """The prefixes below which one of the network's keys is found, the shortest first."""
    first = next((key for key in own if not _is_counter(key)), None)
    if first is None:
        return []
    ends = [key.removesuffix(first) for key in state if key.endswith(first)]
    return sorted({prefix for prefix in ends if not prefix or prefix.endswith(".")}, key=len)


def _normalisation(outer: StateDict) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation of each channel, if these two are all there is; None otherwise."""
    by_name = {key.rpartition(".")[2].lower(): value for key, value in outer.items()}
    mean = by_name.get("mean", by_name.get("mu", by_name.get("means")))
    deviation = by_name.get("std", by_name.get("sigma", by_name.get("sds")))
    if len(outer) != 2 or mean is None or deviation is None or mean.numel() != deviation.numel():
        return None
    return tuple(mean.flatten().double().tolist()), tuple(deviation.flatten().double().tolist())


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] in _NO_TENSOR


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
