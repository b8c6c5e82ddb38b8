"""Classifiers of the user's own, MODULE:CALLABLE: found on the import path, built, and identified by their source."""

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from raysmooth.common.errors import RaysmoothError, described, one_line
from raysmooth.common.late_imports import LateModule
from raysmooth.common.variant import Variant

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")


def make_importable(folders: Iterable[str] | None = None) -> None:
    """Append `folders` (default: the working directory) to sys.path, each once: the user's modules may be there."""
    for folder in [os.getcwd()] if folders is None else folders:
        if folder not in sys.path:
            sys.path.append(folder)


def refused_code(architecture: Variant) -> RaysmoothError:
    """The refusal of a callable that a file names, and not the user: importing a module runs it."""
    module = architecture.name.partition(":")[0]
    return RaysmoothError(
        f"classifier '{architecture.name}' is code, of the module '{module}', and a file names it: write --trust-code "
        "to import it, if you know what it does"
    )


def refused_images(who: str, own: bool, shape: tuple[int, ...], error: Exception, fitting: str) -> RaysmoothError:
    """The refusal of a network, `who`, that raised `error` for images of `shape`; `fitting` is what can be chosen so
    that it fits. The user's `own` code may have raised it for any reason, so the shape is a possibility only.
    """
    if own:
        return RaysmoothError(
            f"{who} raised {type(error).__name__}: {one_line(error)} -- correct it or, if it takes no images of shape "
            f"{shape}, choose {fitting}"
        )
    return RaysmoothError(f"{who} rejects images of shape {shape}: {one_line(error)} -- choose {fitting}")


def build_own(architecture: Variant) -> Any:
    """The result of the user's callable, called with the options as keywords: a torch module or another callable.

    Raises RaysmoothError for an import that fails, an unknown name, options that do not fit, and a result that is not
    callable.
    """
    module_name, _, attribute = architecture.name.partition(":")
    if module_name == "__main__":
        raise RaysmoothError(
            f"classifier '{architecture.name}': replicas are other processes, which cannot import what a notebook or a "
            f"script defines: move it into a file my_models.py and write my_models:{attribute}"
        )
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # SystemExit: a script, which reads a command line of its own
        reason = one_line(error, whole=True)
        raise RaysmoothError(
            f"classifier '{architecture.name}': importing '{module_name}' failed "
            f"({type(error).__name__}: {reason}): give a module that Python finds, "
            "such as one on PYTHONPATH"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise RaysmoothError(
                f"classifier '{architecture.name}': module '{module_name}' has no '{attribute}': "
                "give the name of a function in it that returns the classifier"
            )
        found = getattr(found, part)
    if isinstance(found, torch.nn.Module) or not callable(found):
        raise RaysmoothError(
            f"classifier '{architecture.name}' is {described(found)}: give the name of a function that returns the "
            f"classifier, such as make after 'def make(): return {attribute}'"
        )
    try:
        classifier = architecture.build(found, "classifier")
    except RaysmoothError as refusal:
        if not isinstance(refusal.__cause__, TypeError) or _can_be_called(found, architecture):
            raise
        raise RaysmoothError(f"{refusal}: give the name of a function that returns the classifier") from refusal
    if not callable(classifier):
        raise RaysmoothError(
            f"classifier '{architecture.name}' returns a {type(classifier).__name__}: it must return a torch "
            "module or another callable from pixels (B, C, H, W) to logits or labels"
        )
    return classifier


def _can_be_called(maker: Any, architecture: Variant) -> bool:
    """Whether `maker` takes the options of `architecture` and needs nothing else."""
    try:
        inspect.signature(maker).bind(**dict(architecture.options))
    except (TypeError, ValueError):  # ValueError: a signature that Python does not know
        return False
    return True


def source_digest(architecture: Variant, before: str = "") -> str | None:
    """SHA-256 in hex of `before` and the source file of the user's callable, which no state dict contains; None for
    other networks.
    """
    if not architecture.is_own:
        return None
    digest = hashlib.sha256(before.encode())
    file = _source_file(architecture.name.partition(":")[0])
    if file is not None and os.path.isfile(file):
        with open(file, "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()


def _source_file(module_name: str) -> str | None:
    """The file of a module, found without importing it or the packages around it."""
    if module_name in sys.modules:
        return getattr(sys.modules[module_name], "__file__", None)
    spec, folders = None, None
    parts = module_name.split(".")
    for depth in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    return spec.origin if spec is not None else None
