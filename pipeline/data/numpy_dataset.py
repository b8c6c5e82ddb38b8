"""Data sets in NumPy arrays: CIFAR-10-C's .npy files with labels.npy beside them, MedMNIST's .npz files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as options_dataclass

from raysmooth.common.errors import RaysmoothError, counted, printable, stored_text
from raysmooth.common.limits import LARGEST_LABEL
from raysmooth.common.settings import Options, read_options
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.array_dataset import ArrayDataset
from raysmooth.pipeline.data.images import GREY, Cut, Framing, UnreadableImage, identity, listed
from raysmooth.pipeline.data.numpy_files import StoredArray, stored_arrays
from raysmooth.pipeline.data.reading import Reading

NUMPY_LAYOUT = (
    "a .npz file with the arrays <split>_images and <split>_labels (or x_<split> and y_<split>, or images and labels), "
    "or a folder with such .npy files, or with <split>.npy and labels.npy, as CIFAR-10-C is"
)
SEVERITIES = 5
"""Of each corruption in CIFAR-10-C's files: equal parts, one after the other, of the same images."""

_PAIRS = (
    ("{}_images", "{}_labels"),
    ("x_{}", "y_{}"),
    ("{}_x", "{}_y"),
    ("{}_data", "{}_labels"),
    ("{}", "{}_labels"),
    ("{}", "labels"),
    ("images", "labels"),
    ("x", "y"),
    ("data", "labels"),
)
"""Names of images and labels, by the split. The last ones name none: the file is the split."""

_AT_ONCE = 2**24
"""Bytes of floats that are checked at once."""


@options_dataclass(frozen=True)
class SplitOptions(Options):
    """Options of a split, as in fog:severity=3."""

    severity: int | None = Field(None, ge=1, le=SEVERITIES, description="one fifth of CIFAR-10-C's file")


class NumpyDataset(ArrayDataset):
    """An `ArrayDataset` whose images may be read from a file, one at a time. `place` names their array."""

    def __init__(
        self,
        name: str,
        split: str,
        num_classes: int,
        images: "_Images",
        labels: np.ndarray,
        reading: Reading,
        place: str,
        labels_from: str,
    ) -> None:
        self._place, self._bytes = place, images.source.dtype.itemsize * prod(images.source.shape[1:])
        dtype = images.source.dtype
        bits = "8 bits a channel" if dtype == np.uint8 else f"{dtype} from 0 to 1"
        super().__init__(name, split, num_classes, images, labels.tolist(), reading, bits=bits, labels_from=labels_from)

    def place(self, index: int) -> str:
        return stored_text(f"{self._place}, image {index}")

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        try:
            return super().values(index, cut)
        except UnreadableImage as error:
            raise UnreadableImage(index, error.reason, self.place(index)) from None

    def raw(self, index: int) -> bytes:
        label = self._labels[index]
        try:
            image = self._images[index]
        except UnreadableImage:
            return identity(None, label)
        return identity(f"{image.shape}{image.dtype};".encode() + image.tobytes(), label)

    def listed(self, index: int) -> bytes:
        return listed(f"{self._place};{index}", self._bytes, self._labels[index])


@dataclass(frozen=True)
class _Images:
    """`length` images of `source` from `first` on, each as uint8 or float32 (H, W) or (H, W, 3). `values`: the array in
    memory, None to read its file.
    """

    source: StoredArray
    values: np.ndarray | None
    first: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        place = self.first + index
        if self.values is not None:
            image = self.values[place]
        else:
            try:
                image = self.source.row(place)[0]
            except UnreadableImage as error:
                raise UnreadableImage(index, error.reason) from None
        if image.ndim == 3:
            image = image if image.shape[-1] in (1, 3) else image.transpose(1, 2, 0)
            image = image[..., 0] if image.shape[-1] == 1 else image
        return image if image.dtype == np.uint8 else image.astype(np.float32)


