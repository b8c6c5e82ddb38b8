"""Computing in the process of a program that uses torch itself: its settings of torch are as before afterwards."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock
from typing import Any

import torch

_one_at_a_time = Lock()
"""torch's switches are the process's: calls from several threads wait for each other."""

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def borrowed_torch(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """A context in which torch computes on `device` as in a replica, with this number of CPU `threads` if it is given.

    Afterwards its threads, default dtype and device, random states, precision of float32 products, deterministic
    algorithms and cuDNN switches are what they were. autocast around it is off.
    """
    with _one_at_a_time, ExitStack() as after:
        after.callback(torch.set_num_threads, torch.get_num_threads())
        after.callback(torch.set_default_dtype, torch.get_default_dtype())
        after.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
        _keep_precision(after)
        after.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        after.enter_context(torch.autocast(device.type, enabled=False))
        if torch.get_default_device() != device:
            after.enter_context(device)
        if device.type == "cuda":
            _settle_gpu(device, after)
        torch.set_default_dtype(torch.float32)
        if threads is not None:
            torch.set_num_threads(threads)
        yield


def _keep_precision(after: ExitStack) -> None:
    """Restore the precision of float32 products. torch has two interfaces to it, of which the older one raises
    RuntimeError, also afterwards, unless each is restored by itself, this one first.
    """
    for one in _products():
        after.callback(_restore_precision, one, one.fp32_precision)
    cudnn = torch.backends.cudnn
    with suppress(RuntimeError):
        after.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
    with suppress(RuntimeError):
        after.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())


def _products() -> list[Any]:
    """What has a precision of its own, the most special first: that of the whole is passed on to those below it."""
    backends: Any = torch.backends  # mypy does not know them all
    cuda, cudnn, mkldnn = backends.cuda, backends.cudnn, backends.mkldnn
    special = [mkldnn.rnn, mkldnn.conv, mkldnn.matmul, cudnn.rnn, cudnn.conv, cuda.matmul]
    return [*special, mkldnn, cudnn, backends]


def _restore_precision(where: Any, value: str) -> None:
    if where.fp32_precision != value:  # setting it marks it as set, even to what it is
        where.fp32_precision = value


def _settle_gpu(device: torch.device, after: ExitStack) -> None:
    """Deterministic kernels, as in a replica."""
    before, deterministic = os.environ.get(_CUBLAS), torch.utils.deterministic
    after.callback(_restore_variable, _CUBLAS, before)
    after.callback(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
    fill = "fill_uninitialized_memory"  # unknown to mypy
    after.callback(setattr, deterministic, fill, getattr(deterministic, fill))
    after.enter_context(torch.cuda.device(device))
    compute_deterministically()


def compute_deterministically() -> None:
    """Have torch choose deterministic kernels on GPUs, in this process."""
    # cuBLAS reads this when it starts; otherwise its results may differ between calls.
    os.environ.setdefault(_CUBLAS, ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # By default every new tensor would be filled first: a useless pass over memory.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 -- unknown to mypy


def _restore_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def device_for(wanted: Any, model: Any) -> torch.device:
    """The device that a user `wanted`, by name or as torch has it; if None, that of a module's parameters, or the CPU.

    Raises ValueError, with what to write, for one that cannot be used.
    """
    if wanted is None:
        parameters = model.parameters() if isinstance(model, torch.nn.Module) else iter(())
        first = next(parameters, None)
        wanted = "cpu" if first is None else first.device
    try:
        device = torch.device(wanted)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError("write cpu, cuda or cuda:1, say") from None
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise ValueError("noise is drawn on CPUs and NVIDIA GPUs: write --device cpu")
    if not torch.cuda.is_available():
        raise ValueError("torch sees no GPU here: write --device cpu")
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise ValueError(f"there are {torch.cuda.device_count()} GPUs: write --device cuda:0, say")
    return torch.device("cuda", index)
