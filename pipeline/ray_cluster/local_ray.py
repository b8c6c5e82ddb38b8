"""What a local Ray needs of the machine: a folder short enough for its sockets, a token that only its user reads, and
ports that only this machine reaches.
"""

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from raysmooth.common.errors import RaysmoothError

LONGEST_FOLDER = 107 - len("/ray/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store")
"""Bytes of the folder's path: the kernel allows a socket's path 107."""


def ray_folder() -> Path:
    """The folder in which Ray keeps its own, by its own rule."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")


def settle_folder() -> None:
    """Where TMPDIR is too long for Ray's sockets, as a batch system's often is, give Ray a folder of this user in /tmp.

    Raises RaysmoothError where that cannot be made, and for an RAY_TMPDIR that is too long itself.
    """
    length = len(os.fsencode(ray_folder()))
    if length <= LONGEST_FOLDER:
        return
    name = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    refusal = RaysmoothError(
        f"{name} has {length} characters, and the paths of Ray's sockets leave {LONGEST_FOLDER}: set RAY_TMPDIR to a "
        "shorter folder, such as /tmp"
    )
    if name == "RAY_TMPDIR":
        raise refusal
    try:
        os.environ["RAY_TMPDIR"] = _short_folder()
    except OSError:
        raise refusal from None


def _short_folder() -> str:
    folder = f"/tmp/ray-{os.getuid()}"
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        found = os.lstat(folder)
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
        if not own:  # another user's: what lies in it could be replaced
            return mkdtemp(prefix="ray-", dir="/tmp")
    return folder


@contextmanager
def on_loopback() -> Iterator[None]:
    """Within, a local Ray starts with all its ports on 127.0.0.1, as it does by itself on macOS and Windows."""
    from ray._private import ray_constants  # late: `ray_folder` is asked for without Ray

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def settle_token(note: Callable[[str], None] = lambda _: None) -> None:
    """Make the token with which a local Ray is joined readable for this user alone: Ray makes it readable for all.
    Without a home that can be written the token is in the environment of this process. `note` is called with a line
    for the user if others can read or replace the token, and that cannot be changed.
    """
    if any(os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    try:
        file = Path.home() / ".ray" / "auth_token"
        if file.exists():
            found = file.stat()
            if found.st_uid != os.getuid():
                note(
                    f"raysmooth: warning: {file} is another user's, who can join the Ray that starts now, and run code "
                    "as you: set RAY_AUTH_TOKEN_PATH to a file of your own"
                )
            elif found.st_mode & 0o077:
                file.chmod(0o600)
            return
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(secrets.token_hex(32))
    except FileExistsError:  # made by another process just now
        return
    except (OSError, RuntimeError):  # RuntimeError: no home at all
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
