"""Joining a Ray cluster, or starting a local one that ends with the work."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from threading import current_thread, main_thread

import ray
from ray._private.state import state  # what an autoscaler may start has no public interface
from ray._private.utils import get_num_cpus
from ray.exceptions import AuthenticationError

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.ray_cluster.local_ray import on_loopback, ray_folder, settle_folder, settle_token
from raysmooth.pipeline.ray_cluster.one_ray import keep_ray
from raysmooth.pipeline.ray_cluster.ray_address import LOCAL, Note, cluster_to_join
from raysmooth.pipeline.ray_cluster.ray_session import IdleReplicas, Session, open_session
from raysmooth.pipeline.ray_cluster.ray_watch import RayIsGone, leave_lost_cluster, watching_ray
from raysmooth.pipeline.ray_cluster.worker_path import WorkersOwnPath


@dataclass(frozen=True)
class Cluster:
    """Present resources of the cluster, and `gpus_to_come`, how many GPUs there may be with its autoscaler's. `local`:
    this process started it for itself, so it will not grow. `idle`: where replicas are kept for the next call, if they
    are.
    """

    cpus: float
    gpus: float
    gpus_to_come: float
    local: bool
    idle: IdleReplicas | None = None


@contextmanager
def connected(
    address: str | None, verbose: bool, note: Note = lambda _: None, keeps_replicas: bool = False
) -> Iterator[Cluster]:
    """Ray, as a context: that of the open session (within `one_ray` one begins here), else the cluster that this
    process is connected to already (left as it is), else the one at `address`, else the one that this machine or job
    belongs to, else a local one, which ends with the context. `note` is called with a line that names a cluster which
    is joined without having been named. `keeps_replicas`: the call starts its replicas from the session's idle ones,
    and leaves them there.

    Raises RaysmoothError if `address` does not answer or refuses the connection, and if Ray ends by itself.
    """
    if open_session() is None and not ray.is_initialized():
        keep_ray(partial(begin_session, address, verbose, note))
    if (session := open_session()) is not None:
        with session.call(address, keeps_replicas, note):
            yield replace(_cluster(local=session.local), idle=session.idle if keeps_replicas else None)
        return
    if ray.is_initialized():
        yield _cluster(local=False)
        return
    local = _start(address, verbose, note)
    try:
        with watching_ray(None if local else ray.get_runtime_context().gcs_address, leaves_at_once=not keeps_replicas):
            yield _cluster(local)
    except RayIsGone as gone:
        if gone.is_local:
            ray.shutdown()
        else:
            leave_lost_cluster()
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


def begin_session(address: str | None, verbose: bool, note: Note) -> Session:
    """A session on Ray as `connected` finds or starts it; the open one, if there is one."""
    return Session(partial(_start, address, verbose), address, verbose, note)


def _start(address: str | None, verbose: bool, note: Note) -> bool:
    """Join the cluster that `connected` describes, or start a local Ray, and say whether it is local."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's future default, and ours: an actor without GPUs can still see them, as its device is passed to it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # When a run is stopped, units in flight fail, and nothing reads these errors.
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    found = cluster_to_join(address, note)
    level = logging.INFO if verbose else logging.ERROR
    join = partial(ray.init, logging_level=level, log_to_driver=verbose, job_config=WorkersOwnPath())
    try:
        with _own_signals():
            if found is None:
                settle_folder()
                settle_token(note)
                with on_loopback():
                    join(address="local", include_dashboard=False)
            else:
                join(address=found)
    except (ConnectionError, AuthenticationError) as error:
        raise RaysmoothError(
            f"the Ray cluster at {found} refuses the connection, or has no node on this machine: set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or ~/.ray/auth_token) to the cluster's own, run `ray start` here, "
            "or write --address local"
        ) from error
    except OSError as error:  # its folder: read-only, full, gone
        raise RaysmoothError(
            f"Ray cannot start in {ray_folder()}: {one_line(error)}: set RAY_TMPDIR to another folder, such as /tmp"
        ) from error
    except (RuntimeError, ValueError) as error:  # other versions of Ray or Python there, or an invalid address
        raise RaysmoothError(f"Ray at {found or LOCAL}: {one_line(error, whole=True)}") from error
    return found is None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself, in C++ too, where it prints a stack and aborts: the handlers of the command line
    are set again.
    """
    own = {}
    if current_thread() is main_thread():
        own = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in own.items():
            if callable(handler):
                signal.signal(number, handler)


def _cluster(local: bool) -> Cluster:
    has = ray.cluster_resources()
    may_have = state.get_max_resources_from_cluster_config() or {}
    gpus = has.get("GPU", 0.0)
    return Cluster(has.get("CPU", 0.0), gpus, max(gpus, may_have.get("GPU", 0)), local)


def local_cpus() -> float:
    """CPU cores that a local Ray would have, by Ray's own rule."""
    return float(get_num_cpus(override_docker_cpu_warning=True))
