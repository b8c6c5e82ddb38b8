"""The metrics that a sweep can judge its trials by: one entry each."""

from dataclasses import dataclass as plain_dataclass
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.noise.pixel_scale import refuse_large_distance
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, read_options
from raysmooth.common.variant import Variant


@dataclass(frozen=True)
class NoOptions(Options):
    pass


@dataclass(frozen=True)
class AtRadius(Options):
    radius: Annotated[float, Field(ge=0, description="the radius, as in certified_accuracy:radius=0.5")]

    def __post_init__(self) -> None:
        refuse_large_distance(self.radius, "radius")


@plain_dataclass(frozen=True)
class Metric:
    """`mode` is "max" where more is better. `column` is where trials report it, by the training ("classifier"); a
    training without one does not have the metric.
    `certifies`: computed from certificates of validation images.
    """

    mode: str
    summary: str
    column: dict[str, str]
    certifies: bool = False
    options: type[NoOptions] | type[AtRadius] = NoOptions


def _same_column(name: str) -> dict[str, str]:
    return {"classifier": name, "denoiser": name, "rejector": name}


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "certified_accuracy": Metric(
            "max",
            "certified accuracy of validation images at a radius",
            _same_column("certified_accuracy"),
            certifies=True,
            options=AtRadius,
        ),
        "acr": Metric("max", "average certified radius of validation images", _same_column("acr"), certifies=True),
        "accuracy_under_noise": Metric(
            "max",
            "accuracy of the base classifier on noisy held-out images",
            {"classifier": "noisy_accuracy", "denoiser": "denoised_accuracy"},  # rejectors leave it as it is
        ),
        "validation_loss": Metric("min", "the objective's loss on held-out images", _same_column("validation_loss")),
    },
)


@plain_dataclass(frozen=True)
class ChosenMetric:
    """A metric as a sweep file names it: "acr", or "certified_accuracy:radius=0.5"."""

    name: str
    radius: float | None

    @classmethod
    def parse(cls, text: str) -> "ChosenMetric":
        written = Variant.parse_entry(text, "metric", "certified_accuracy:radius=0.5")
        options = read_options(METRICS[written.name].options, written, "metric")
        return cls(written.name, options.radius if isinstance(options, AtRadius) else None)

    @property
    def entry(self) -> Metric:
        return METRICS[self.name]

    def better(self, one: float, other: float) -> bool:
        return one > other if self.entry.mode == "max" else one < other

    def __str__(self) -> str:
        return self.name if self.radius is None else f"{self.name}:radius={self.radius:.12g}"
