"""Training objectives, and how they are written: "gaussian", "consistency:m=4,lambda=10".

An objective is a frozen pydantic dataclass whose fields are its options; a registry's entry names it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

from raysmooth.actors.attacks.soft_smoothing import Model
from raysmooth.common.late_imports import LateModule
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options, option_fields, read_options
from raysmooth.common.variant import Option, Variant

if TYPE_CHECKING:
    import torch
else:
    torch = LateModule("torch")


class Noise(Protocol):
    """`sigma` is the standard deviation of one coordinate, in pixel units: that of the training, where images have
    sigmas of their own.
    """

    sigma: float

    @property
    def sigma_ratios(self) -> "float | torch.Tensor":
        """The sigma of each image over `sigma`, float32 (B,); 1.0 where all images have `sigma`."""
        ...

    def __call__(self, images: "torch.Tensor") -> "torch.Tensor":
        """Fresh noise of the images' shape (B, C, H, W), at every call."""
        ...


def draws_of(noise: Noise, images: "torch.Tensor", count: int) -> "torch.Tensor":
    """Fresh noises (count, B, C, H, W) for images (B, C, H, W)."""
    return torch.stack([noise(images) for _ in range(count)])


class ClassifierObjective(Protocol):
    needs_noise: ClassVar[bool]

    @property
    def chunks(self) -> int:
        """Optimizer steps per batch of a recipe."""
        ...

    def __call__(
        self, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise, epoch: int
    ) -> "torch.Tensor":
        """The loss, a scalar. Labels are int64 (B,), epochs count from 0."""
        ...


class DenoiserObjective(Protocol):
    needs_classifier: ClassVar[bool]
    needs_labels: ClassVar[bool]

    def __call__(
        self, denoiser: Model, classifier: Model, images: "torch.Tensor", labels: "torch.Tensor", noise: Noise
    ) -> "torch.Tensor":
        """The loss, a scalar. The classifier is frozen and in eval mode; gradients flow through it."""
        ...


@dataclass(frozen=True)
class Observed:
    """What the frozen networks make of B noisy images: `denoised` pixels (B, C, H, W), the classifier's `logits`
    (B, K), and its `features`, each (B, channels, height, width).
    """

    denoised: "torch.Tensor"
    logits: "torch.Tensor"
    features: "Sequence[torch.Tensor]"


class FrozenNetworks(Protocol):
    """The denoiser and the classifier that a rejector is trained for. No gradient flows into or through them."""

    def classify(self, images: "torch.Tensor") -> "torch.Tensor":
        """f(x), int64 (B,): the classes of clean images, which the denoiser does not see."""
        ...

    def observe(self, noisy: "torch.Tensor") -> Observed: ...


class RejectorObjective(Protocol):
    needs_labels: ClassVar[bool]

    def __call__(
        self,
        rejector: Model,
        frozen: FrozenNetworks,
        images: "torch.Tensor",
        labels: "torch.Tensor",
        noise: Noise,
    ) -> "torch.Tensor":
        """The loss, a scalar. `rejector` maps denoised pixels and features to the logits of its heads (B, K)."""
        ...

    def target(self, answered: "torch.Tensor", clean: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
        """Whether each draw should be rejected (B,): `answered` are the classes of the denoised draws, `clean` those of
        the clean images.
        """
        ...


Objective = TypeVar("Objective")


@dataclass(frozen=True)
class ObjectiveEntry(Generic[Objective]):
    """`build` is the objective's class; `source` says where the formula and the defaults come from.

    `starts_from` names the objective whose weights training starts from; None starts from fresh ones.
    """

    build: Callable[..., Objective]
    summary: str
    source: str
    starts_from: str | None = None

    @property
    def defaults(self) -> dict[str, Option | None]:
        """The default of every option, by the name that users write; None for a required option."""
        fields = option_fields(cast(type[Options], self.build))
        return {name: None if field.is_required() else field.default for name, field in fields.items()}


def parse_objective(
    text: str, registry: Registry[ObjectiveEntry[Objective]]
) -> tuple[str, ObjectiveEntry[Objective], Objective]:
    """Name, entry and objective for a text such as "consistency:m=4,lambda=10,loss=kl".

    Raises RaysmoothError for an unknown name or option, with the nearest known one, and for a value out of range.
    """
    written = _read(text)
    entry = registry[written.name]
    return written.name, entry, read_options(cast(type[Any], entry.build), written, registry.what)


def describe(objective: object) -> dict[str, Option]:
    """Every option of an objective and its value, by the name that users write."""
    assert isinstance(objective, Options)
    return {name.rstrip("_"): value for name, value in vars(objective).items()}


def with_defaults(text: str, defaults: Mapping[str, Option]) -> str:
    """The canonical text of an objective; `defaults` are the options that the text leaves out."""
    written = _read(text)
    return str(Variant(written.name, tuple(sorted({**defaults, **dict(written.options)}.items()))))


def _read(text: str) -> Variant:
    return Variant.parse_entry(text, "objective", "consistency:m=4,lambda=10")
