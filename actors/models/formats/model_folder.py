"""A folder as Hugging Face transformers saves a model: which of its files decide the network. Without transformers."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.storage.records import shown_path

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLED = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "model.ckpt.index",
)
_ADAPTER = "adapter_config.json"
_OTHER_SETTINGS = ("processor_config.json",)
"""Files of settings that transformers reads too, where they are."""

_MOST_SETTINGS = 4 * 2**20
"""Bytes of a file of settings: names of 21,000 classes are 1 MB."""

_CODE = ("auto_map", "custom_pipelines")
_ATTENTION = ("_attn_implementation", "attn_implementation", "_attn_implementation_internal")
_OWN_ATTENTION = (None, "eager", "sdpa")


def is_model_folder(path: Path) -> bool:
    """Whether a path is a folder with a model's settings in it."""
    return (path / CONFIG).is_file()


def refuse_bad_folder(folder: Path) -> dict[str, Any]:
    """The model's settings. Raises RaysmoothError as `decisive_files` and `read_settings` do, for all that can be
    refused without loading the model.
    """
    decisive_files(folder)
    for name in (PROCESSOR, *_OTHER_SETTINGS):
        read_settings(folder, name)
    return read_settings(folder, CONFIG)


def decisive_files(folder: Path) -> list[Path]:
    """The files that decide the network: its settings, those of its images, and its weights, in this order.

    Raises RaysmoothError for a path that is no such folder, for files that are missing or lie outside, and for weights
    that are pickled or written for other frameworks.
    """
    shown = shown_path(folder)
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise RaysmoothError(
            f"hf:{shown} {problem}: give the folder that save_pretrained wrote, with {CONFIG} and {WEIGHTS}"
        )
    if not (folder / CONFIG).is_file():
        raise RaysmoothError(f"hf:{shown}: no {CONFIG} in it: give the folder that save_pretrained wrote")
    if (folder / _ADAPTER).exists():
        raise RaysmoothError(
            f"hf:{shown} holds an adapter ({_ADAPTER}) and no whole network: merge it (merge_and_unload in peft) and "
            "save_pretrained the result"
        )
    weights = _weights(folder, shown)
    settings = [name for name in (CONFIG, PROCESSOR, *_OTHER_SETTINGS) if (folder / name).is_file()]
    files = [folder / name for name in (*settings, *weights)]
    for file in files:
        _refuse_outside(folder, file)
    return files


def folder_sha256(folder: Path, most_bytes: int | None = None) -> str | None:
    """SHA-256, in hex, of the names and contents of `decisive_files`; None for more than `most_bytes` in all."""
    files = decisive_files(folder)
    if most_bytes is not None and sum(file.stat().st_size for file in files) > most_bytes:
        return None
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(f"{file.name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """The settings in the file `name` of a folder; {} where there is none. Raises RaysmoothError for a file that is no
    JSON object, and for one that names code to be run, or an implementation of attention to be downloaded.
    """
    file = folder / name
    where = f"hf:{shown_path(folder)}: {name}"
    if not file.is_file():
        return {}
    if file.stat().st_size > _MOST_SETTINGS:
        raise RaysmoothError(f"{where} has more than {_MOST_SETTINGS // 2**20} MB: give that of a model")
    try:
        settings = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        raise RaysmoothError(f"{where} is no valid JSON: fetch or save it again") from None
    if not isinstance(settings, dict):
        raise RaysmoothError(f"{where} is no JSON object: fetch or save it again")
    for key, value in _entries(settings):
        if key in _CODE:
            raise RaysmoothError(
                f"{where} names code of its own to run ({key}), and no file is trusted with that: write a function "
                "that returns the network, and --classifier MODULE:CALLABLE"
            )
        if key in _ATTENTION and value not in _OWN_ATTENTION:
            raise RaysmoothError(
                f"{where} wants the attention '{printable(str(value))}', which is code from elsewhere: write sdpa or "
                "eager there"
            )
    if "quantization_config" in settings:
        raise RaysmoothError(f"{where}: the weights are quantized: give those that they were made from")
    return settings


def _entries(settings: Any) -> Iterator[tuple[str, Any]]:
    """All entries of settings, however deep."""
    for value in settings.values() if isinstance(settings, dict) else settings:
        if isinstance(value, dict | list):
            yield from _entries(value)
    if isinstance(settings, dict):
        yield from settings.items()


def _weights(folder: Path, shown: str) -> list[str]:
    """Names of the files of weights: one, or an index and its parts."""
    if (folder / WEIGHTS).is_file():
        return [WEIGHTS]
    if (folder / INDEX).is_file():
        parts = read_settings(folder, INDEX).get("weight_map")
        if not isinstance(parts, dict) or not parts or not all(isinstance(part, str) for part in parts.values()):
            raise RaysmoothError(f"hf:{shown}: {INDEX} has no weight_map of file names: save the model again")
        names = sorted(set(parts.values()))
        for name in names:
            if os.path.basename(name) != name or not name.endswith(".safetensors"):
                raise RaysmoothError(
                    f"hf:{shown}: {INDEX} names '{printable(name)}', and takes safetensors files in its folder alone"
                )
            if not (folder / name).is_file():
                raise RaysmoothError(f"hf:{shown}: {printable(name)} is missing, {INDEX} names it: fetch it too")
        return [INDEX, *names]
    if others := [name for name in _PICKLED if (folder / name).exists()]:
        raise RaysmoothError(
            f"hf:{shown} has its weights in {others[0]} alone, and reading those may run code: save them as {WEIGHTS}, "
            "with save_pretrained of a new version of transformers"
        )
    raise RaysmoothError(f"hf:{shown}: no {WEIGHTS} in it: fetch the weights too")


def _refuse_outside(folder: Path, file: Path) -> None:
    """Raises RaysmoothError for a link out of the folder; those of Hugging Face's own cache are known."""
    target, home = Path(os.path.realpath(file)), Path(os.path.realpath(folder))
    if target.is_relative_to(home):
        return
    in_cache = home.parent.name == "snapshots" and target.parent == home.parent.parent / "blobs"
    if not in_cache:
        raise RaysmoothError(
            f"hf:{shown_path(folder)}: {file.name} is a link out of the folder: copy the file itself there (cp -L)"
        )
