"""Where a replica runs, and what of that its results depend on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplicaIdentity:
    """Where a replica runs. `device` and `torch` decide the last bits of logits, and `numpy` the noise on a CPU, so
    they belong to a run; `node` and `pid` are for whoever must find the process.
    """

    device: str
    torch: str
    numpy: str
    node: str
    pid: int

    @property
    def kind(self) -> tuple[str, str, str]:
        """What replicas of one run have in common."""
        return self.device, f"torch {self.torch}", f"numpy {self.numpy}"
