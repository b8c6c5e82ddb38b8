"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.refusal import Refusal


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, `.NAME.PID.part`, for the caller to write; it takes `path`'s name at the end,
    and is removed if the caller fails.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def refuse_unwritable(path: str | Path, flag: str) -> Iterator[None]:
    """Raises Refusal, naming `flag`, where the caller cannot write `path`."""
    try:
        yield
    except OSError as error:
        raise Refusal(f"{flag} {path}: {error.strerror or error}: write a folder that can be written to") from None


def write_text(text: str, path: Path, flag: str) -> None:
    """Write a file of text, whole or not at all; raises Refusal, naming `flag`, where it cannot be written."""
    with refuse_unwritable(path, flag), written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")
