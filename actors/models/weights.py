"""Weights files: read without running code, loaded into a module, fingerprinted, written with their card."""

import argparse
import errno
import hashlib
import json
import os
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from raysmooth.actors.models.checkpoints import (
    BARE,
    Fit,
    StateDict,
    faults,
    fits,
    fitting_parts,
    nearest_form,
    odd_kind,
    state_dicts,
)
from raysmooth.actors.models.formats.refused_programs import refuse_program
from raysmooth.actors.models.weight_paths import refuse_missing_weights
from raysmooth.common.errors import RaysmoothError, nearest, one_line, printable
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.download_cache import local_copy
from raysmooth.storage.records import BadRecord, Name, Positive, Record, ShortName, parsed, validated
from raysmooth.storage.store_urls import is_url


class Card(Record):
    """Entries of cards that results, messages or networks are made of. Others are kept as they are."""

    architecture: Name | None = None
    objective: Name | None = None
    noise: ShortName | None = None
    preprocess: ShortName | None = None
    resizing: ShortName | None = None
    dataset: ShortName | None = None
    split: ShortName | None = None
    access: ShortName | None = None
    arch: Name | None = None
    training: Name | None = None
    sigma: Positive | None = None
    recipe: dict[str, Any] | None = None
    parents: dict[str, Any] | None = None
    metrics: dict[str, float | None] | None = None


