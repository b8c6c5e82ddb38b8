"""Notices what a case must not do: run code that came with the input, start processes, open files outside its folder.

Python's audit hooks cannot be removed. This one costs nothing while no case is watched.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz.values import OWN

CANARY = "canary"
"""A file that evil inputs try to create in the current folder."""

_RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "socket.connect")
_HARMLESS_PROGRAMS = ("git", "uname", "ldconfig", "/sbin/ldconfig", "gcc", "lscpu")
"""Programs that Python and we start ourselves: a manifest names the commit and the processor."""

_EVIL_GLOBALS = ("os", "posix", "subprocess", "builtins", "pathlib", "shutil", "socket", OWN)

_OURS = tuple(
    str(Path(folder).resolve())
    for folder in (
        sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), Path(__file__).parents[2], "/usr", "/lib", "/etc",
        "/proc", "/sys", "/dev", os.path.expanduser("~/.config/matplotlib"), os.path.expanduser("~/.cache"),
        os.environ.get("MPLCONFIGDIR", "/usr"),
    )
)  # fmt: skip
"""Folders that our own code, Python and libraries read."""

_FORBIDDEN = ("/etc/passwd", "/etc/shadow", "/proc/self/environ", "/dev/zero", "/dev/random")


class _Watch:
    def __init__(self) -> None:
        self.folder: str | None = None
        self.temporary = ""
        self.seen: list[str] = []

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        folder, self.folder = self.folder, None  # what this function does is not watched
        try:
            if (found := self._found(event, arguments, folder)) is not None and found not in self.seen:
                self.seen.append(found)
        finally:
            self.folder = folder

    def _found(self, event: str, arguments: tuple[Any, ...], folder: str) -> str | None:
        if event == "open":
            path, mode, flags = arguments
            return None if _is_below(_absolute(path), self.temporary) else _outside(path, mode, flags, folder)
        if event == "exec":
            file = getattr(arguments[0], "co_filename", "<text>")
            is_theirs = not file.startswith("<") and _is_below(os.path.abspath(file), folder)
            return f"executed {file}" if is_theirs else None
        if event == "import":
            return f"imported {OWN}" if str(arguments[0]).partition(".")[0] == OWN else None
        if event == "pickle.find_class":
            return f"unpickled {arguments[0]}.{arguments[1]}" if str(arguments[0]) in _EVIL_GLOBALS else None
        if event in _RUNS:
            program = str(arguments[0])
            return None if program in _HARMLESS_PROGRAMS else f"{event} {program[:100]}"
        return None


_watch = _Watch()
_installed: list[bool] = []


@contextmanager
def watched(folder: Path, temporary: Path) -> Iterator[list[str]]:
    """What happens within that must not, in words, while only `folder` and `temporary` may be read and written."""
    if not _installed:
        sys.addaudithook(_watch.note)
        _installed.append(True)
    _watch.temporary = str(temporary.resolve())
    _watch.seen, _watch.folder = [], str(folder.resolve())
    try:
        yield _watch.seen
    finally:
        _watch.folder = None
        if (folder / CANARY).exists():
            _watch.seen.append("the canary file was created")


def _outside(path: Any, mode: Any, flags: Any, folder: str) -> str | None:
    if not (real := _absolute(path)):
        return None
    if isinstance(flags, int) and flags & os.O_NOFOLLOW and os.path.islink(real):
        return None  # which fails
    if real in _FORBIDDEN or os.path.realpath(real) in _FORBIDDEN:
        return f"opened {real}"
    if _is_below(real, folder):
        inside = _is_below(os.path.realpath(real), folder) or not os.path.exists(real)
        return None if inside or _is_ours(os.path.realpath(real)) else f"opened {os.path.realpath(real)}"
    letters, bits = mode if isinstance(mode, str) else "", flags if isinstance(flags, int) else 0
    writes = bool(set(letters) & set("wax+") or bits & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if _is_ours(real) and not writes:
        return None
    if real in ("/dev/null", "/dev/tty") or "__pycache__" in real or "/.cache/" in real:
        return None
    return f"{'wrote' if writes else 'opened'} {real}" if writes or os.path.exists(real) else None


def _absolute(path: Any) -> str:
    """The path, made absolute; "" for an open file descriptor."""
    return os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_ours(path: str) -> bool:
    return any(_is_below(path, folder) for folder in _OURS)
