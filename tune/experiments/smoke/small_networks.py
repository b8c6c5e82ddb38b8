"""Small networks that replace an experiment's networks in a smoke test."""

from collections.abc import Mapping

from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.common.variant import Variant


def _small_cnn(classes: int, position: int) -> str:
    # Every classifier gets another width, so that no two surrogates have the same weights.
    return f"small_cnn:num_classes={classes},width={4 + position}"


_CIFAR10 = [name for name in CLASSIFIERS if name.startswith("cifar_")]
_IMAGENET = ("resnet18", "resnet34", "resnet50", "densenet121", "efficientnet_lite0")

SMALL_CLASSIFIERS: Mapping[str, str] = {
    **{name: _small_cnn(10, position) for position, name in enumerate(_CIFAR10)},
    **{name: _small_cnn(1000, position) for position, name in enumerate(_IMAGENET)},
}
"""Replacements by the names of classifiers. All other classifiers are small enough, or the user's own."""

SMALL_DENOISER_OPTIONS: Mapping[str, Mapping[str, int]] = {
    "dncnn": {"depth": 3, "width": 4},
    "dncnn_wide": {"depth": 3, "width": 6},
    "memnet": {"width": 4, "memory_blocks": 1, "residual_blocks": 1},
}
"""Options by the names of denoisers."""

SMALL_REJECTOR_OPTIONS: Mapping[str, Mapping[str, int]] = {"network": {"depth": 10, "width": 4}}
"""Options by the names of rejectors that are trained."""


def small_classifier(text: str) -> str:
    """The replacement of a classifier, as text; the classifier itself if it has none."""
    return SMALL_CLASSIFIERS.get(Variant.parse(text).name, text)


def small_denoiser(text: str) -> str:
    """The denoiser, as text, with small options and unchanged channels."""
    return _with_options(text, SMALL_DENOISER_OPTIONS)


def small_rejector(text: str) -> str:
    """The rejector, as text, with small options and an unchanged threshold; a rule has none and stays as it is."""
    return _with_options(text, SMALL_REJECTOR_OPTIONS)


def _with_options(text: str, small: Mapping[str, Mapping[str, int]]) -> str:
    found = Variant.parse(text)
    if found.name not in small:
        return text
    options = {**dict(found.options), **small[found.name]}
    return str(Variant(found.name, tuple(sorted(options.items()))))
