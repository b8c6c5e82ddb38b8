"""torch.compile for one shape, with its cache in a private folder and its messages silenced."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from raysmooth.common.errors import RaysmoothError, one_line

Compute = Callable[[torch.Tensor], Any]


def compiler() -> str | None:
    """Path of the C++ compiler that torch.compile would call; None without one."""
    candidates = [os.environ.get("CXX"), "g++", "clang++"]
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def require_compiler() -> None:
    """Raises RaysmoothError without a C++ compiler."""
    if compiler() is None:
        raise RaysmoothError("--compile on needs a C++ compiler, none was found: install g++, or write --compile off")


def compiled(compute: Compute, batch: torch.Tensor) -> Compute:
    """`compute` compiled for batches of the shape of `batch`, and called once.

    Raises RaysmoothError without a compiler, or if `compute` does not compile; errors of `compute` itself pass through.
    """
    require_compiler()
    fast: Compute = torch.compile(compute, dynamic=False, **_how(batch.device))
    try:
        with _quiet():
            fast(batch)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        compute(batch)  # raises if the network fails without the compiler too
        raise RaysmoothError(f"the network does not compile ({one_line(error)}): write --compile off") from error
    return fast


def _how(device: torch.device) -> dict[str, Any]:
    """Keywords of torch.compile; sets its cache folders first.

    On a CPU, freezing lays out the weights in advance as the kernels want them. The vector instructions that the
    processor reports are trusted (testing them takes 10 of 27 seconds), and a single process compiles: starting more
    costs as much as they save. On a GPU, kernels are chosen by timing and replayed as CUDA graphs.
    """
    # Importing its compiler makes torch fill this in with a folder that any user could have created first.
    folder = Path(os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder())))
    if device.type == "cuda":
        return {"mode": "max-autotune"}
    from torch._inductor import codecache

    # Precompiled headers have a separate folder; if a release of torch keeps it elsewhere, they are not used.
    ours = hasattr(codecache, "_HEADER_DIR")
    if ours:
        codecache._HEADER_DIR = str(folder / "headers")
    return {
        "options": {
            "freezing": True,
            "compile_threads": 1,
            "cpp.vec_isa_ok": True,
            "cpp_cache_precompile_headers": ours,
        }
    }


def cache_folder() -> Path:
    """Folder that keeps compiled code between processes. Its content is executed, so only this user may write to it. If
    there can be no such folder: a temporary one of this process.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base, "raysmooth", "compiled")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="raysmooth-compiled-"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's messages on compiling: problems that matter are raised."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
