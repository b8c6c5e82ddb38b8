"""What stands behind every fake API: pixels in, a score for each label out."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from raysmooth.common.errors import RaysmoothError, counted

COLOURS: dict[str, tuple[float, float, float]] = {
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
    "grey": (0.5, 0.5, 0.5),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "violet": (1.0, 0.0, 1.0),
    "turquoise": (0.0, 1.0, 1.0),
}
"""The labels of the classifier without weights: the colour nearest to a picture's mean."""

_SHARPNESS = 50.0


@dataclass(frozen=True)
class PixelClassifier:
    """`logits`: float32 pixels (N, C, H, W) in [0, 1] -> logits (N, K), one for each of `labels`. `channels`: what it
    takes, None for any. `downscale`: the factor by which pictures were upscaled with nearest neighbours, undone first.
    """

    labels: tuple[str, ...]
    logits: Callable[[np.ndarray], np.ndarray]
    channels: int | None = None
    downscale: int = 1

    def scores(self, picture: bytes) -> list[tuple[str, float]]:
        """All labels with their softmax, the highest first and equal ones by name. Raises ValueError for bytes that are
        no picture.
        """
        logits = self.logits(pixels_of(picture, self.channels, self.downscale)[None])[0].astype(np.float64)
        weights = np.exp(logits - logits.max())
        shares = weights / weights.sum()
        return sorted(zip(self.labels, shares.tolist(), strict=True), key=lambda tag: (-tag[1], tag[0]))


def pixels_of(picture: bytes, channels: int | None, downscale: int) -> np.ndarray:
    """The pixels, float32 (C, H, W) in [0, 1], of an image file; `channels` 1 or 3, None as the file has them.

    Raises ValueError for bytes that are no picture, or larger than a million pixels.
    """
    try:
        with Image.open(io.BytesIO(picture)) as image:
            if image.width * image.height > 1_000_000:
                raise ValueError("larger than a million pixels")
            mode = {1: "L", 3: "RGB"}.get(channels or 0) or ("L" if image.mode in ("1", "L") else "RGB")
            levels = np.asarray(image.convert(mode), np.float32)
    except OSError as error:
        raise ValueError(str(error)) from None
    levels = np.atleast_3d(levels[downscale // 2 :: downscale, downscale // 2 :: downscale])
    return np.ascontiguousarray(levels.transpose(2, 0, 1)) / np.float32(255)


def shorter_side(picture: bytes) -> int | None:
    """The pixels of the shorter side of an image file; None for bytes that are no picture."""
    try:
        with Image.open(io.BytesIO(picture)) as image:
            return min(image.size)
    except OSError:
        return None


def nearest_colour(downscale: int = 1) -> PixelClassifier:
    """The classifier without weights."""
    known = np.array(list(COLOURS.values()))

    def logits(pixels: np.ndarray) -> np.ndarray:
        means = np.broadcast_to(pixels.mean(axis=(2, 3)), (len(pixels), 3))  # a grey picture has one channel
        return -_SHARPNESS * ((means[:, None, :] - known) ** 2).sum(axis=2)

    return PixelClassifier(tuple(COLOURS), logits, downscale=downscale)


def trained_network(
    classifier: str, weights: str, labels: Sequence[str] | None = None, downscale: int = 1
) -> PixelClassifier:
    """The network `classifier` of `CLASSIFIERS` with the weights at a path, on the CPU; labels "0", "1", ... unless
    given. It computes one picture at a time, so that an answer does not depend on others.

    Raises RaysmoothError for weights that do not fit, and a number of labels that is not that of the classes.
    """
    import torch

    from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
    from raysmooth.actors.models.loading import load_base_classifier

    model = load_base_classifier(BaseClassifierSpec(classifier, weights), torch.device("cpu")).model
    shapes = [kernel.shape for kernel in model.parameters()]
    channels = next((shape[1] for shape in shapes if len(shape) == 4), None)

    def logits(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            answers = [model.answer(one[None]) for one in torch.from_numpy(np.ascontiguousarray(pixels, np.float32))]
        return torch.cat(answers).float().numpy()

    known = [shape[0] for shape in shapes if len(shape) == 2][-1]
    names = tuple(labels) if labels is not None else tuple(str(label) for label in range(known))
    if len(names) != known:
        raise RaysmoothError(f"{classifier} has {known} classes, and there are {counted(len(names), 'label')}")
    return PixelClassifier(names, logits, channels, downscale)
