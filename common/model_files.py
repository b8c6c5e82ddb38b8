"""Networks in files of other tools: hf:FOLDER and onnx:FILE, which stand for a name and the path of its weights."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.registry import Registry

ROLES = ("classifier", "denoiser")
"""The settings that name networks; that of a network's weights has `_weights` at its end."""


@dataclass(frozen=True)
class ModelFile:
    """`what` is the word for its path in help texts; `roles` are those of `ROLES` that it may have."""

    what: str
    roles: tuple[str, ...]
    summary: str


MODEL_FILES: Registry[ModelFile] = Registry(
    "model file",
    {
        "hf": ModelFile(
            "FOLDER", ("classifier",), "an image classifier that Hugging Face transformers saved, in safetensors"
        ),
        "onnx": ModelFile("FILE", ("classifier", "denoiser"), "a network in an ONNX file, run by ONNX Runtime"),
    },
)
"""By the name before the colon. How each is read is in `actors/models/formats`."""


def split_model_file(text: str) -> tuple[str, str] | None:
    """Name and path of "hf:FOLDER" or "onnx:FILE"; None for any other text, such as "onnx:order=bgr", the name with an
    option. A file whose name looks like an option is taken where it exists. "~" is the home folder, which
    no shell puts in its place behind a colon.
    """
    name, colon, path = text.strip().partition(":")
    if name not in MODEL_FILES or not colon or not path:
        return None
    is_option = path.partition("=")[0].isidentifier() and "=" in path
    return None if is_option and not os.path.exists(path) else (name, os.path.expanduser(path))


def is_model_file(name: str) -> bool:
    """Whether the name of a network, without its options, is one of `MODEL_FILES`, with a path after it or not."""
    return name.partition(":")[0] in MODEL_FILES


def with_weights_named(values: Mapping[str, Any], known: tuple[str, ...] | None = None) -> dict[str, Any]:
    """`values` of settings with hf:FOLDER and onnx:FILE split: `classifier` has the name, `classifier_weights` the
    path; `denoiser` likewise, where it may be several, as a list or between semicolons. `known`: the names of the
    settings that there are (default: all).

    Raises RaysmoothError where the weights are given twice, and for a network that cannot have that role.
    """
    found = dict(values)
    for role in ROLES:
        weights = f"{role}_weights"
        if role not in values or (known is not None and weights not in known):
            continue
        named = values[role]
        texts = named.split(";") if isinstance(named, str) else named
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            continue
        pairs = [split_model_file(text) for text in texts]
        split = [pair for pair in pairs if pair is not None]
        if not split:
            continue
        for (name, path), text in zip(split, (t for t, pair in zip(texts, pairs, strict=True) if pair), strict=True):
            _refuse_role(role, name, path)
            if values.get(weights) is not None:
                raise RaysmoothError(
                    f"--{role} {printable(text.strip())} names its weights, and --{role}-weights names others: write "
                    f"--{role} {name} --{role}-weights {printable(path)}, or leave --{role}-weights out"
                )
        if len(split) < len(texts):
            raise RaysmoothError(
                f"--{role}: {printable(texts[pairs.index(None)].strip())} names no weights, and others do: write all "
                f"weights after --{role}-weights, and the names alone here"
            )
        one = isinstance(named, str) and len(split) == 1
        found[role] = split[0][0] if one else [name for name, _ in split]
        found[weights] = split[0][1] if one else [path for _, path in split]
    return found


def _refuse_role(role: str, name: str, path: str) -> None:
    if role not in MODEL_FILES[name].roles:
        others = " or ".join(f"{other}:{entry.what}" for other, entry in MODEL_FILES.items() if role in entry.roles)
        raise RaysmoothError(f"--{role} {name}:{printable(path)}: {name} is no {role}: write {others}, or a name")
