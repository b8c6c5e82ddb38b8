"""YAML files of settings: of a sane size and depth, each key once."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from raysmooth.common.errors import RaysmoothError, described, one_line, printable

LARGEST = 1 << 20
"""Bytes of a file."""

DEEPEST = 50
"""Levels of lists and mappings in each other."""

MOST_VALUES = 100_000
"""Values of a file, with all that its aliases stand for."""

LONGEST_NUMBER = 100
"""Characters of a number."""

_SLOWLY = 1 << 16
"""Bytes up to which a file that libyaml refuses is read again, by PyYAML's own parser."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Refused(ValueError):
    """Why the content of a file is refused."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file, with "_" for "-" in their names.

    Raises RaysmoothError, naming the file, if it cannot be read, is no regular file, is no YAML of settings, or has a
    key twice; and for what no settings file needs and takes long to read: see the limits above.
    """
    if not isinstance(path, str | PurePath):
        raise RaysmoothError(f"config is {described(path)}: write the path of a YAML file of settings")
    where = printable(str(path))
    try:
        content = _parsed(_text(path))
    except _Refused as refusal:
        raise RaysmoothError(f"{where}: {refusal}") from None
    except FileNotFoundError:
        raise RaysmoothError(f"{where}: there is no such file: write the path of a YAML file of settings") from None
    except OSError as error:
        raise RaysmoothError(f"{where}: {error.strerror or error}") from None
    except Exception as error:  # a value that its tag does not fit raises whatever its type does
        raise RaysmoothError(f"{where} is not YAML: {one_line(error, whole=True)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise RaysmoothError(f"{where}: expected 'setting: value' lines, found a {type(content).__name__}")
    return by_name(content, f"{where}: ")


def by_name(content: Mapping[Any, Any], where: str = "") -> dict[str, Any]:
    """`content` with "_" for "-" in its keys. Raises RaysmoothError, beginning with `where`, if two are then equal."""
    settings: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name in settings:
            raise RaysmoothError(f"{where}{printable(name)} is there twice: write it once")
        settings[name] = value
    return settings


def _text(path: str | Path) -> str:
    try:
        found = os.stat(path)
    except ValueError:  # a NUL in the path
        raise _Refused("no file has such a name") from None
    if stat.S_ISDIR(found.st_mode):
        raise _Refused("a folder, not a file of settings")
    if not stat.S_ISREG(found.st_mode):  # reading a pipe may never end
        raise _Refused("not a regular file: write the settings into one")
    if found.st_size > LARGEST:
        raise _Refused(f"{found.st_size:,} bytes are too many for settings, at most {LARGEST:,}")
    return Path(path).read_text("utf-8")


def yaml_node(text: str) -> yaml.Node | None:
    """The values of a YAML document as they are written, without a type; None for an empty one. Keys may be there
    twice. Raises yaml.YAMLError, and ValueError for one that is nested too deep or has too many values.
    """
    return _by_libyaml(text, _composed)


def _parsed(text: str) -> Any:
    return _by_libyaml(text, _read)


def _by_libyaml(text: str, read: Callable[[str, Any], Any]) -> Any:
    """Libyaml is ten times as fast, where PyYAML was built with it, but refuses {denoiser: dncnn:depth=7}."""
    try:
        return read(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        if len(text) > _SLOWLY:
            raise
        return read(text, yaml.SafeLoader)


def _refuse_large(text: str, loader_class: Any) -> None:
    """Raises ValueError for a document that is nested too deep, or has too many values."""
    depth = values = 0
    for event in yaml.parse(text, loader_class):  # not by recursion, and before a node is made of each value
        values += isinstance(event, yaml.ScalarEvent)
        if values > MOST_VALUES:
            raise _Refused(f"more than {MOST_VALUES:,} values")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _Refused(f"line {_line(event)}: nested more than {DEEPEST} levels deep")


def _composed(text: str, loader_class: Any) -> yaml.Node | None:
    _refuse_large(text, loader_class)
    node: yaml.Node | None = yaml.compose(text, loader_class)
    return node


def _read(text: str, loader_class: Any) -> Any:
    _refuse_large(text, loader_class)
    loader = loader_class(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """The number of values that `node` stands for, and their depth. `known`: those of the nodes before it, by their
    ids; None while a node is being counted.
    """
    if id(node) in known:
        if (seen := known[id(node)]) is None:
            raise _Refused(f"line {_line(node)}: a value that contains itself")
        return seen
    known[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise _Refused(f"line {_line(node)}: a number of {len(node.value):,} characters")
        below = []
    elif isinstance(node, yaml.MappingNode):
        _refuse_twice(node)
        below = [part for pair in node.value for part in pair]
    else:
        below = node.value
    counted = [_check(part, known) for part in below]
    size, depth = 1 + sum(size for size, _ in counted), 1 + max((depth for _, depth in counted), default=0)
    if size > MOST_VALUES:
        raise _Refused(f"more than {MOST_VALUES:,} values, with those that its aliases stand for")
    if depth > DEEPEST + 1:
        raise _Refused(f"line {_line(node)}: nested more than {DEEPEST} levels deep, through aliases")
    known[id(node)] = size, depth
    return size, depth


def _refuse_twice(node: yaml.MappingNode) -> None:
    names = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in names:
                raise _Refused(f"line {_line(key)}: {printable(key.value)} is there twice: write it once")
            names.add((key.tag, key.value))


def _line(place: Any) -> int:
    return int(place.start_mark.line) + 1
