"""How certification scales with the number of nodes: 1 to 3 on this machine, each with the same number of replicas.

    python benchmarks/nodes.py --data-root MNIST

The nodes are Ray's own test cluster, so each has its raylet. Replicas sleep instead of computing: the benchmark
measures the driver's overhead on several nodes, not the speed of the machine's cores.
"""

import argparse
from pathlib import Path

import pandas as pd
import ray
from pool_overhead import measure
from ray.cluster_utils import Cluster
from stub_replica import StubReplica

REPLICAS = 4
"""Per node."""


def scaling(data_root: Path, seconds: float = 20.0) -> pd.DataFrame:
    rows = []
    for nodes in (1, 2, 3):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": REPLICAS})
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=REPLICAS)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        try:
            replicas = nodes * REPLICAS
            images = max(10, int(seconds * replicas / StubReplica.seconds_per_unit / 10.1))
            rows.append({"nodes": nodes, **measure(StubReplica, replicas, images, 10_000, data_root)})
        finally:
            ray.shutdown()
            cluster.shutdown()
    return pd.DataFrame(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of MNIST")
    table = scaling(parser.parse_args().data_root)
    table["units/s"] = table["units"] / table["seconds"]
    print(table[["nodes", "replicas", "units", "seconds", "units/s", "of ideal"]].round(3).to_markdown(index=False))
