"""Images and labels that a program has in memory, as a data set: NumPy arrays and torch tensors, read one at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raysmooth.common.errors import RaysmoothError, counted, described, printable
from raysmooth.common.limits import LARGEST_LABEL
from raysmooth.pipeline.data.facts import Facts
from raysmooth.pipeline.data.images import Cut, Example, Framing, identity, listed, pixels

_AT_ONCE = 2**24
"""Bytes of floats that are checked at once."""


class GivenImages:
    """`images` as a data set: (N, C, H, W), or (N, H, W) for grey images, of uint8 (0 to 255) or floats (0 to 1).
    `labels`: one whole number for each image, or None for an image without one; None for no labels. `class_names`: the
    names in the order of the labels, or by label.

    Nothing is copied but the image that is read. Raises RaysmoothError for anything else, with what to write.
    """

    name, split = "array", "all"
    framing, recoloured = Framing(), None

    def __init__(
        self, images: Any, labels: Any = None, class_names: Sequence[str] | Mapping[int, str] | None = None
    ) -> None:
        self._images = _checked_images(images)
        self._labels = _checked_labels(labels, len(images))
        known = [label for label in self._labels if label is not None]
        self.num_classes = max(known) + 1 if known else None
        self.channels = 1 if len(images.shape) == 3 else int(images.shape[1])
        kind = str(images.dtype).removeprefix("torch.")
        bits = "8 bits a channel" if kind == "uint8" else f"{kind} from 0 to 1"
        self.facts = Facts("labels" if known else None, class_names=_checked_names(class_names), bits=bits)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> Example:
        return Example(pixels(self.values(index)), self._labels[index])

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        assert cut is None or cut == Framing(), "given images are not cut"
        image = _as_numpy(self._images[index])
        image = image[None] if image.ndim == 2 else image
        return image if image.dtype == np.uint8 else image.astype(np.float32)

    def place(self, index: int) -> str | None:
        """None: an image is known by its index alone."""
        return None

    def labels(self) -> list[int | None]:
        return list(self._labels)

    def raw(self, index: int) -> bytes:
        image = self.values(index)
        return identity(f"{image.shape}{image.dtype};".encode() + image.tobytes(), self._labels[index])

    def listed(self, index: int) -> bytes:
        return listed(str(index), self.values(index).nbytes, self._labels[index])


def _as_numpy(part: Any) -> np.ndarray:
    """A part of the images: floats that NumPy does not have, as bfloat16, become float32."""
    if isinstance(part, np.ndarray):
        return part
    part = part.detach().cpu()
    return np.asarray(part.float().numpy() if part.is_floating_point() and part.element_size() < 4 else part.numpy())


def _checked_images(images: Any) -> Any:
    is_array = isinstance(images, np.ndarray)
    shape = getattr(images, "shape", None)
    if not is_array and not (shape is not None and hasattr(images, "detach") and hasattr(images, "is_floating_point")):
        if isinstance(images, list | tuple):
            raise RaysmoothError(
                f"images are a {type(images).__name__} of {len(images)}: give one array, numpy.stack(images), or "
                "torch.stack(images)"
            )
        raise RaysmoothError(f"images are {described(images)}: give a NumPy array or a torch tensor (N, C, H, W)")
    shape = tuple(images.shape)
    if len(shape) not in (3, 4):
        raise RaysmoothError(f"images of shape {shape}: give (N, C, H, W), or (N, H, W) for grey images")
    if not min(shape):
        raise RaysmoothError(f"images of shape {shape}: there is nothing to certify")
    if len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3):
        turned = "transpose" if is_array else "permute"
        raise RaysmoothError(
            f"images of shape {shape} have their channels last: give images.{turned}(0, 3, 1, 2), which is (N, C, H, W)"
        )
    kind = str(images.dtype).removeprefix("torch.")
    is_float = np.issubdtype(images.dtype, np.floating) if is_array else images.is_floating_point()
    if kind != "uint8" and not is_float:
        raise RaysmoothError(f"images of type {printable(kind)}: give uint8 (0 to 255), or floats from 0 to 1")
    if is_float:
        _refuse_outside_unit(images)
    return images


def _refuse_outside_unit(images: Any) -> None:
    """Raises RaysmoothError unless all floats are in 0..1."""
    size = max(1, int(np.prod(images.shape[1:])) * 8)
    step = max(1, _AT_ONCE // size)
    for first in range(0, len(images), step):
        some = _as_numpy(images[first : first + step]).reshape(-1, int(np.prod(images.shape[1:])))
        odd = ~((some >= 0) & (some <= 1)).all(axis=1)
        if odd.any():
            place = int(np.argmax(odd))
            image = some[place]
            if not np.isfinite(image).all():
                raise RaysmoothError(f"image {first + place} holds numbers that are not finite: floats are from 0 to 1")
            low, high = float(image.min()), float(image.max())
            how = "divide them by 255, or give uint8" if low >= 0 and high > 2 else (
                "give them without their normalisation, and that as --preprocess 0.5/0.5, say, or clip them"
            )  # fmt: skip
            raise RaysmoothError(
                f"image {first + place} has values from {low:g} to {high:g}: floats are from 0 to 1: {how}"
            )


def _checked_labels(labels: Any, images: int) -> list[int | None]:
    if labels is None:
        return [None] * images
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    if not isinstance(labels, np.ndarray):
        try:
            labels = list(labels)
        except TypeError:
            raise RaysmoothError(f"labels are {described(labels)}: give one whole number for each image") from None
        holes = [label is None for label in labels]
        values = np.asarray([0 if label is None else label for label in labels])
    else:
        values, holes = labels, [False] * len(labels) if labels.ndim else []
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        raise RaysmoothError(f"labels of shape {values.shape}: give one whole number for each image: labels.argmax(1)")
    if values.ndim != 1 or not (np.issubdtype(values.dtype, np.integer) or not len(values)):
        raise RaysmoothError(f"labels of type {values.dtype} and shape {values.shape}: give one whole number an image")
    if len(values) != images:
        raise RaysmoothError(f"there are {counted(images, 'image')} and {counted(len(values), 'label')}: give as many")
    for image, label in enumerate(values.tolist()):
        if not holes[image] and not 0 <= label <= LARGEST_LABEL:
            raise RaysmoothError(f"label {label} of image {image}: whole numbers from 0 on, None for no label")
    return [None if hole else int(label) for hole, label in zip(holes, values.tolist(), strict=True)]


def _checked_names(names: Any) -> dict[int, str]:
    if names is None:
        return {}
    if isinstance(names, str) or not isinstance(names, Mapping | Sequence | np.ndarray):
        raise RaysmoothError(f"class_names are {described(names)}: give a list of names in the order of the labels")
    found = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    for label, name in found.items():
        if not isinstance(label, int | np.integer) or isinstance(label, bool) or not isinstance(name, str):
            raise RaysmoothError("class_names: give a list of names in the order of the labels, or names by label")
    return {int(label): name for label, name in found.items()}
