"""Weights files: read without running code, loaded into a module, fingerprinted, written with their card."""

import hashlib
import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.download_cache import local_copy
from raysmooth.storage.store_urls import is_url

_INSIDE = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save the state dict."""

_WRAPPERS = ("module.", "1.")
"""Key prefixes of published weights: those of DataParallel and of Sequential(normalize, model)."""


@dataclass(frozen=True)
class Weights:
    """Tensors by key, on the CPU, and the file's card.

    The card is that of `save_weights`, {"arch": ...} of a published checkpoint, or {}.
    """

    state_dict: dict[str, torch.Tensor]
    card: dict[str, Any] = field(default_factory=dict)


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a safetensors or a torch file, or download it from a URL first; no code in it is ever run.

    A torch file holds a state dict, bare or under "state_dict", "model_state_dict" or "model". Raises RaysmoothError,
    naming the path, for a file that is missing, corrupt, needs code to be read, or holds no tensors.
    """
    if is_url(path):
        try:
            return read_weights(local_copy(path))
        except RaysmoothError as refusal:
            raise RaysmoothError(f"weights {path}: {refusal}") from refusal
    path = Path(path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise RaysmoothError(f"weights file {path} {problem}: give the path of a safetensors or a torch file")
    try:
        weights = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    except OSError as error:
        raise RaysmoothError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    if not weights.state_dict:
        raise RaysmoothError(f"weights file {path} holds no tensors: give one written from model.state_dict()")
    return weights


def load_weights(module: torch.nn.Module, weights: Weights, where: str) -> None:
    """Load `weights` into `module`; keys and shapes must be equal.

    A wrapper's prefix that all keys of the file and none of the module's have is removed first. `where`: the path, for
    messages. BatchNorm's `num_batches_tracked` may be missing: torch before 0.4.1 had none, and inference does not use
    it. Raises RaysmoothError for weights that do not fit.
    """
    own = module.state_dict()
    state = dict(weights.state_dict)
    while prefix := next((p for p in _WRAPPERS if _wrapped(state, p) and not _any_key(own, p)), None):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    missing = own.keys() - state.keys()
    state |= {key: own[key] for key in missing if key.endswith("num_batches_tracked")}
    missing = own.keys() - state.keys()
    unexpected = state.keys() - own.keys()
    shapes = [
        f"{key} {_shape(state[key])} where the network has {_shape(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    faults = [
        f"{title} {_first_few(found)}"
        for title, found in (
            ("misses", [key for key in own if key in missing]),
            ("has unexpected", [key for key in state if key in unexpected]),
            ("has", shapes),
        )
        if found
    ]
    if faults:
        made_for = weights.card.get("architecture") or weights.card.get("arch")
        remedy = f"they were made for '{made_for}'" if made_for else "give the architecture they were trained with"
        raise RaysmoothError(
            f"weights {where} do not fit {type(module).__name__}: file {'; '.join(faults)} -- {remedy}"
        )
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise RaysmoothError(
            f"weights {where} do not fit {type(module).__name__}: {one_line(error, whole=True)}"
        ) from error


def fingerprint(module: torch.nn.Module) -> str:
    """SHA-256 in hex over key, dtype, shape and bytes of every tensor of the state dict, sorted by key.

    It does not depend on the device, the memory format or the kind of file.
    """
    return fingerprint_of(module.state_dict())


def fingerprint_of(state_dict: Mapping[str, torch.Tensor]) -> str:
    """The fingerprint of a module with this state."""
    digest = hashlib.sha256()
    for key, tensor in sorted(state_dict.items()):
        digest.update(f"{key}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        # Bytes through a view: numpy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(path: str | os.PathLike[str], module: torch.nn.Module, card: Mapping[str, Any]) -> None:
    """Write the state dict as safetensors with `card` (JSON values) in its metadata; create the folder if needed.

    The write is atomic. Raises RaysmoothError if the file cannot be written.
    """
    path = Path(path)
    # Copies: safetensors accepts neither shared nor strided memory.
    tensors = {
        key: tensor.detach().cpu().contiguous().clone(memory_format=torch.contiguous_format)
        for key, tensor in module.state_dict().items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            save_file(tensors, partial, metadata={"card": json.dumps(dict(card), sort_keys=True)})
    except (OSError, SafetensorError) as error:
        raise RaysmoothError(f"weights file {path} cannot be written: {error}") from error


def _is_safetensors(path: Path) -> bool:
    """By its name, or by its first bytes: eight of length, then a JSON object. No torch file starts so."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise RaysmoothError(
            f"weights file {path} is corrupt or not a safetensors file ({error}): fetch it again"
        ) from error
    try:
        card = json.loads(metadata.get("card", "{}"))
    except json.JSONDecodeError:
        card = {}  # metadata of another tool
    return Weights(tensors, card if isinstance(card, dict) else {})


def _read_torch(path: Path) -> Weights:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about an unknown pickle protocol; it then raises
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # on garbage the unpickler raises nearly anything
        if _would_run_code(path, error):
            needs = re.search(r"GLOBAL ([\w.]+)", str(error))
            raise RaysmoothError(
                f"weights file {path} is refused: it would run code{f' ({needs[1]})' if needs else ''}; "
                "re-save its state_dict with safetensors or torch.save(model.state_dict())"
            ) from error
        raise RaysmoothError(f"weights file {path} is corrupt or not a weights file: fetch or save it again") from error
    card: dict[str, Any] = {}
    if isinstance(found, Mapping):
        if isinstance(found.get("arch"), str):
            card["arch"] = found["arch"]
        found = next((found[key] for key in _INSIDE if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping):
        raise RaysmoothError(f"weights file {path} holds a {type(found).__name__}: save model.state_dict() instead")
    strange = [key for key, value in found.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if strange:
        raise RaysmoothError(
            f"weights file {path} holds no state dict: {_first_few(map(str, strange))} are not tensors; "
            "save model.state_dict(), bare or under the key state_dict"
        )
    return Weights({key: tensor.detach() for key, tensor in found.items()}, card)


def _would_run_code(path: Path, error: Exception) -> bool:
    """Whether torch refused the content of an intact pickle or TorchScript archive, not garbage."""
    if isinstance(error, pickle.UnpicklingError):
        with path.open("rb") as file:
            return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    return "TorchScript" in str(error)


def _wrapped(state: Mapping[str, Any], prefix: str) -> bool:
    return bool(state) and all(key.startswith(prefix) for key in state)


def _any_key(state: Mapping[str, Any], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in state)


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first_few(items: Any) -> str:
    items = list(items)
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
