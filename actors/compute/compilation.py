"""torch.compile for one shape, in a folder of our own, without its chatter."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from raysmooth.common.errors import RaysmoothError

Compute = Callable[[torch.Tensor], torch.Tensor]


def compiler() -> str | None:
    """The C++ compiler that torch.compile would call, None where there is none."""
    candidates = [os.environ.get("CXX"), "g++", "clang++"]
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def require_compiler() -> None:
    """Raises RaysmoothError where there is none."""
    if compiler() is None:
        raise RaysmoothError(
            "--compile on needs a C++ compiler, and there is none here: install g++, or write --compile off"
        )


def compiled(compute: Compute, batch: torch.Tensor) -> Compute:
    """`compute` compiled for batches like `batch`, called once.

    Raises RaysmoothError where there is no compiler, or `compute` does not compile; what `compute` raises by itself is left.
    """
    require_compiler()
    fast: Compute = torch.compile(compute, dynamic=False, **_how(batch.device))
    try:
        with _quiet():
            fast(batch)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        compute(batch)  # what fails without the compiler is not the compiler's fault
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise RaysmoothError(f"the network does not compile ({reason}): write --compile off") from error
    return fast


def _how(device: torch.device) -> dict[str, Any]:
    """Keywords of torch.compile, once its folders are ours.

    On a CPU weights may be laid out beforehand as the kernels want them (freezing). That this processor has the vector
    instructions it names is believed (trying them out takes 10 of 27 seconds), and one process compiles: starting
    others costs what they save. On a GPU kernels are chosen by timing, and replayed as CUDA graphs.
    """
    # torch fills this in itself as soon as its compiler is imported, with a folder that anybody could have made first.
    folder = Path(os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder())))
    if device.type == "cuda":
        return {"mode": "max-autotune"}
    from torch._inductor import codecache

    # Compiled headers have a folder of their own; where a release of torch keeps it elsewhere, they are not used.
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
    """Where compiled code is kept between processes: a folder that only this user can write, as what lies in it is
    run. Without one, a temporary folder of this process.
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
    """Remarks of torch's on compiling are not for our users; what matters comes as an exception."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
