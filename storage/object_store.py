"""Retries for object stores: temporary errors are retried, permanent ones refused in one line."""

import random
import re
import sys
import time
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from raysmooth.common.errors import RaysmoothError, one_line

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

Answer = TypeVar("Answer")

PATIENCE = 300.0
"""Seconds for which a store that answered before may be unreachable."""

FIRST_PATIENCE = 20.0
"""The same for a store that never answered: its URL is probably wrong."""

SHORTEST, LONGEST = 0.5, 30.0
"""Bounds of the seconds between attempts: as long as the store has been unreachable so far, plus or minus half."""

_S3_ERROR = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))? during \w+ operation: (.*)", re.DOTALL)
_GS_ERROR = re.compile(r"Status\((\w+): (.*)", re.DOTALL)

_PASSING = {
    *("NETWORK_CONNECTION", "INTERNAL_FAILURE", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "THROTTLING", "REQUEST_TIMEOUT"),
    *("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED"),
}
"""Error codes of S3 and Google's store for temporary problems."""

_DENIED = {
    *("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_SIGNATURE", "UNRECOGNIZED_CLIENT"),
    *("INVALID_CLIENT_TOKEN_ID", "MISSING_AUTHENTICATION_TOKEN", "REQUEST_EXPIRED"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED"),
}


class Unreachable(Exception):
    """A store did not answer; it may answer another attempt, `pause` seconds from now."""

    def __init__(self, pause: float) -> None:
        super().__init__(f"try again in {pause:.1f} s")
        self.pause = pause


class ObjectStore:
    """A bucket; `root` is its URL. All operations go through `once` or `patiently`, which share the time since when the
    store is unreachable. Thread-safe.
    """

    def __init__(self, root: str, filesystem: "FileSystem", credentials: str) -> None:
        self.root, self.filesystem, self._credentials = root, filesystem, credentials
        self._lock = Lock()
        self._reached = False
        self._lost_since: float | None = None
        self._last_failure = 0.0

    def patiently(self, operation: Callable[[], Answer]) -> Answer:
        """The result of `operation`, retried until the store answers. Raises RaysmoothError if the store is unreachable
        for too long, and at once for permanent errors; FileNotFoundError passes through.
        """
        while True:
            try:
                return self.once(operation)
            except Unreachable as lost:
                time.sleep(lost.pause)

    def once(self, operation: Callable[[], Answer]) -> Answer:
        """As `patiently`, but raises Unreachable instead of waiting."""
        began = time.monotonic()
        try:
            answer = operation()
        except FileNotFoundError:
            self._found()
            raise
        except OSError as error:
            code, reason = describe(error)
            if code in _PASSING:
                raise self._lost(reason, began) from error
            raise self._denied(code, reason) from None
        self._found()
        return answer

    def files(self, path: str) -> list[tuple[str, int, Any]]:
        """Name, size in bytes and modification time of the object `path` or of all objects below it, sorted by name."""
        info = self.patiently(lambda: self.filesystem.get_file_info(path))
        from pyarrow.fs import FileSelector

        selector = FileSelector(path, recursive=True, allow_not_found=True)
        below = [info] if info.is_file else self.patiently(lambda: self.filesystem.get_file_info(selector))
        return sorted((one.path, one.size, one.mtime_ns) for one in below if one.is_file)

    def _found(self) -> None:
        with self._lock:
            self._reached = True
            if self._lost_since is not None:
                notify(f"{self.root} answers again after {time.monotonic() - self._lost_since:.0f} s")
                self._lost_since = None

    def _lost(self, reason: str, began: float) -> Exception:
        """The exception for an attempt, made at `began`, that the store did not answer."""
        limit = PATIENCE if self._reached else FIRST_PATIENCE
        with self._lock:
            now = time.monotonic()
            # A caller that gave up long ago, in a notebook for example, gets the full time again.
            if self._lost_since is None or began - self._last_failure > PATIENCE:
                self._lost_since = now
                notify(f"cannot reach {self.root} ({reason}): trying again for {_span(limit)}")
            self._last_failure, away = now, now - self._lost_since
        if away < limit:
            return Unreachable(min(random.uniform(0.5, 1.5) * min(max(away, SHORTEST), LONGEST), limit - away + 0.1))
        if self._reached:
            return RaysmoothError(
                f"stopped: {self.root} could not be reached for {_span(away)} ({reason}); finished work is kept: "
                "rerun the same command to resume"
            )
        return RaysmoothError(f"{self.root} cannot be reached ({reason}): write another URL, or check the network")

    def _denied(self, code: str, reason: str) -> RaysmoothError:
        if code in _DENIED:
            return RaysmoothError(f"{self.root}: no access ({reason}): {self._credentials}")
        if code in ("NO_SUCH_BUCKET", "NOT_FOUND"):
            return no_bucket(self.root)
        return RaysmoothError(f"{self.root}: {reason}")


def notify(text: str) -> None:
    """Print a line for the user on standard error, where progress bars let it through."""
    print(f"raysmooth: {text}", file=sys.stderr, flush=True)


def describe(error: OSError) -> tuple[str, str]:
    """The store's code for an error ("" if it has none), and its message in one line."""
    text = one_line(error, whole=True, limit=5000)
    if found := _S3_ERROR.search(text):
        code, status, words = found.groups()
        passes = status is not None and (status.startswith("5") or status == "429")
        code = "SERVICE_UNAVAILABLE" if passes else "ACCESS_DENIED" if status == "403" else code
        words = words.partition(" (Request ID")[0].rpartition("Details: ")[2]
        return code, f"{code}: {words[:200]}" if words else code
    if found := _GS_ERROR.search(text):
        return found[1], f"{found[1]}: {found[2][:200]}"
    return "", text[:300]


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def no_bucket(url: str) -> RaysmoothError:
    parts = urlsplit(url)
    return RaysmoothError(f"{parts.scheme}://{parts.netloc}: there is no such bucket: create it, or write another")
