"""Names in an experiment's settings: variables of a matrix, "{sigma}", and results of other stages, "@mse-0.25"."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raysmooth.common.errors import RaysmoothError, nearest

NAME = re.compile(r"[\w.+-]+")
"""Valid names of stages."""

_VARIABLE = re.compile(r"\{(\w+)\}")
_REFERENCE = re.compile(r"@([\w.+{}-]+?)(?::(\d+))?")


@dataclass(frozen=True)
class Reference:
    """The result of another stage: "@mse-0.25"; "@surrogates:4" means the first 4 classifiers of a sweep."""

    name: str
    first: int | None = None

    @classmethod
    def read(cls, value: Any) -> "Reference | None":
        """The reference in a setting; None for a setting of another form."""
        if not (isinstance(value, str) and value.startswith("@")):
            return None
        found = _REFERENCE.fullmatch(value)
        if found is None or found[2] == "0":
            raise RaysmoothError(f"'{value}' refers to no stage: write @NAME, or of a sweep @NAME:2 for its first two")
        return cls(found[1], None if found[2] is None else int(found[2]))

    def __str__(self) -> str:
        return f"@{self.name}" + ("" if self.first is None else f":{self.first}")


def word(value: Any) -> str:
    """A value as part of a name: 0.25, 1, mse; 0.25098 for 64/255."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _exact(value: Any) -> str:
    """A value as part of a setting with options: with all digits, where `word` has fewer."""
    return str(value) if isinstance(value, float) and float(word(value)) != value else word(value)


def filled(value: Any, variables: Mapping[str, Any], keep: frozenset[str] = frozenset()) -> Any:
    """`value`, however deep, with `variables` filled in for "{variable}", except those in `keep`. A text that is
    nothing but "{variable}" becomes the variable's value, of its type; in options (uniform:{level}) a number has all
    its digits, in names at most six. Raises RaysmoothError for an unknown variable.
    """
    if isinstance(value, dict):
        return {key: filled(inner, variables, keep) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, variables, keep) for inner in value]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in variables and name not in keep:
            known = nearest(name, variables) if variables else "write them as 'matrix: {sigma: [0.25, 0.5]}'"
            raise RaysmoothError(f"'{value}': unknown variable '{name}': {known}")
    if (only := _VARIABLE.fullmatch(value)) and only[1] in variables:
        return variables[only[1]]
    spelled = _exact if re.search("[:=]", value) and not value.startswith("@") else word
    return _VARIABLE.sub(lambda found: spelled(variables[found[1]]) if found[1] in variables else found[0], value)


def references(value: Any, key: str = "") -> Iterator[tuple[str, Reference]]:
    """All references in `value`, however deep, each after the name of its setting."""
    if isinstance(value, dict):
        for inner_key, inner in value.items():
            yield from references(inner, inner_key)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner, key)
    elif (found := Reference.read(value)) is not None:
        yield key, found


def replaced(value: Any, by: Callable[[str, Reference], Any], key: str = "") -> Any:
    """`value` with `by(key, reference)` in place of each reference; `key` is the name of its setting."""
    if isinstance(value, dict):
        return {inner_key: replaced(inner, by, inner_key) for inner_key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, by, key) for inner in value]
    found = Reference.read(value)
    return value if found is None else by(key, found)
