"""A registry's entry with its options, as users write it: NAME:option=value,option=value."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.common.model_files import is_model_file
from raysmooth.common.numbers import LONGEST, fraction

Option: TypeAlias = bool | int | float | str

_HOW = "write NAME, NAME:option=value,option=value, or MODULE:CALLABLE for your own"
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Variant:
    """A network without its weights, an objective or another entry of a registry, in a form that can be compared,
    hashed and written as one word.

    `name`: a registry's entry, a torchvision or timm model, or the user's own "module:callable". `options`: keyword
    arguments to build it with, sorted by name. `str()` gives the canonical text, which `parse` reads.
    """

    name: str
    options: tuple[tuple[str, Option], ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether it names the user's own "module:callable" and no entry of a registry."""
        return ":" in self.name and not is_model_file(self.name)

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """Read "lenet", "dncnn:depth=7,width=32", "my.module:make" or "my.module:make:num_classes=10".

        The text after the first colon is options if it has an '=' before any further colon, else a callable's name.
        Raises RaysmoothError for text of another form.
        """
        name, colon, rest = text.strip().partition(":")
        if colon and "=" not in rest.partition(":")[0]:
            attribute, colon, rest = rest.partition(":")
            if not (_is_dotted_name(name) and _is_dotted_name(attribute)):
                raise RaysmoothError(
                    f"'{printable(text)}' is not an importable module:callable: {_HOW}, such as my_models:make"
                )
            name = f"{name}:{attribute}"
        if not name or re.search(r"[\s=,]", name) or (colon and not rest):
            raise RaysmoothError(f"'{printable(text)}' names nothing: {_HOW}")
        options: dict[str, Option] = {}
        for pair in rest.split(",") if colon else ():
            key, equals, value = (part.strip() for part in pair.partition("="))
            if not (key.isidentifier() and equals and value):
                raise RaysmoothError(f"'{printable(pair)}' in '{printable(text)}' is not an option: {_HOW}")
            if key in options:
                raise RaysmoothError(f"option '{printable(key)}' occurs twice in '{printable(text)}': write it once")
            options[key] = _value(value)
        return cls(name, tuple(sorted(options.items())))

    @classmethod
    def parse_entry(cls, text: str, what: str, example: str) -> "Variant":
        """`parse` for an entry of a registry; a refusal names the kind of entry, `what`, and shows the `example`."""
        try:
            return cls.parse(text)
        except RaysmoothError:
            how = f"write NAME or NAME:option=value,option=value, each option once, such as {example}"
            raise RaysmoothError(f"'{printable(text)}' is not a valid {what}: {how}") from None

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}:{','.join(f'{key}={_text(value)}' for key, value in self.options)}"

    def build(self, factory: Callable[..., Any], what: str) -> Any:
        """`factory` called with the options as keywords.

        `what` names the kind of network in messages ("classifier", "denoiser"). Raises RaysmoothError for an option
        that the factory does not accept, and for any error inside it.
        """
        options = dict(self.options)
        parameters = _keywords(factory)
        unknown = [key for key in options if parameters is not None and key not in parameters]
        if unknown:
            known = f"options are {', '.join(parameters)}" if parameters else "it takes none"
            raise RaysmoothError(f"{what} '{printable(self.name)}' has no option '{printable(unknown[0])}': {known}")
        try:
            return factory(**options)
        except RaysmoothError:
            raise
        except (Exception, SystemExit) as error:
            left = f"it ends the program (SystemExit: {error})" if isinstance(error, SystemExit) else error
            reason = one_line(left, whole=True)
            hint = f" (options: {', '.join(parameters)})" if parameters else ""
            raise RaysmoothError(f"{what} '{printable(str(self))}' cannot be built: {reason}{hint}") from error


def is_own_code(text: str) -> bool:
    """Whether `text` names the user's own "module:callable"; False for text that names nothing."""
    try:
        return Variant.parse(text).is_own
    except RaysmoothError:
        return False


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _value(text: str) -> Option:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        if len(text) > LONGEST:
            raise RaysmoothError(f"{text[:20]}... is a number of {len(text):,} digits: write a shorter one")
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text if (value := fraction(text)) is None else value


def _text(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _keywords(factory: Callable[..., Any]) -> list[str] | None:
    """The keywords that `factory` accepts; None if it accepts any, or its signature is unknown."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
