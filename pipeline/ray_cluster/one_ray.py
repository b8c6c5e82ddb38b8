"""One Ray for several calls of a command. Importing this module imports no Ray: the calls may not need it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raysmooth.pipeline.ray_cluster.ray_session import Session

_kept: list["Session | None"] = []
"""Empty outside the context; within it the session that the first call to need Ray has begun."""


@contextmanager
def one_ray() -> Iterator[None]:
    """Within it, the first call that needs Ray starts or joins it, as `connected` does, and the next ones find it and
    its idle replicas; it ends with the context. Nothing starts where no call needs Ray.
    """
    if _kept:
        yield
        return
    _kept.append(None)
    try:
        yield
    finally:
        if (session := _kept.pop()) is not None:
            session.close()


def keep_ray(begin: Callable[[], "Session"]) -> None:
    """Begin a session for the calls that follow, if there may be some."""
    if _kept:
        _kept[0] = begin()
