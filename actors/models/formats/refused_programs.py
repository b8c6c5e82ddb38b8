"""Files that are programs, given where weights are expected: named as what they are, with the way out.

TorchScript, torch.export, Keras and TensorFlow run code of the file's author when they load one, so none of these is
loaded here. An ONNX file holds a network too, and no code.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.records import shown_path

WAY_OUT = "export the network to ONNX and write --classifier onnx:FILE, or load it in a function of your own, "
WAY_OUT += "--classifier MODULE:CALLABLE"

_HEAD = 16


def refuse_program(path: Path) -> None:
    """Raises RaysmoothError for a file or folder that holds a program; reads its first bytes and, of an archive, the
    names in it.
    """
    if (kind := kind_of_program(path)) is None:
        return
    what = "folder" if path.is_dir() else "file"
    if kind == "an ONNX network":
        raise RaysmoothError(
            f"weights file {shown_path(path)} is {kind}, which has an architecture of its own: write "
            f"--classifier onnx:{shown_path(path)} without --classifier-weights (or --denoiser onnx:...)"
        )
    state = " (or save model.state_dict() alone, for an architecture by its name)" if "torch" in kind.lower() else ""
    raise RaysmoothError(
        f"weights {what} {shown_path(path)} is {kind}, a program and no weights, and loading it could run code: "
        f"{WAY_OUT}{state}"
    )


def kind_of_program(path: Path) -> str | None:
    """What kind of program, or network with an architecture of its own, a file or folder is; None for anything else."""
    try:
        if path.is_dir():
            return "a TensorFlow SavedModel" if _is_saved_model(path) else None
        with path.open("rb") as file:
            head = file.read(_HEAD)
        names = _names(path) if head.startswith(b"PK") else set()
    except (OSError, ValueError):
        return None
    if names:
        return _kind_of_archive(names)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file of Keras"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite network"
    if head[4:8] == b"ORTM":
        return "a network in the ORT format of onnxruntime"
    if path.name in ("saved_model.pb", "keras_metadata.pb"):
        return "a part of a TensorFlow SavedModel"
    if path.suffix.lower() == ".onnx":
        return "an ONNX network"
    return None


def _kind_of_archive(names: set[str]) -> str | None:
    inner = {name.partition("/")[2] for name in names}
    if "archive_format" in inner or "serialized_exported_program.json" in inner:
        return "an exported program (torch.export)"
    if {"config.json", "model.weights.h5"} <= names:
        return "a Keras archive"
    if {"constants.pkl", "data.pkl"} <= inner and _has_code(inner):
        return "a TorchScript archive"
    return None


def _names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist())
    except Exception:  # of damaged bytes zipfile raises many kinds
        return set()


def _has_code(names: Iterable[str]) -> bool:
    return any(name.startswith("code/") for name in names)


def _is_saved_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt", "keras_metadata.pb"))
