"""Paths as users write them: what no file can be called is refused in words, before anything is tried."""

import os
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from raysmooth.common.errors import RaysmoothError, printable

LONGEST, LONGEST_NAME = 4095, 255
"""Bytes of a path, and of a name in it, on every system that we know."""


def problem_with_path(text: str, for_arrow: bool = False) -> str | None:
    """Why no file can have this path, or no object this URL; None if one can. Arrow opens files only `for_arrow`: those
    whose names are UTF-8.
    """
    if not text.strip():
        return "an empty path: name a file or folder"
    if any(character < " " or character == "\x7f" for character in text):
        return "control characters in a path: write another"
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return "characters that no file name can have: write another"
    if for_arrow and any("\udc80" <= character <= "\udcff" for character in text):
        return "bytes that are not UTF-8, which Arrow needs in names of results: write another path"
    if text.startswith("~") and os.path.expanduser(text) == text:
        return "no home folder of that user is known: write the folder, or ./~ for a name that begins so"
    names = [] if "://" in text else encoded.split(b"/")
    if len(encoded) > LONGEST or any(len(name) > LONGEST_NAME for name in names):
        return f"too long for a path: at most {LONGEST_NAME} bytes a name and {LONGEST:,} in all"
    return None


def refuse_no_path(text: str, for_arrow: bool = False) -> None:
    """Raises RaysmoothError if no file can have the path `text`, as `problem_with_path` says."""
    if (problem := problem_with_path(text, for_arrow)) is not None:
        raise RaysmoothError(f"'{printable(text)}': {problem}")


def _checked(for_arrow: bool) -> AfterValidator:
    def check(text: str) -> str:
        if (problem := problem_with_path(text, for_arrow)) is not None:
            raise PydanticCustomError("path", "{problem}", {"problem": problem})
        return text

    return AfterValidator(check)


_as_text = BeforeValidator(lambda value: os.fspath(value) if isinstance(value, os.PathLike) else value)
"""A program may give a path as an object."""

PathText = Annotated[str, _checked(for_arrow=False), _as_text]
"""The type of a setting that is a path or a URL."""

OutText = Annotated[str, _checked(for_arrow=True), AfterValidator(os.path.expanduser), _as_text]
"""The type of a setting that names where results go; "~" is the home folder, as in a shell."""
