"""Settings of optimize-sigma: those of smoothing that it shares with certify, and how levels are sought."""

from collections.abc import Collection
from typing import ClassVar

from pydantic import Field, model_validator

from raysmooth.actors.apis.apis import refuse_api
from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.sigma_search.searches import SEARCHES, read_search
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.runs.settings import NEW_RUN, NoisySettings


class OptimizeSigmaSettings(NoisySettings):
    """Search (in float32, never compiled)"""

    COMMON: ClassVar[Collection[str]] = ("search",)

    search: str = Field(
        "ddrs",
        description=f"How each level is found: {', '.join(SEARCHES)}, with options: see raysmooth list searches.",
    )
    batch_size: int = Field(64, description=f"Noisy images per forward pass. {NEW_RUN}", ge=1)

    @model_validator(mode="after")
    def _refuse_odd_search(self) -> "OptimizeSigmaSettings":
        refuse_api(self.classifier, "levels are sought with gradients or with many draws of every image")
        _, options = read_search(self.search)
        for sigma in self.sigma:
            options.refuse_unfit(self.noise, sigma)
        if self.rejector != NO_REJECTOR:
            raise RaysmoothError(
                f"--rejector {self.rejector}: noise levels are sought for the classifier itself: leave it out here"
            )
        return self