def open_numpy(name: str, root: Path, split: str, reading: Reading) -> NumpyDataset:
    """Open the images and labels of `split`, which may be followed by `SplitOptions`.

    Images are uint8, or floats in 0..1; (N, H, W), (N, H, W, C), or (N, C, H, W) where the last is no C; C is 1 or 3.
    Labels are integers (N,) or (N, 1), 0 or more. Those of .npy files stay there. Raises RaysmoothError for anything
    else, with the array's name.
    """
    written = Variant.parse_entry(split, "split", "fog:severity=3") if ":" in split else Variant(split)
    options = read_options(SplitOptions, written, "split")
    part, file = written.name, None
    if root.suffix == ".npy" and not root.is_dir():
        root, file = root.parent, root.stem
        if file not in (pair[0].format(part) for pair in _PAIRS):
            if part != "test":  # the default: the file says it better
                raise RaysmoothError(f"{name}: {file}.npy is not of split '{printable(part)}': write --split {file}")
            part = file
    images, labels = _pair(name, root, part, stored_arrays(name, root), file)
    values = labels.whole()
    _refuse_odd_labels(name, labels, values)
    _refuse_odd_images(name, images, reading)
    if len(values) != images.shape[0]:
        raise RaysmoothError(
            f"{name}: {images} has {counted(images.shape[0], 'image')}, and {labels} has "
            f"{counted(len(values), 'label')}"
        )
    values = values.reshape(-1)
    pixels = images.whole() if images.zipped else None
    if images.dtype != np.uint8:
        _refuse_outside_unit(name, images, pixels)
    first, length = 0, len(values)
    if options.severity is not None:
        parts = values.reshape(SEVERITIES, -1) if length % SEVERITIES == 0 else None
        if parts is None or (parts != parts[0]).any():
            raise RaysmoothError(
                f"{name}: {images} is not {SEVERITIES} severities of the same images, one after the other: write "
                f"--split {printable(part)}"
            )
        length //= SEVERITIES
        first = (options.severity - 1) * length
    chosen = _Images(images, pixels, first, length)
    classes = int(values.max()) + 1
    shown = str(Variant(part, written.options))
    chosen_labels = values[first : first + length]
    return NumpyDataset(name, shown, classes, chosen, chosen_labels, reading, images.place, printable(labels.place))


def _pair(
    name: str, root: Path, split: str, arrays: Mapping[str, StoredArray], file: str | None
) -> tuple[StoredArray, StoredArray]:
    """The arrays of images, those of `file` if it is given, and labels of `split`."""
    lone = None
    for pair in _PAIRS:
        images, labels = (one.format(split) for one in pair)
        if file not in (None, images):
            continue
        if images in arrays and labels in arrays and images != labels:
            return arrays[images], arrays[labels]
        lone = lone or (images if images in arrays else None)
    keys = sorted(arrays)
    listing = ", ".join(printable(key) for key in keys[:8]) + (", ..." if len(keys) > 8 else "") or "nothing"
    if lone is not None:
        raise RaysmoothError(
            f"{name}: {root} has {printable(lone)} without labels (there is {listing}): add labels.npy"
        )
    raise RaysmoothError(
        f"{name}: no images of split '{printable(split)}' in {root} (there is {listing}): write --split; "
        f"--data-root is {NUMPY_LAYOUT}"
    )


def _refuse_odd_labels(name: str, array: StoredArray, values: np.ndarray) -> None:
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] != 1):
        raise RaysmoothError(f"{name}: labels {values.shape} in {array}: one number for each image, (N,) or (N, 1)")
    if not np.issubdtype(values.dtype, np.integer):
        raise RaysmoothError(f"{name}: labels of type {values.dtype} in {array}: whole numbers, from 0 on")
    if not len(values):
        raise RaysmoothError(f"{name}: {array} is empty")
    if values.min() < 0:
        raise RaysmoothError(f"{name}: label {values.min()} in {array}: whole numbers, from 0 on")
    if values.max() > LARGEST_LABEL:
        raise RaysmoothError(f"{name}: label {values.max()} in {array}: whole numbers up to {LARGEST_LABEL:,}")


def _refuse_odd_images(name: str, array: StoredArray, reading: Reading) -> None:
    shape, dtype = array.shape, array.dtype
    colour = 3 if 3 in (shape[-1:] + shape[1:2] if len(shape) == 4 else ()) else 1
    if len(shape) not in (3, 4) or (len(shape) == 4 and not {1, 3} & {shape[1], shape[-1]}) or not min(shape[1:]):
        raise RaysmoothError(
            f"{name}: images {shape} in {array}: (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels C"
        )
    if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
        raise RaysmoothError(f"{name}: images of type {dtype} in {array}: uint8 (0 to 255), or floats from 0 to 1")
    if dtype != np.uint8 and colour == 3 and (reading.framing != Framing() or reading.channels == GREY):
        raise RaysmoothError(
            f"{name}: {array} has colours of type {dtype}, which cannot be resized, cropped or made grey: uint8 can"
        )


def _refuse_outside_unit(name: str, array: StoredArray, values: np.ndarray | None) -> None:
    """Raises RaysmoothError unless all floats are in 0..1."""
    step = max(1, _AT_ONCE // max(1, array.dtype.itemsize * prod(array.shape[1:])))
    read: Callable[[int, int], np.ndarray] = (
        array.row if values is None else lambda first, number: values[first : first + number]
    )
    for first in range(0, array.shape[0], step):
        try:
            some = read(first, min(step, array.shape[0] - first))
        except UnreadableImage as error:
            raise RaysmoothError(f"{name}: {array}: {error.reason}") from None
        if not ((some >= 0) & (some <= 1)).all():
            lowest, highest = some.min(), some.max()
            raise RaysmoothError(
                f"{name}: {array} has values from {lowest:g} to {highest:g}: floats are from 0 to 1; divide them by "
                "255, or write uint8"
            )
