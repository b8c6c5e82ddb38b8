"""A run that finds a noise level for each image: one search that begins at one level, on one index set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.actors.sigma_search.search_options import SearchOptions
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.pipeline.runs.base_run import BaseRun
from raysmooth.pipeline.runs.search_procedure import SearchProcedure
from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings


def search_compute(batch_size: int) -> ComputeConfig:
    """How every search is computed: gradients need float32, and neither compiling nor a probe."""
    return ComputeConfig("float32", False, batch_size)


@dataclass(frozen=True)
class SearchRun(BaseRun):
    """A run of a `SearchProcedure`, whose compute configuration follows from its settings. Its draws are forward
    passes: `draws_per_image` counts a backward pass as two.
    """

    DRAWN: ClassVar[str] = "forward pass"

    procedure: SearchProcedure
    settings: OptimizeSigmaSettings

    @cached_property
    def search(self) -> str:
        """The search's canonical text."""
        return str(read_search(self.settings.search)[0])

    @cached_property
    def options(self) -> SearchOptions:
        return read_search(self.settings.search)[1]

    @property
    def draws_per_image(self) -> int:
        return self.options.passes

    @property
    def most_draws(self) -> int:
        return self.draws_per_image

    @cached_property
    def shard_size(self) -> int:
        """Images in a unit: those that are searched together."""
        return self.options.images_at_once(self.settings.batch_size)

    @property
    def blocks(self) -> int:
        return -(-len(self.index_set) // self.shard_size)

    def shards(self) -> Iterator[Sequence[int]]:
        """The images of each unit. They follow from settings and index set: the last bits of logits depend on the batch
        that an image is computed in.
        """
        ids = self.index_set.ids
        for start in range(0, len(ids), self.shard_size):
            yield ids[start : start + self.shard_size]

    def unit(self, run: int, shard: Sequence[int]) -> WorkUnit:
        """The unit of a shard; `run` is the number of the run in its pool."""
        blocks = tuple(Block(image_id, 0, self.draws_per_image) for image_id in shard)
        return WorkUnit(run, Role.OPTIMISATION, blocks)

    def sampling(self, micro_batch: int | None = None) -> Sampling:
        return replace(super().sampling(micro_batch), search=self.search)

    @cached_property
    def facts(self) -> dict[str, Any]:
        return {
            **self._network_facts,
            "noise": self.noise.name,
            "sigma": self.noise.scale,
            "search": self.search,
            "images": len(self.index_set),
        }

    @property
    def _named_facts(self) -> dict[str, Any]:
        return {name: value for name, value in self.facts.items() if name != "objective"}

    @property
    def _needs_scipy(self) -> bool:
        return self.options.certified  # its radius is a bound of SciPy's
