"""What stands in for an experiment's networks in a smoke test: the same in name and place, but small."""

from collections.abc import Mapping

from torch import nn

from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Variant

IMAGENET = ("resnet18", "resnet34", "resnet50")

CLASSIFIER_STAND_INS: Registry[str] = Registry(
    "stand-in",
    {
        # Each of another width, so that no two surrogates have the same weights.
        **{
            name: f"raysmooth.tune.experiments.small_networks:small_cnn:classes=10,width={4 + number}"
            for number, name in enumerate(name for name in CLASSIFIERS if name.startswith("cifar_"))
        },
        **{
            name: f"raysmooth.tune.experiments.small_networks:small_cnn:classes=1000,width={4 + n}"
            for n, name in enumerate(IMAGENET)
        },
    },
)
"""By the names of classifiers; all others are small enough, or the user's own."""

DENOISER_STAND_INS: Registry[Mapping[str, int]] = Registry(
    "stand-in",
    {
        "dncnn": {"depth": 3, "width": 4},
        "dncnn_wide": {"depth": 3, "width": 6},
        "memnet": {"width": 4, "memory_blocks": 1, "residual_blocks": 1},
    },
)
"""Options by the names of denoisers."""


def small_cnn(classes: int = 10, width: int = 4) -> nn.Module:
    """RGB pixels (B, 3, H, W) of any size -> logits (B, classes)."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def small_classifier(text: str) -> str:
    """The stand-in of a classifier, as text; the classifier itself where it has none."""
    name = Variant.parse(text).name
    if name not in CLASSIFIER_STAND_INS:
        return text
    return CLASSIFIER_STAND_INS[name]


def small_denoiser(text: str) -> str:
    """The stand-in of a denoiser, as text, with as many channels."""
    found = Variant.parse(text)
    if found.name not in DENOISER_STAND_INS:
        return text
    options = {**dict(found.options), **DENOISER_STAND_INS[found.name]}
    return str(Variant(found.name, tuple(sorted(options.items()))))
