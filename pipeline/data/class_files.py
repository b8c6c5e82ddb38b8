"""Files in which users name classes: `--classes` and `--label-map`."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.common.limits import LARGEST_LABEL
from raysmooth.common.settings_file import yaml_node
from raysmooth.storage.paths import problem_with_path

LARGEST_FILE = 2**20
"""Bytes."""

_NUMBERED_LINE = re.compile(r".*\S\s*:\s*-?\d+")


def read_classes(path: str) -> dict[str, int]:
    """Labels by class name: from names, one a line, whose place is the label; or from YAML or JSON, a list of names, or
    a mapping `name: label` or, as in the configurations of Hugging Face, `label: name`. Raises RaysmoothError, in one
    line, for a file that is none of these, and for a name or a label that is there twice.
    """
    flag = f"--classes {printable(path)}"
    found = _content(flag, path)
    content = [(one, str(place)) if isinstance(one, str) else one for place, one in enumerate(found)]
    if not all(_is_label(label) for _, label in content) and all(_is_label(name) for name, _ in content):
        content = [(name, label) for label, name in content]
    classes = {name: _label(flag, name, label) for name, label in _once(flag, content)}
    if twice := [label for label, count in Counter(classes.values()).items() if count > 1]:
        raise RaysmoothError(f"{flag}: two classes have the label {twice[0]}: write another for one of them")
    return classes


def read_label_map(path: str) -> dict[str, int | None]:
    """The classifier's label for each class of the data, None for one whose images are left out: from YAML or JSON, a
    mapping `class: label` with null for None. Raises RaysmoothError, in one line, for a file that is no such mapping.
    """
    flag = f"--label-map {printable(path)}"
    pairs = [one for one in _content(flag, path) if not isinstance(one, str)]
    if not pairs:
        raise RaysmoothError(f"{flag}: write a line 'class: label' for each class of the data, or 'class: null'")
    return {
        name: None if label in ("null", "~", "", "Null", "NULL") else _label(flag, name, label)
        for name, label in _once(flag, pairs)
    }


_Content = Sequence[str | tuple[str, str]]
"""The texts of a file: the pairs of a mapping, or the names of a list."""


def _content(flag: str, path: str) -> _Content:
    if (problem := problem_with_path(path)) is not None:
        raise RaysmoothError(f"{flag}: {problem}")
    file = Path(path).expanduser()
    try:
        if not file.is_file():
            raise RaysmoothError(f"{flag}: there is no such file")
        if file.stat().st_size > LARGEST_FILE:
            raise RaysmoothError(f"{flag}: {file.stat().st_size:,} bytes are too many for the names of classes")
        written = file.read_bytes()
        if written.startswith((b"\xff\xfe", b"\xfe\xff")):  # as Windows' PowerShell writes
            raise RaysmoothError(f"{flag} is in UTF-16: save it in UTF-8")
        # Names of folders may have bytes that are not UTF-8; they are kept as Python keeps them in paths.
        text = written.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        raise RaysmoothError(f"{flag}: {error.strerror or one_line(error)}") from None
    try:
        content = _parsed(file.suffix.lower(), text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RaysmoothError(f"{flag} cannot be read: {printable(one_line(error, whole=True))}") from None
    if not content:
        raise RaysmoothError(f"{flag}: the file is empty: write the names of classes")
    return content


def _parsed(ending: str, text: str) -> _Content:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if ending == ".json" or (ending not in (".yaml", ".yml") and text.lstrip()[:1] in ("{", "[")):
        return _from_json(json.loads(text, object_pairs_hook=list))
    if ending in (".yaml", ".yml") or (lines and all(_NUMBERED_LINE.fullmatch(line) for line in lines)):
        return _from_yaml(yaml_node(text), lines)
    return _names(lines)


def _names(lines: list[str]) -> list[str]:
    if "" in lines:
        raise ValueError(f"line {lines.index('') + 1} is empty, and the line of a name is its label")
    if repeated := [line for line, count in Counter(lines).items() if count > 1]:
        raise ValueError(f"the class '{repeated[0]}' is there twice")
    return lines


def _from_json(value: Any) -> _Content:
    """The object's pairs are a list of tuples, a list of names is a list of texts."""
    if isinstance(value, list) and value and all(isinstance(part, tuple) for part in value):
        return [(key, _scalar(label)) for key, label in value]
    if isinstance(value, list):
        return _names([_scalar(name) for name in value])
    raise ValueError("expected a mapping, or a list of names")


def _scalar(value: Any) -> str:
    if isinstance(value, list | float | bool) or value == "":
        raise ValueError(f"expected a name or a whole number, found {value if value != '' else 'an empty text'}")
    return "null" if value is None else str(value)


def _from_yaml(node: yaml.Node | None, lines: list[str]) -> _Content:
    """As it is written, so that a class may be called `no`, `007` or `1e3`."""
    if isinstance(node, yaml.MappingNode):
        return [(_text(key), _text(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return _names([_text(name) for name in node.value])
    return _names(lines) if node is not None else []


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or (node.value == "" and node.style):  # quoted; a missing one is null
        raise ValueError(f"expected a name or a whole number in line {node.start_mark.line + 1}")
    return str(node.value)


def _once(flag: str, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise RaysmoothError(f"{flag}: the class '{printable(name)}' is there twice")
        seen.add(name)
    return pairs


def _is_label(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_LABEL)) and int(text) <= LARGEST_LABEL


def _label(flag: str, name: str, text: str) -> int:
    if not _is_label(text):
        raise RaysmoothError(
            f"{flag}: {printable(name)}: {printable(text)}: write a label, a whole number from 0 to {LARGEST_LABEL:,}"
        )
    return int(text)