@dataclass(frozen=True)
class Weights:
    """The content of a weights file, on the CPU: its state dicts by their places in it, mostly one, and its card.

    The card is that of `save_weights`, {"arch": ...} of a published checkpoint, or {}. `where` is the file's path.
    """

    state_dicts: Mapping[str, Mapping[str, torch.Tensor]]
    card: dict[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """The only state dict. Raises RaysmoothError where there are several."""
        if len(self.state_dicts) > 1:
            raise RaysmoothError(_several(self.where, list(self.state_dicts)))
        return next(iter(self.state_dicts.values()))


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a safetensors or a torch file, or download it from a URL first; no code in it is ever run.

    A torch file holds a state dict, or containers with one or several (`state_dicts`); FILE#PLACE names one of them.
    Raises RaysmoothError, naming the path, for a file that is missing, corrupt, needs code to be read, or holds no
    tensors, and for a card whose entries have other types.
    """
    text = os.fspath(path)
    file, place = text, None
    if "#" in text and not os.path.exists(text):
        file, _, place = text.rpartition("#")
    if is_url(file):
        try:
            found = read_weights(local_copy(file))
        except RaysmoothError as refusal:
            raise RaysmoothError(f"weights {text}: {refusal}") from refusal
    else:
        found = _read(Path(file))
    if not found.state_dicts:
        raise RaysmoothError(
            f"weights file {text} holds no tensors of floating point: give one written from model.state_dict()"
        )
    return found if place is None else _only(found, file, place)


def _read(path: Path) -> Weights:
    refuse_missing_weights(path)
    refuse_program(path)
    try:
        weights = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    except OSError as error:
        raise RaysmoothError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    _refuse_bad_card(path, weights.card)
    return weights


def _only(weights: Weights, file: str, place: str) -> Weights:
    """The state dict at `place`, or the part of one whose keys begin so."""
    if place in weights.state_dicts:
        return Weights({place: weights.state_dicts[place]}, weights.card, f"{file}#{place}")
    for outer, state in weights.state_dicts.items():
        inner = place.removeprefix(f"{outer}.") if outer else place
        below = {key: value for key, value in state.items() if key.startswith(f"{inner}.")}
        if below and (not outer or inner != place):
            return Weights({place: below}, weights.card, f"{file}#{place}")
    raise RaysmoothError(
        f"weights {file}#{place}: the file has no such state dict: {nearest(place, filter(None, weights.state_dicts))}"
    )


def load_weights(module: torch.nn.Module, weights: Weights, where: str) -> Fit:
    """Load the state dict in `weights` that fits `module`, and say how it did (`fits`). `where`: the path, for
    messages.

    Raises RaysmoothError if none fits, or if several do that differ.
    """
    own = module.state_dict()
    found = [(place, fit) for place, state in weights.state_dicts.items() for fit in fits(own, state)]
    if not found:
        raise RaysmoothError(misfit(own, module, weights, where))
    if len({fingerprint_of(fit.state) for _, fit in found}) > 1:
        places = [".".join(filter(None, (place, fit.prefix.rstrip(".")))) for place, fit in found]
        raise RaysmoothError(_several(where, places))
    try:
        module.load_state_dict(found[0][1].state)
    except RuntimeError as error:
        raise RaysmoothError(
            f"weights {where} do not fit {type(module).__name__}: {one_line(error, whole=True)}"
        ) from error
    return found[0][1]


def _several(where: str, places: Sequence[str]) -> str:
    listing = " or ".join(f"{where}#{printable(place)}" for place in places)
    return f"weights {where} hold several state dicts, such as those of a model and of its average: write {listing}"


def misfit(own: StateDict, module: torch.nn.Module, weights: Weights, where: str) -> str:
    """Why no state dict of `weights`, from `where`, fits `module` with the state `own`, and what to give instead."""
    forms = [nearest_form(own, state) for state in weights.state_dicts.values()]
    closest = max(forms, key=lambda form: len(own.keys() & form.keys()))
    listing = "; ".join(f"{title} {_first_few(map(printable, keys))}" for title, keys in faults(own, closest))
    made_for = weights.card.get("architecture") or weights.card.get("arch")
    remedy = (
        f"they were made for '{printable(str(made_for))}'"
        if made_for
        else "give the architecture they were trained with"
    )
    parts = [
        ".".join(filter(None, (place, part)))
        for place, state in weights.state_dicts.items()
        for part in fitting_parts(own, state)
    ]
    if parts:
        remedy = f"write {' or '.join(f'{where}#{printable(part)}' for part in parts)} for the part that fits"
    return f"weights {where} do not fit {type(module).__name__}: file {listing} -- {remedy}"


def _refuse_bad_card(path: Path, card: Mapping[str, Any]) -> None:
    """Raises RaysmoothError for an entry of another type than `save_weights` writes: it would reach result rows."""
    try:
        validated(Card, card, f"weights file {path}: its card")
    except BadRecord as refusal:
        raise RaysmoothError(f"{refusal}: save the weights again") from None


def fingerprint(module: torch.nn.Module) -> str:
    """SHA-256 in hex over key, dtype, shape and bytes of every tensor of the state dict, sorted by key.

    It does not depend on the device, the memory format or the kind of file. A network in a file of another tool has no
    state dict, and a `file_digest` instead.
    """
    if isinstance(digest := getattr(module, "file_digest", None), str):
        return digest
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
    with path.open("rb") as file:  # also to find out whether it can be: safetensors' own error says that there is none
        return file.read(9)[8:] == b"{" or path.suffix == ".safetensors"


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
        card = parsed(metadata.get("card", "{}"), "card")
    except BadRecord:
        card = {}  # metadata of another tool
    states = {BARE: tensors} if any(tensor.is_floating_point() for tensor in tensors.values()) else {}
    return Weights(states, card if isinstance(card, dict) else {}, str(path))


def _read_torch(path: Path) -> Weights:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore", UserWarning)  # about an unknown pickle protocol; it then raises
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on garbage the unpickler raises nearly anything
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a truncated archive: sought before its start
            raise
        if _would_run_code(path, error):
            needs = re.search(r"GLOBAL ([\w.]+)", str(error))
            raise RaysmoothError(
                f"weights file {path} is refused: it would run code{f' ({needs[1]})' if needs else ''}; "
                "re-save its state_dict with safetensors or torch.save(model.state_dict())"
            ) from error
        raise RaysmoothError(f"weights file {path} is corrupt or not a weights file: fetch or save it again") from error
    if not isinstance(found, Mapping):
        raise RaysmoothError(f"weights file {path} holds a {type(found).__name__}: save model.state_dict() instead")
    card = {"arch": found["arch"]} if isinstance(found.get("arch"), str) else {}
    states = dict(state_dicts(found))
    for state in states.values():
        for key, tensor in state.items():
            if (kind := odd_kind(tensor)) is not None:
                raise RaysmoothError(
                    f"weights file {path}: {printable(key)} is a {kind} tensor: save plain ones, model.state_dict() of "
                    "the network itself"
                )
    if found and not states:
        raise RaysmoothError(
            f"weights file {path} holds no state dict ({_first_few(printable(str(key)) for key in found)}): save "
            "model.state_dict(), bare or under the key state_dict"
        )
    return Weights(states, card, str(path))


def _harmless() -> list[Any]:
    """What training scripts save beside tensors, and torch refuses by default: NumPy's numbers and arrays (states of
    random numbers too), settings, and the paths in them. None of them runs code when it is read.
    """
    import numpy as np

    kinds = [type(np.dtype(name)) for name in "efdbhilqBHILQ?US"]
    scalar: Any = np.float64(0).__reduce__()[0]  # under another name before NumPy 2, like the next
    array: Any = np.zeros(1).__reduce__()[0]
    return [
        *(kind for one in (scalar, array) for kind in (one, (one, f"numpy.core.multiarray.{one.__name__}"))),
        *(np.dtype, np.ndarray, *kinds, argparse.Namespace, PosixPath, PurePosixPath),
    ]


def _would_run_code(path: Path, error: Exception) -> bool:
    """Whether torch refused the content of an intact pickle, not garbage."""
    if isinstance(error, pickle.UnpicklingError):
        with path.open("rb") as file:
            return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    return "TorchScript" in str(error)


def _first_few(items: Any) -> str:
    items = list(items)
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")
