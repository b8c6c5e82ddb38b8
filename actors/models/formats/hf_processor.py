"""What Hugging Face's image processors do to an image, as our own layers: resizing, crop, scale, normalisation."""

from collections.abc import Mapping, Sequence
from typing import Any

from raysmooth.actors.models.networks.input_size import INTERPOLATIONS, InputSize
from raysmooth.actors.models.preprocess import preprocess_text
from raysmooth.common.errors import RaysmoothError, printable

_HARMLESS = {
    *("do_resize", "do_center_crop", "do_rescale", "do_normalize"),  # what we do
    *("do_convert_rgb", "do_reduce_labels", "do_convert_annotations"),  # nothing, to images of the data set's channels
}
"""Steps of processors that we take, or that change no image. Others are refused."""

_KNOWN_STEPS = ("BeitImageProcessor", "MobileNetV2ImageProcessor", "SegformerImageProcessor")
"""Processors whose own code concerns maps of segments only."""

_CONVNEXT, _EFFICIENTNET = "ConvNextImageProcessor", "EfficientNetImageProcessor"

_CROPPED_BELOW = 384
"""Edge from which ConvNeXT's processor resizes without a crop."""


class UnknownStep(Exception):
    """A step of a processor that our layers do not have."""


def read_processor(processor: Any, channels: int) -> tuple[str, str | None]:
    """Normalisation of pixels in [0, 1], as `parse_preprocess` reads it, and resizing, as `InputSize.parse` does, None
    for none, of a `processor` of transformers for images of `channels`.

    Raises UnknownStep, with what it is, for a processor that does more.
    """
    kind = type(processor).__name__.removesuffix("Fast").removesuffix("Pil")
    settings = {name: value for name, value in vars(processor).items() if not name.startswith("_")}
    for name, value in settings.items():
        if name.startswith("do_") and value and name not in _HARMLESS:
            raise UnknownStep(f"its processor wants {name}")
    if kind not in (*_KNOWN_STEPS, _CONVNEXT, _EFFICIENTNET) and _has_own_steps(type(processor)):
        raise UnknownStep(f"its processor, {kind}, has steps of its own")
    if kind == _EFFICIENTNET and processor.include_top:
        raise UnknownStep("its processor divides by the deviations twice (include_top)")
    return _normalisation(processor, channels), _resizing(processor, kind)


def _has_own_steps(kind: type) -> bool:
    """Whether a class of processors does more than its base classes, or something else."""
    from transformers.image_processing_backends import PilBackend, TorchvisionBackend

    base: type = TorchvisionBackend if issubclass(kind, TorchvisionBackend) else PilBackend
    steps = ("_preprocess", "preprocess", "resize", "rescale", "normalize", "center_crop", "rescale_and_normalize")
    return not issubclass(kind, base) or any(
        getattr(kind, name, None) is not getattr(base, name, None) for name in steps
    )


def _normalisation(processor: Any, channels: int) -> str:
    """Pixels x in [0, 1] become (255 f x - o - m) / s, with factor f and offset o: that is (x - mean) / deviation."""
    factor = float(processor.rescale_factor) * 255 if processor.do_rescale else 255.0
    offset = 1.0 if getattr(processor, "rescale_offset", False) and processor.do_rescale else 0.0
    mean, deviation = [0.0] * channels, [1.0] * channels
    if processor.do_normalize:
        mean, deviation = _constants(processor.image_mean, channels), _constants(processor.image_std, channels)
    if not factor > 0 or min(deviation) <= 0:
        raise UnknownStep(f"its processor has a rescale_factor of {processor.rescale_factor} or deviations of 0")
    close = abs(factor - 1) < 1e-6  # of 0.00392156862745098, and of fewer digits
    factor = 1.0 if close else factor
    mean = [(offset + value) / factor for value in mean]
    deviation = [value / factor for value in deviation]
    if not any(mean) and all(value == 1 for value in deviation):
        return "none"
    return preprocess_text(mean, deviation)


def _constants(value: Any, channels: int) -> list[float]:
    values = [float(one) for one in value] if isinstance(value, Sequence) else [float(value)]
    return values * channels if len(values) == 1 else values


def _resizing(processor: Any, kind: str) -> str | None:
    if not processor.do_resize:
        if getattr(processor, "do_center_crop", False):
            raise UnknownStep("its processor crops without resizing")
        return None
    size = dict(processor.size)
    name = _interpolation(processor.resample)
    crop = _height_and_width(processor.crop_size) if getattr(processor, "do_center_crop", False) else None
    if kind == _CONVNEXT and set(size) == {"shortest_edge"}:
        edge = int(size["shortest_edge"])
        if edge < _CROPPED_BELOW:
            return str(InputSize(name, int(edge / processor.crop_pct), None, crop or (edge, edge)))
        return str(InputSize(name, edge, edge, crop))
    if set(size) == {"shortest_edge"}:
        return str(InputSize(name, int(size["shortest_edge"]), None, crop))
    if set(size) == {"height", "width"}:
        return str(InputSize(name, int(size["height"]), int(size["width"]), crop))
    raise UnknownStep(f"its processor has a size by {', '.join(map(str, size))}")


def _height_and_width(size: Any) -> tuple[int, int]:
    known: Mapping[str, Any] = dict(size)
    if set(known) != {"height", "width"}:
        raise UnknownStep(f"its processor has a crop by {', '.join(map(str, known))}")
    return int(known["height"]), int(known["width"])


def _interpolation(resample: Any) -> str:
    number = int(resample) if resample is not None else INTERPOLATIONS["bilinear"].pillow
    found = [name for name, entry in INTERPOLATIONS.items() if entry.pillow == number]
    if not found:
        raise RaysmoothError(f"resample {printable(str(resample))} of a processor is no filter of Pillow: write 0 to 5")
    return found[0]
