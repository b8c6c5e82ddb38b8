"""Text files of labels that users write: what cannot be one is refused by name."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raysmooth.actors.apis.answers import RESERVED
from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.storage.paths import problem_with_path
from raysmooth.storage.regular_file import read_regular

LARGEST_FILE = 2**20
"""Bytes."""


def read_label_text(flag: str, path: str) -> str:
    """The text of a file in UTF-8, its lines ending as on Unix. Raises RaysmoothError, beginning with `flag`."""
    if (problem := problem_with_path(path)) is not None:
        raise RaysmoothError(f"{flag}: {problem}")
    try:
        content = read_regular(Path(path).expanduser(), LARGEST_FILE)
    except FileNotFoundError:
        raise RaysmoothError(f"{flag}: there is no file {printable(path)}") from None
    except OSError as error:
        raise RaysmoothError(f"{flag}: {printable(path)}: {error.strerror or one_line(error)}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Windows' PowerShell writes
        raise RaysmoothError(f"{flag}: {printable(path)} is in UTF-16: save it in UTF-8")
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise RaysmoothError(f"{flag}: {printable(path)} is not UTF-8 (byte {error.start + 1}): save it so") from None
    return text.replace("\r\n", "\n")


def read_label_lines(flag: str, path: str) -> tuple[str, ...]:
    """The labels in a file, one a line, as they are written. Raises RaysmoothError, beginning with `flag`, for a line
    that is empty, begins or ends with a blank, or is there twice, as a label would then never be met, or be two.
    """
    text = read_label_text(flag, path).removesuffix("\n")
    if not text:
        raise RaysmoothError(f"{flag}: {printable(path)} is empty: write labels into it, one a line")
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{flag}: {printable(path)}, line {number}"
        if not line.strip():
            raise RaysmoothError(f"{where} is empty: remove it")
        if line != line.strip():
            raise RaysmoothError(f"{where} begins or ends with a blank: write '{printable(line.strip())}'")
        if line in seen:
            raise RaysmoothError(f"{where} repeats line {seen[line]}, '{printable(line)}': write it once")
        seen[line] = number
    return tuple(seen)


def read_class_names(flag: str, path: str) -> tuple[str, ...]:
    """The names of all classes of a model, as of `read_label_lines`. Raises RaysmoothError, beginning with `flag`, for
    fewer than two, and for one with a meaning of its own.
    """
    labels = read_label_lines(flag, path)
    if reserved := [label for label in labels if label in RESERVED]:
        raise RaysmoothError(f"{flag} has the label {reserved[0]}, which has a meaning of its own here")
    if len(labels) < 2:
        raise RaysmoothError(f"{flag} has one label: write two or more")
    return labels


def labels_digest(labels: Sequence[str]) -> str:
    """SHA-256, in hex, of labels in their order."""
    return hashlib.sha256(json.dumps(list(labels)).encode()).hexdigest()


def described_labels(labels: Sequence[str]) -> dict[str, Any]:
    """What an identity says of a closed list of labels: how many there are, and their digest."""
    return {"labels": len(labels), "labels_sha256": labels_digest(labels)}
