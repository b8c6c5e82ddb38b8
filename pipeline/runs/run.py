"""A run that counts labels: one setting of certify or predict at one noise level on one index set."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.sampling_rule import SamplingRule
from raysmooth.pipeline.runs.base_run import BaseRun
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.settings import SamplingSettings


@dataclass(frozen=True)
class Run(BaseRun):
    """A run of a `Procedure`."""

    procedure: Procedure
    settings: SamplingSettings

    @cached_property
    def bound(self) -> ChosenBound | None:
        """The bound of its certificates; None for a procedure without any."""
        return None if self.procedure.bound is None else self.procedure.bound(self.settings)

    @cached_property
    def rule(self) -> SamplingRule:
        return self.procedure.rule(self.settings, self.noise)

    @property
    def is_fixed(self) -> bool:
        """Whether every image gets the same draws."""
        return self.rule.first == self.rule.most

    @property
    def most_draws(self) -> int:
        """The most draws of an image, selection included."""
        return getattr(self.settings, "n0", 0) + self.settings.n

    @property
    def draws_per_image(self) -> float:
        """Draws of an image: exact, or from experience if images stop early."""
        return max(sum(self.rule.first.values()), self.procedure.share(self.settings) * self.most_draws)

    @property
    def blocks(self) -> int:
        """The most blocks of draws that the run can need."""
        return len(self.index_set) * sum(-(-draws // self.settings.block_size) for draws in self.rule.most.values())

    @cached_property
    def plan(self) -> DrawPlan:
        return DrawPlan(self.rule.first, self.settings.block_size, self._chosen_compute.batch_size)

    @cached_property
    def facts(self) -> dict[str, Any]:
        return {
            **self._network_facts,
            "rejector": self.base.rejector if self.has_rejector else None,
            "rejector_fingerprint": self.base.rejector_fingerprint,
            "source": None,
            "noise": self.noise.name,
            "norm": self.noise.norm,
            "sigma": self.noise.scale,
            "sampling": self.procedure.sampling(self.settings),
            **{name: getattr(self.settings, name) for name, _ in self.procedure.decided_by},
            **({} if self.bound is None else self.bound.facts),
            "images": len(self.index_set),
        }

    @property
    def _named_facts(self) -> dict[str, Any]:
        # A run without a rejector, or with the usual bound, has the id that it had before there were others.
        left_out = {"objective"} if self.has_rejector else {"objective", "rejector", "rejector_fingerprint"}
        if self.bound is not None:
            left_out |= {*self.bound.facts} - {*self.bound.identity}
        return {name: value for name, value in self.facts.items() if name not in left_out}

    @property
    def _drawn_in(self) -> dict[str, Any]:
        return {"block_size": self.settings.block_size}

    @property
    def _needs_scipy(self) -> bool:
        return not self.is_fixed  # rules that stop early compute with it how many draws are enough
