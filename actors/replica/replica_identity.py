"""Where a replica runs, and the parts of that which its results depend on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplicaIdentity:
    """Where a replica runs. `device` and `torch` decide the last bits of logits, and `numpy` the noise on a CPU: these
    are part of a run's identity. `node` and `pid` help people find the process.
    """

    device: str
    torch: str
    numpy: str
    node: str
    pid: int

    @property
    def kind(self) -> tuple[str, str, str]:
        """Equal for all replicas of a run."""
        return self.device, f"torch {self.torch}", f"numpy {self.numpy}"
