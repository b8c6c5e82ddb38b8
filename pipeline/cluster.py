"""Joining the Ray cluster that is there, or starting a local one for as long as the work takes."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import ray
from ray.exceptions import AuthenticationError

from actors.refusal import Refusal


@dataclass(frozen=True)
class Cluster:
    """What the cluster has at this moment. `local`: started by this process for itself, so it will not grow."""

    cpus: float
    gpus: float
    local: bool


@dataclass(frozen=True)
class ReplicaResources:
    """What Ray reserves for one replica; `gpus` may be a fraction."""

    cpus: int
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus > 0 else "cpu"


@contextmanager
def connected(address: str | None, verbose: bool) -> Iterator[Cluster]:
    """Ray, as a context: the one this process is connected to already (left as it is), else the one at `address`, else
    the one that this machine or job belongs to, else a local one, which ends with the context.

    Raises Refusal where `address` does not answer or does not let us in.
    """
    if ray.is_initialized():
        yield _cluster(local=False)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's coming default, and ours: an actor without GPUs is not blinded to them, its device is passed to it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    join = partial(ray.init, logging_level=logging.INFO if verbose else logging.ERROR, log_to_driver=verbose)
    local = address == "local"
    try:
        if not local:
            try:
                join(address=address or "auto")
            except ConnectionError as error:
                if address is not None or "RAY_ADDRESS" in os.environ:
                    where = address or os.environ["RAY_ADDRESS"]
                    raise Refusal(
                        f"no Ray cluster answers at {where}: check --address, or write --address local"
                    ) from error
                local = True
        if local:
            join(address="local", include_dashboard=False)
    except AuthenticationError as error:
        raise Refusal(
            "the Ray cluster asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or ~/.ray/auth_token) "
            f"to the cluster's ({' '.join(str(error).split())[:120]})"
        ) from error
    try:
        yield _cluster(local)
    finally:
        ray.shutdown()


def settle_replicas(
    cluster: Cluster, replicas: int | None, gpus_per_replica: float | None, cpus_per_replica: int, units: int
) -> tuple[int, ReplicaResources]:
    """How many replicas to start, and what each reserves; never more than there are work units.

    Raises Refusal where a local Ray cannot hold what was asked for: it would wait for ever.
    """
    gpus = gpus_per_replica if gpus_per_replica is not None else (1.0 if cluster.gpus > 0 else 0.0)
    resources = ReplicaResources(cpus_per_replica, gpus)
    if gpus > 0:
        fit = int(cluster.gpus) * int(1 / gpus) if gpus < 1 else int(cluster.gpus // gpus)
    else:
        fit = int(cluster.cpus // cpus_per_replica)
    wanted = replicas if replicas is not None else max(1, fit)
    if cluster.local and wanted > fit:
        has = f"{cluster.gpus:g} GPUs" if gpus > 0 else f"{cluster.cpus:g} CPU cores"
        each = f"--gpus-per-replica {gpus:g}" if gpus > 0 else f"--cpus-per-replica {cpus_per_replica}"
        instead = f"--replicas {fit}" if fit else ("--gpus-per-replica 0" if gpus > 0 else "--cpus-per-replica 1")
        raise Refusal(f"{wanted} replicas with {each} do not fit this machine's {has}: write {instead}")
    return max(1, min(wanted, units)), resources


def _cluster(local: bool) -> Cluster:
    has = ray.cluster_resources()
    return Cluster(has.get("CPU", 0.0), has.get("GPU", 0.0), local)
