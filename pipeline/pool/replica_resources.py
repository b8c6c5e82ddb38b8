"""How many replicas are started on a cluster, and what each of them occupies."""

from dataclasses import dataclass

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.ray_cluster.cluster import Cluster


@dataclass(frozen=True)
class ReplicaResources:
    """Resources that Ray reserves for one replica; `gpus` may be a fraction."""

    cpus: int
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus > 0 else "cpu"


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
