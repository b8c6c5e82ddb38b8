"""Errors for users: one line, before any expensive work."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import BuiltinFunctionType, FunctionType, MethodType

_TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
"""Colours and control characters: they must not reach a terminal or a results file."""

_BYTES = re.compile("[\udc80-\udcff]+")
"""The bytes of a file's name that Python could not decode."""

_LONGEST_TEXT = 200
"""Characters of a text from outside."""

_LONG_WORD = re.compile(rf"\S{{{_LONGEST_TEXT + 21},}}")
"""Longer than a `printable` text with its quotes and what they stand beside."""

_LONGEST_STORED = 4096
"""Characters of a text from outside in a row: as many as a path has bytes."""

_LONGEST_LINE = 1000
"""Characters of a refusal."""

_REMOTE_TRACE = "creation task"
"""Part of the first line of Ray's error for an actor that died while starting."""


class RaysmoothError(Exception):
    """A request that raysmooth refuses.

    The message is one line: what is wrong, where, and what to write instead. The command line prints it without a
    traceback and exits with code 2; a notebook and IPython show that line alone. In a program it is an ordinary
    exception, with its traceback.

    It stays one line that a terminal can show, whatever file or command line it quotes: characters that cannot be
    printed become escapes, words of more than 200 characters and lines of more than 1,000 lose their middle.
    """

    def __init__(self, message: object = "") -> None:
        line = _LONG_WORD.sub(lambda word: _shortened(word[0], _LONGEST_TEXT), _escaped(str(message)))
        super().__init__(_shortened(line, _LONGEST_LINE))

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows instead of a traceback: the refusal says itself what to change."""
        return [f"{type(self).__name__}: {self}"]


class Interrupted(KeyboardInterrupt):
    """KeyboardInterrupt of a call of the Python API, whose message says what becomes of its work. A notebook and
    IPython show that line alone.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


def nearest(name: str, known: Iterable[str]) -> str:
    """End of a message about an unknown `name`: the nearest known name, if one is close, then all known names."""
    known = sorted(known)
    close = get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    names = f"known: {', '.join(known)}"
    return next((f"did you mean '{k}'? ({names})" for k in known if close and k.lower() == close[0]), names)


def the_one(known: Iterable[str], beginning: str, where: str, what: str) -> str:
    """The one of `known` that begins with `beginning`. Raises RaysmoothError, which begins with `where` and has the
    nearest one, if there is none or more than one; `what` names the kind: "run".
    """
    known = list(dict.fromkeys(known))
    found = [name for name in known if beginning and name.startswith(beginning)]
    if len(found) != 1:
        wrong = f"{len(found)} {what} ids begin with it" if found else f"there is no such {what}"
        raise RaysmoothError(f"{where}: {wrong}: {nearest(beginning, found or known)}")
    return found[0]


def counted(number: int, one: str) -> str:
    """A number with its noun: "1 image", "1,200 classes"."""
    return f"{number:,} {one}{'' if number == 1 else 'es' if one.endswith('s') else 's'}"


def printable(text: str) -> str:
    """Text from outside, such as a file's name, for messages and rows: bytes that are not UTF-8 and control characters
    as escapes, and at most 200 characters.
    """
    text = _escaped(text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."


def stored_text(text: str) -> str:
    """Text from outside, such as a file's name, for rows: as `printable`, but whole. Only a text of more than 4,096
    characters loses its middle.
    """
    return _shortened(_escaped(text), _LONGEST_STORED)


def named_image(image_id: int, file: str | None = None) -> str:
    """An image in a message: its number and, if it has one, its `file`, as in "image 17 (cat/7.png)"."""
    return f"image {image_id} ({printable(file)})" if file else f"image {image_id}"


def described(value: object) -> str:
    """What an object is, on one line, where it was given by mistake; never its own words, which may be those of a whole
    network or data set.
    """
    if isinstance(value, type | FunctionType | BuiltinFunctionType | MethodType):
        what = "class" if isinstance(value, type) else "function"
        return printable(f"the {what} {value.__module__}.{value.__qualname__}")
    shape = getattr(value, "shape", None)
    of_shape = f" of shape {tuple(shape)}" if isinstance(shape, tuple) and shape else ""
    module = type(value).__module__
    kind = type(value).__qualname__ if module == "builtins" else f"{module}.{type(value).__qualname__}"
    return printable(f"an object of type {kind}{of_shape}")


def _escaped(text: str) -> str:
    """`text` with escapes for control characters, and for bytes of a file's name that are not UTF-8."""
    if text.isprintable():
        return text
    text = _BYTES.sub(lambda found: found[0].encode(errors="surrogateescape").decode(errors="backslashreplace"), text)
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _shortened(text: str, most: int) -> str:
    """`text` without its middle, if it has more than `most` characters: a path keeps its file."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}...{text[len(text) - most // 2 + 3 :]}"


def one_line(error: BaseException | str, whole: bool = False, limit: int = 300, last: bool = False) -> str:
    """An error's message on one line of at most `limit` characters, without colours or control characters.

    Normally this is the first line; of a remote traceback it is the last, which names the exception. `whole` joins all
    lines, for messages whose important part comes later; `last` takes the last line, for tracebacks. An empty message
    gives the name of the error's type.
    """
    lines = [" ".join(line.split()) for line in _TERMINAL.sub("", str(error)).splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        return type(error).__name__
    line = " ".join(lines) if whole else lines[-1] if last or _REMOTE_TRACE in lines[0] else lines[0]
    return _escaped(line)[:limit]
