"""Paths of weights: with {sigma} in them, a file for each noise level, however its number is spelled; with commas, the
members of an ensemble.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from raysmooth.actors.models.formats.model_folder import folder_sha256, is_model_folder
from raysmooth.actors.models.formats.onnx_file import external_files
from raysmooth.actors.models.formats.refused_programs import refuse_program
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.storage.download_cache import local_copy
from raysmooth.storage.records import shown_path
from raysmooth.storage.store_urls import is_url

_SIGMA = re.compile(r"\{sigma(?::([^{}]*))?\}")

_FORMAT = re.compile(r"(\.\d{1,2})?[efg]?")
"""Formats of sigma; with a width, a path could become as long as memory."""

_SPELLINGS = ("g", ".2f", ".1f", ".3f")
"""Of 0.5: 0.5, 0.50, 0.5, 0.500. Published trees have noise_0.50."""


_COMMA = re.compile(r",(?![^{}]*\})")
"""A comma between paths: not one in a format of {sigma}."""


def members_of(path: str | None, folders: Iterable[str] = ()) -> tuple[str, ...]:
    """The paths of an ensemble's members, "a.pth,b.pth", in order; of a single network's weights, the one path; none
    for None. A file that exists, from here or below one of `folders`, is one path with all its commas.

    Raises RaysmoothError where nothing stands before or after a comma, and for a path that is named twice.
    """
    if path is None:
        return ()
    if "," not in path or _exists(path) or any(_exists(os.path.join(folder, path)) for folder in folders):
        return (path,)
    members = tuple(part.strip() for part in _COMMA.split(path))
    if not all(members):
        raise RaysmoothError(
            f"weights {shown_path(path)}: nothing stands before or after a comma: leave that comma out"
        )
    if len(set(members)) < len(members):
        twice = next(member for member in members if members.count(member) > 1)
        raise RaysmoothError(
            f"weights {shown_path(path)} name {shown_path(twice)} twice: an ensemble's members are different files"
        )
    return members


def _exists(path: str) -> bool:
    return os.path.exists(whole_file(path))


def has_sigma(path: str) -> bool:
    """Whether a path differs between noise levels."""
    return _SIGMA.search(path) is not None


def whole_file(path: str) -> str:
    """The file of a path that may name one of its state dicts: FILE of FILE#KEY."""
    return path if "#" not in path or os.path.exists(path) else path.rpartition("#")[0]


def found_below(path: str | None, folders: Iterable[str]) -> str | None:
    """`path` if it exists (working directories differ between nodes), else below the first folder that has it."""
    if path is None or os.path.exists(file := whole_file(path)):
        return path
    return next((os.path.join(folder, path) for folder in folders if os.path.exists(os.path.join(folder, file))), path)


def file_sha256(path: str, most_bytes: int | None = None) -> str | None:
    """SHA-256, in hex, of the file of a path of weights, or of a URL's local copy; None where there is no such file, as
    for the name of one of torchvision's sets, and for one of more than `most_bytes`. Of an ONNX file with external data
    it is that of the digests of all its files, of an ensemble that of its members' digests, of a folder of Hugging Face
    as of `folder_sha256`.
    """
    if len(members := members_of(path)) > 1:
        digests = [file_sha256(member, most_bytes) for member in members]
        return None if None in digests else hashlib.sha256("\n".join(map(str, digests)).encode()).hexdigest()
    file = whole_file(path)
    if (digest := _sha256(file, most_bytes)) is None or not (others := external_files(file)):
        return digest
    digests = [digest, *(_sha256(other, most_bytes) for other in others)]
    return None if None in digests else hashlib.sha256(" ".join(map(str, digests)).encode()).hexdigest()


def _sha256(path: str, most_bytes: int | None) -> str | None:
    file = local_weights(path)
    try:
        if is_model_folder(file):
            return folder_sha256(file, most_bytes)
        if not file.is_file() or (most_bytes is not None and file.stat().st_size > most_bytes):
            return None
    except (OSError, ValueError, RaysmoothError):  # a name that no file can have, a folder that is refused
        return None
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def local_weights(path: str) -> Path:
    """The file or folder at a path of weights, or the local copy of a URL's: of a folder, its settings and tensors."""
    return local_copy(path, only=(".json", ".safetensors"))


def path_at(pattern: str, sigma: float) -> str:
    """The path at a noise level: "{sigma:.2f}" is formatted so; "{sigma}" stands for the spelling whose file exists,
    and for the shortest, of at most six digits, if none does: 0.25098 for 64/255. No spelling is another level's: 0.3
    is not one of 0.25. Of an ensemble, each member is spelled so.

    Raises RaysmoothError for another format, and if files of several spellings exist.
    """
    spellings = [spelling for spelling in _SPELLINGS if f"{float(format(sigma, spelling)):g}" == f"{sigma:g}"]
    spelled = {_spelled(pattern, sigma, spelling): spelling for spelling in reversed(spellings)}
    if len(members := _COMMA.split(pattern)) > 1 and not any(_exists(path) for path in spelled):
        return ",".join(path_at(member.strip(), sigma) for member in members)
    shortest = _spelled(pattern, sigma, _SPELLINGS[0])
    if len(spelled) == 1 or is_url(pattern):
        return shortest
    there = [path for path in spelled if os.path.exists(path)]
    if len(there) > 1 and not all(os.path.samefile(path, there[0]) for path in there):
        choices = " or ".join(f"{{sigma:{spelled[path]}}} for {path}" for path in there)
        raise RaysmoothError(f"{pattern} at sigma {sigma:g} is more than one file: write {choices}")
    return there[0] if there else shortest


def _spelled(pattern: str, sigma: float, spelling: str) -> str:
    if not all(_FORMAT.fullmatch(found[1] or "") for found in _SIGMA.finditer(pattern)):
        raise RaysmoothError(f"{pattern}: write {{sigma}} or a format of numbers, such as {{sigma:.2f}}")
    return _SIGMA.sub(lambda found: format(sigma, found[1] or spelling), pattern)


def refuse_missing_weights(path: Path) -> None:
    """Raises RaysmoothError where there is no file of weights, or none that can be read as one."""
    try:
        there = path.is_file()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise RaysmoothError(f"weights file {shown_path(path)} cannot be read: {reason}") from None
    if not there:
        refuse_program(path)
        if is_model_folder(path):
            raise RaysmoothError(
                f"{shown_path(path)} is a folder of Hugging Face, which names its architecture: write --classifier "
                f"hf:{shown_path(path)} without --classifier-weights"
            )
        problem = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise RaysmoothError(
            f"weights file {shown_path(path)} {problem}: give the path of a safetensors, torch or ONNX file"
        )
