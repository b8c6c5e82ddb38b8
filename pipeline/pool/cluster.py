"""Joining a Ray cluster, or starting a local one that ends with the work."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import current_thread, main_thread

import ray
from ray._private.state import state  # what an autoscaler may start has no public interface
from ray.exceptions import AuthenticationError

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.pool.local_ray import ray_folder, settle_folder, settle_token


@dataclass(frozen=True)
class Cluster:
    """Present resources of the cluster, and `gpus_to_come`, how many GPUs there may be with its autoscaler's. `local`:
    this process started it for itself, so it will not grow.
    """

    cpus: float
    gpus: float
    gpus_to_come: float
    local: bool


@dataclass(frozen=True)
class ReplicaResources:
    """Resources that Ray reserves for one replica; `gpus` may be a fraction."""

    cpus: int
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus > 0 else "cpu"


@contextmanager
def connected(address: str | None, verbose: bool) -> Iterator[Cluster]:
    """Ray, as a context: the cluster that this process is connected to already (left as it is), else the one at
    `address`, else the one that this machine or job belongs to, else a local one, which ends with the context.

    Raises RaysmoothError if `address` does not answer or refuses the connection.
    """
    if ray.is_initialized():
        yield _cluster(local=False)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's future default, and ours: an actor without GPUs can still see them, as its device is passed to it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    join = partial(ray.init, logging_level=logging.INFO if verbose else logging.ERROR, log_to_driver=verbose)
    # When a run is stopped, units in flight fail, and nothing reads these errors.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    named = address or os.environ.get("RAY_ADDRESS")
    found = _this_machines_cluster() if named in (None, "auto") else named
    if named == "auto" and found is None:
        raise RaysmoothError(
            "--address auto: this machine is not in a Ray cluster: write --address local, or HOST:PORT"
        )
    local = found in (None, "local")
    try:
        with _own_signals():
            if local:
                settle_folder()
                settle_token()
                join(address="local", include_dashboard=False)
            else:
                _refuse_silence(str(found))
                join(address=found)
    except (ConnectionError, AuthenticationError) as error:
        raise RaysmoothError(
            f"the Ray cluster at {found} refuses the connection: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN "
            "(or ~/.ray/auth_token) to the cluster's own, or write --address local"
        ) from error
    except OSError as error:  # its folder: read-only, full, gone
        raise RaysmoothError(
            f"Ray cannot start in {ray_folder()}: {one_line(error)}: set RAY_TMPDIR to another folder, such as /tmp"
        ) from error
    except (RuntimeError, ValueError) as error:  # other versions of Ray or Python there, or an invalid address
        raise RaysmoothError(f"Ray at {found or 'local'}: {one_line(error, whole=True)}") from error
    try:
        yield _cluster(local)
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself, in C++ too, where it prints a stack and aborts: the handlers of the command line
    are set again.
    """
    own = {}
    if current_thread() is main_thread():
        own = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in own.items():
        if callable(handler):
            signal.signal(number, handler)


def will_be_local(address: str | None) -> bool:
    """Whether `connected` would start a local Ray."""
    if ray.is_initialized():
        return False
    named = address or os.environ.get("RAY_ADDRESS")
    return named == "local" or (named is None and _this_machines_cluster() is None)


def _this_machines_cluster() -> str | None:
    """The cluster that `ray start` has joined this machine to, if it still answers (ray.init's own convention)."""
    note = ray_folder() / "ray" / "ray_current_cluster"
    try:
        if note.stat().st_uid != os.getuid():
            return None  # written by another user of this machine
        found = note.read_text().strip()
        _refuse_silence(found)
    except (OSError, RaysmoothError):
        return None
    return found or None


def _refuse_silence(address: str) -> None:
    """Raises RaysmoothError if nothing listens at host:port: ray.init would keep trying for many minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not (host and port.isdigit()):
        raise RaysmoothError(
            f"--address {address}: write HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or local"
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise RaysmoothError(
            f"no Ray cluster answers at {address} ({error.strerror or error}): check --address and RAY_ADDRESS, "
            "or write --address local"
        ) from error


def settle_replicas(
    cluster: Cluster, replicas: int | None, gpus_per_replica: float | None, cpus_per_replica: int, units: int
) -> tuple[int, int, ReplicaResources]:
    """How many replicas to start, how many there may be after more nodes have joined, and the resources of each; never
    more than there are work units.

    Raises RaysmoothError if a local Ray cannot hold the requested replicas: it would wait forever.
    """
    gpus = gpus_per_replica if gpus_per_replica is not None else (1.0 if cluster.gpus_to_come > 0 else 0.0)
    resources = ReplicaResources(cpus_per_replica, gpus)
    fit = int(cluster.cpus // cpus_per_replica)
    if gpus > 0:
        fit = min(fit, int(cluster.gpus) * int(1 / gpus) if gpus < 1 else int(cluster.gpus // gpus))
    wanted = replicas if replicas is not None else max(1, fit)
    if cluster.local and wanted > fit:
        has = f"{cluster.gpus:g} GPUs and {cluster.cpus:g} CPU cores"
        each = f"--gpus-per-replica {gpus:g} and --cpus-per-replica {cpus_per_replica}"
        no_gpu = gpus > cluster.gpus
        instead = f"--replicas {fit}" if fit else ("--gpus-per-replica 0" if no_gpu else "--cpus-per-replica 1")
        raise RaysmoothError(f"--replicas {wanted} with {each} do not fit this machine's {has}: write {instead}")
    now = max(1, min(wanted, fit, units))
    return now, now if cluster.local else max(now, min(units, replicas or units)), resources


def _cluster(local: bool) -> Cluster:
    has = ray.cluster_resources()
    may_have = state.get_max_resources_from_cluster_config() or {}
    gpus = has.get("GPU", 0.0)
    return Cluster(has.get("CPU", 0.0), gpus, max(gpus, may_have.get("GPU", 0)), local)
