"""A run that counts labels: one setting of certify or predict at one noise level on one index set."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.own_level import AtOwnLevel
from raysmooth.pipeline.certification.sampling_rule import SamplingRule
from raysmooth.pipeline.certification.top_k import TopK
from raysmooth.pipeline.runs.base_run import BaseRun
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.image_sigmas import ImageSigmas
from raysmooth.pipeline.store.sigma_rules import CLASS_SHARE


@dataclass(frozen=True)
class Run(BaseRun):
    """A run of a `Procedure`. `image_sigmas` are the noise levels of its images where each has its own; `noise` is then
    where their search began.
    """

    procedure: Procedure
    settings: SamplingSettings
    image_sigmas: ImageSigmas | None = None

    @property
    def label(self) -> str:
        own = "" if self.image_sigmas is None else f", own by {self.image_sigmas.rule.partition(':')[0]}"
        return f"{super().label}{own}"

    @cached_property
    def bound(self) -> ChosenBound | None:
        """The bound of its certificates; None for a procedure without any."""
        return None if self.procedure.bound is None else self.procedure.bound(self.settings)

    @cached_property
    def ruled_settings(self) -> SamplingSettings:
        """The settings with the alpha of the class: half of it where a search certified the levels with the other."""
        if self.image_sigmas is None or self.image_sigmas.radii is None:
            return self.settings
        return self.settings.model_copy(update={"alpha": self.settings.alpha * CLASS_SHARE})

    @cached_property
    def rule(self) -> SamplingRule:
        """The rule by which draws are planned."""
        return self.procedure.rule(self.ruled_settings, self.noise)

    def rule_of(self, image_id: int) -> SamplingRule:
        """The rule of one image, which has its own noise level or the run's."""
        levels = self.image_sigmas
        if levels is None:
            return self.rule
        noise = self.noise.at(levels.sigmas[image_id])
        same = None if levels.radii is None else noise.in_norm(levels.radii[image_id])
        return AtOwnLevel(self.rule, noise, same)

    def top_k_of(self, image_id: int) -> TopK | None:
        """What the top-k certificates of one image rest on; None in a run without them."""
        k: int | None = getattr(self.settings, "top_k", None)
        if k is None or self.bound is None:
            return None
        rule = self.rule_of(image_id)
        noise, same = (rule.noise, rule.same_within) if isinstance(rule, AtOwnLevel) else (self.noise, None)
        return TopK(k, self.ruled_settings.alpha, noise, self.bound.name, self.has_rejector, same)

    def level_problem(self, image_id: int) -> str | None:
        """Why an image has no noise level, so that nothing can be drawn; None if it has one."""
        failed = None if self.image_sigmas is None else self.image_sigmas.failed.get(image_id)
        return None if failed is None else f"no sigma was found: {failed}"

    def label_of(self, image: np.ndarray | None, label: int | None) -> int | None:
        """The label in an image's row: that of the data. `image`, (C, H, W), is None if it cannot be read."""
        return label

    @property
    def names(self) -> Mapping[int, str]:
        """What rows call the classes, by label."""
        return self.class_names

    def facts_of(self, image_id: int) -> dict[str, Any]:
        """The columns of an image's row that are known before it is drawn."""
        own = None if self.image_sigmas is None else self.image_sigmas.sigmas.get(image_id)
        return {**self.facts, "image_sigma": own}

    @property
    def is_fixed(self) -> bool:
        """Whether every image gets the same draws."""
        return self.rule.first == self.rule.most

    @property
    def most_draws(self) -> int:
        return getattr(self.settings, "n0", 0) + self.settings.n

    @property
    def draws_per_image(self) -> float:
        return max(sum(self.rule.first.values()), self.procedure.share(self.settings) * self.most_draws)

    @property
    def blocks(self) -> int:
        return len(self.index_set) * sum(-(-draws // self.settings.block_size) for draws in self.rule.most.values())

    @cached_property
    def plan(self) -> DrawPlan:
        sigmas = {} if self.image_sigmas is None else self.image_sigmas.sigmas
        return DrawPlan(self.rule.first, self.settings.block_size, self._chosen_compute.batch_size, sigmas)

    @cached_property
    def facts(self) -> dict[str, Any]:
        return {
            **self._network_facts,
            "rejector": self.base.rejector if self.has_rejector else None,
            "rejector_fingerprint": self.base.rejector_fingerprint,
            "input_size": self.input_size,
            "source": None,
            "reference": None,
            "noise": self.noise.name,
            "norm": self.noise.norm,
            "sigma": self.noise.scale,
            "sampling": self.procedure.sampling(self.settings),
            "sigma_rule": None if self.image_sigmas is None else self.image_sigmas.rule,
            **{name: getattr(self.settings, name) for name, _ in self.procedure.decided_by},
            **({} if self.bound is None else self.bound.facts),
            "images": len(self.index_set),
        }

    @property
    def _named_facts(self) -> dict[str, Any]:
        # A run without a rejector or top-k certificates, or with the usual bound, or one level, has the id that it had
        # before there were others.
        left_out = {"objective", "reference", "input_size"}
        left_out |= set() if self.has_rejector else {"rejector", "rejector_fingerprint"}
        left_out |= {"sigma_rule"} if self.image_sigmas is None else set()
        left_out |= {"top_k"} if self.facts.get("top_k") is None else set()
        if self.bound is not None:
            left_out |= {*self.bound.facts} - {*self.bound.identity}
        searched = {} if self.image_sigmas is None else {"sigmas_run": self.image_sigmas.run_id}
        return {**{name: value for name, value in self.facts.items() if name not in left_out}, **searched}

    @property
    def _drawn_in(self) -> dict[str, Any]:
        return {"block_size": self.settings.block_size}

    @property
    def _needs_scipy(self) -> bool:
        return not self.is_fixed  # rules that stop early compute with it how many draws are enough
