"""How a run draws, as replicas need to know it: names and numbers, no tensors."""

from dataclasses import dataclass

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.noise.streams import NoiseFamily


@dataclass(frozen=True)
class Sampling:
    """How one run draws: base classifier, compute configuration, noise and seed. `micro_batch`: the images known to fit
    the device's memory, if fewer than the compute batch. `search`: the canonical text of the search of noise
    levels that the run's units are, which begins at that of `noise`; None where they are counted draws.
    """

    base: BaseClassifierSpec
    compute: ComputeConfig
    noise: NoiseFamily
    seed: int
    micro_batch: int | None = None
    search: str | None = None
