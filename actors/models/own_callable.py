"""Classifiers of the user's own, MODULE:CALLABLE: found on the import path, built, and identified by their source."""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from typing import Any

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.common.variant import Variant


def make_importable(folders: Iterable[str] | None = None) -> None:
    """Append `folders` (default: the working directory) to sys.path, each once: the user's modules may be there."""
    for folder in [os.getcwd()] if folders is None else folders:
        if folder not in sys.path:
            sys.path.append(folder)


def build_own(architecture: Variant) -> Any:
    """The result of the user's callable, called with the options as keywords: a torch module or another callable.

    Raises RaysmoothError for an import that fails, an unknown name, options that do not fit, and a result that is not
    callable.
    """
    module_name, _, attribute = architecture.name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
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
    classifier = architecture.build(found, "classifier")
    if not callable(classifier):
        raise RaysmoothError(
            f"classifier '{architecture.name}' returns a {type(classifier).__name__}: it must return a torch "
            "module or another callable from pixels (B, C, H, W) to logits or labels"
        )
    return classifier


def source_digest(architecture: Variant, before: str = "") -> str | None:
    """SHA-256 in hex of `before` and the source file of the user's callable, which no state dict contains; None for
    other networks.
    """
    if ":" not in architecture.name:
        return None
    found = importlib.util.find_spec(architecture.name.partition(":")[0])
    digest = hashlib.sha256(before.encode())
    if found is not None and found.origin is not None and os.path.isfile(found.origin):
        with open(found.origin, "rb") as source:
            digest.update(source.read())
    return digest.hexdigest()
