"""Files that a person asked for: there whole or not at all, or refused by the flag that named them."""

from collections.abc import Iterator
from contextlib import contextmanager

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.location import Where, located


@contextmanager
def refuse_unwritable(where: Where, flag: str) -> Iterator[None]:
    """Raises RaysmoothError, naming `flag`, where the caller cannot write to `where`."""
    try:
        yield
    except OSError as error:
        raise RaysmoothError(
            f"{flag} {where}: {error.strerror or error}: write a folder that can be written to"
        ) from None


def write_output(content: str | bytes, file: Where, flag: str) -> None:
    """Write `file`, on this machine or in an object store; raises RaysmoothError, naming `flag`, where that cannot be."""
    with refuse_unwritable(file, flag):
        located(file).write_atomic(content.encode() if isinstance(content, str) else content, durable=False)
