"""How networks in files of other tools are read, by the name of the format: a network has its weights already."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.model_files import MODEL_FILES
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Variant


@dataclass(frozen=True)
class FileNetwork:
    """A network of a file, and what the file says of it.

    `network`: a torch module in eval mode, or another callable, from normalised pixels (B, C, H, W) to logits (B, K) or
    labels (B,); a denoiser is a torch module. `fingerprint`: SHA-256 in hex; None: that of the module's tensors.
    `preprocess`: its normalisation as `parse_preprocess` reads it; None: the file says nothing of it; `resizing`
    likewise, as `InputSize.parse` reads it. `unsaid`: the refusal where files of its kind say both, this one says
    neither, and the user names not both. `class_names`: those of labels 0 to K - 1, or none. `about`: what there is to
    know of the file, in a few words each. `card`: as that of a weights file.
    """

    network: Any
    fingerprint: str | None = None
    preprocess: str | None = None
    resizing: str | None = None
    unsaid: str = ""
    class_names: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    card: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FormatReader:
    """Functions from the name with its options and the path of a file or folder; `denoiser` is None where a format has
    classifiers only.
    """

    classifier: Callable[[Variant, str], FileNetwork]
    denoiser: Callable[[Variant, str], FileNetwork] | None = None


def _reader(path: str) -> LateCallable:
    return LateCallable(f"raysmooth.actors.models.formats.{path}")


READERS: Registry[FormatReader] = Registry(
    "format",
    {
        "hf": FormatReader(_reader("huggingface:read_classifier")),
        "onnx": FormatReader(_reader("onnx_reading:onnx_classifier"), _reader("onnx_reading:onnx_denoiser")),
    },
)
"""By the names of `MODEL_FILES`. Late: a format's library is imported when such a file is read."""


def read_classifier(architecture: Variant, path: str | None) -> FileNetwork:
    """The classifier in the file or folder at `path`, on the CPU. Raises RaysmoothError where it is missing, or is no
    classifier that can be used.
    """
    return READERS[architecture.name].classifier(architecture, _given("classifier", architecture, path))


def read_denoiser(architecture: Variant, path: str | None) -> FileNetwork:
    """The denoiser in the file at `path`, on the CPU. Raises RaysmoothError as `read_classifier` does."""
    read = READERS[architecture.name].denoiser
    if read is None:
        raise RaysmoothError(f"'{architecture}' is no denoiser: write --denoiser onnx:FILE")
    return read(architecture, _given("denoiser", architecture, path))


def _given(role: str, architecture: Variant, path: str | None) -> str:
    name = architecture.name
    if path is None:
        what = MODEL_FILES[name].what
        raise RaysmoothError(f"{role} '{architecture}' has no weights: write --{role} {name}:{what}")
    return path
