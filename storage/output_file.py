"""Output files that a user asked for: written atomically, or refused with the flag that named them."""

from collections.abc import Iterator
from contextlib import contextmanager

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.location import Where, located


@contextmanager
def refuse_unwritable(where: Where, flag: str) -> Iterator[None]:
    """Raises RaysmoothError, naming `flag`, if the block cannot write to `where`."""
    try:
        yield
    except OSError as error:
        raise RaysmoothError(f"{flag} {where}: {error.strerror or error}: write a folder that is writable") from None


def write_output(content: str | bytes, file: Where, flag: str) -> None:
    """Write `file`, local or in an object store, atomically; raises RaysmoothError, naming `flag`, if it is not
    writable.
    """
    with refuse_unwritable(file, flag):
        located(file).write_atomic(content.encode() if isinstance(content, str) else content, durable=False)
