"""What a sweep judges its trials by: one row a metric."""

from dataclasses import dataclass
from math import inf

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Variant


@dataclass(frozen=True)
class Metric:
    """`mode` is "max" where more is better. `certifies`: it comes from certificates of validation images; `at_radius`:
    at one radius, which has to be named. `column` is where a trial reports it, for each kind of training.
    """

    mode: str
    summary: str
    column: dict[str, str]
    certifies: bool = False
    at_radius: bool = False


def _both(name: str) -> dict[str, str]:
    return {"classifier": name, "denoiser": name}


METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "certified_accuracy": Metric(
            "max", "certified accuracy of validation images at a radius", _both("certified_accuracy"), True, True
        ),
        "acr": Metric("max", "average certified radius of validation images", _both("acr"), True),
        "accuracy_under_noise": Metric(
            "max",
            "accuracy of the base classifier on noisy held-out images",
            {"classifier": "noisy_accuracy", "denoiser": "denoised_accuracy"},
        ),
        "validation_loss": Metric("min", "the objective's loss on held-out images", _both("validation_loss")),
    },
)


@dataclass(frozen=True)
class ChosenMetric:
    """A metric as an experiment names it: "acr", or "certified_accuracy:radius=0.5"."""

    name: str
    radius: float | None

    @classmethod
    def parse(cls, text: str) -> "ChosenMetric":
        parsed = Variant.parse(text)
        row, options = METRICS[parsed.name], dict(parsed.options)
        radius = options.pop("radius", None) if row.at_radius else None
        if options:
            raise RaysmoothError(f"metric '{text}': {parsed.name} has no option '{next(iter(options))}': leave it out")
        if not row.at_radius:
            return cls(parsed.name, None)
        if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 <= radius < inf:
            raise RaysmoothError(f"metric '{text}': write the radius, 0 or more, as in {parsed.name}:radius=0.5")
        return cls(parsed.name, float(radius))

    @property
    def row(self) -> Metric:
        return METRICS[self.name]

    def better(self, one: float, other: float) -> bool:
        return one > other if self.row.mode == "max" else one < other

    def __str__(self) -> str:
        return self.name if self.radius is None else f"{self.name}:radius={self.radius:g}"
