"""Which Ray cluster a command joins, and whether it answers."""

import os
import socket
import stat
import sys
from collections.abc import Callable

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.ray_cluster.local_ray import ray_folder

PATIENCE = 10.0
"""Seconds in which a cluster must answer: ray.init would keep trying for many minutes."""

LOCAL, AUTO = "local", "auto"

Note = Callable[[str], None]


def cluster_to_join(address: str | None, note: Note) -> str | None:
    """HOST:PORT of the cluster at `address`, or else of the one that this machine or job belongs to; None for a local
    Ray. `note` is called with a line for the user if it is joined without having been named.

    Raises RaysmoothError for an address of another form, and for a cluster that does not answer.
    """
    named = address or os.environ.get("RAY_ADDRESS")
    if named == LOCAL:
        return None
    if named not in (None, AUTO):
        refuse_silence(str(named))
        return named
    found = _this_machines_cluster(note)
    if named == AUTO and found is None:
        raise RaysmoothError(
            "--address auto: this machine is not in a Ray cluster: write --address local, or HOST:PORT"
        )
    return found


def will_be_local(address: str | None) -> bool:
    """Whether `connected` would start a local Ray."""
    if (ray := sys.modules.get("ray")) is not None and ray.is_initialized():  # Ray takes half a second to import
        return False
    named = address or os.environ.get("RAY_ADDRESS")
    return named == LOCAL or (named is None and _this_machines_cluster(lambda _: None) is None)


def _this_machines_cluster(note: Note) -> str | None:
    """The cluster that this user's `ray start` has joined this machine to, if it still answers."""
    file = ray_folder() / "ray" / "ray_current_cluster"  # ray.init's own convention
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(opened, "rb") as content:
        about = os.fstat(opened)
        if about.st_uid != os.getuid() or not stat.S_ISREG(about.st_mode):
            return None  # any user of this machine can write there
        found = content.read(300).decode(errors="replace").strip()
    try:
        refuse_silence(found)
    except RaysmoothError:
        note(f"raysmooth: no Ray cluster answers at {printable(found)}, which {file} names: it is not joined")
        return None
    note(f"raysmooth: joining this machine's Ray cluster at {found} (--address local: a Ray of its own instead)")
    return found


def refuse_silence(address: str) -> None:
    """Raises RaysmoothError if nothing answers at HOST:PORT as a cluster's head does."""
    host, _, port = address.rpartition(":")
    if "://" in address or not (host and port.isdecimal()):
        raise RaysmoothError(
            f"--address {printable(address)}: write HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or local"
        )
    instead = "check --address and RAY_ADDRESS, or write --address local"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RaysmoothError(f"no Ray cluster answers at {printable(address)} ({reason}): {instead}") from error
    if os.environ.get("RAY_USE_TLS", "0") == "0" and not _is_ray(address):
        raise RaysmoothError(f"what listens at {printable(address)} does not answer as Ray does: {instead}")


def _is_ray(address: str) -> bool:
    """Whether a Ray head answers there, be it that it wants a token: to the first thing that ray.init asks for."""
    import grpc

    silent = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        cluster_id = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")
        try:
            cluster_id(b"", timeout=PATIENCE, wait_for_ready=True)
        except grpc.RpcError as error:
            return error.code() not in silent
    return True
