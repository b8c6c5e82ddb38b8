"""The data sets that raysmooth certifies and trains on: one row each, opened by name.

Every reader gives images as float32 (C, H, W) in pixel units 0..1, never normalised: sigma and radii are in
these units, so normalisation belongs inside the base classifier.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.registry import Registry
from raysmooth.pipeline.data.array_dataset import CIFAR10_LAYOUT, MNIST_LAYOUT, open_cifar10, open_digits, open_mnist
from raysmooth.pipeline.data.folder_dataset import (
    FOLDER_LAYOUT,
    IMAGENET_LAYOUT,
    IMAGENET_SPLITS,
    open_folder,
    open_imagenet,
)
from raysmooth.pipeline.data.images import Cut, Example, Framing, UnreadableImage
from raysmooth.pipeline.data.parquet_dataset import PARQUET_LAYOUT, open_parquet
from raysmooth.storage.download_cache import local_copy

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetEntry",
    "Example",
    "UnreadableImage",
    "fingerprint",
    "listing_fingerprint",
    "open_dataset",
]


class Dataset(Protocol):
    """Images by position, 0..len-1, in an order that never changes; each is read when asked for."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def split(self) -> str: ...

    @property
    def num_classes(self) -> int | None:
        """K, where labels are 0..K-1; None where there are no labels."""

    @property
    def framing(self) -> Framing:
        """The resize and crop in force, the row's own included."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Example:
        """The image, float32 (C, H, W) in 0..1, and its label; raises UnreadableImage."""

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        """The image as stored, cut by `cut` in place of the framing: uint8 (C, H, W), or float32 in 0..1 where the
        source has not 8 bits. The array may be a view of the data set's own. Raises UnreadableImage.
        """

    def labels(self) -> list[int | None]:
        """The label of every image, None where there is none; decodes no image."""

    def raw(self, index: int) -> bytes:
        """Label and content before decoding, for the fingerprint; a marker, never an error, if missing."""

    def listed(self, index: int) -> bytes:
        """Label, place and size in bytes, for the fingerprint of a listing; a marker, never an error, if missing."""


@dataclass(frozen=True)
class DatasetEntry:
    """One data set: how it is opened and what it needs.

    `layout` says what `--data-root` must hold (None: it needs none). `splits` are the known ones, the
    default first; with `other_splits` any other name may do, if the files bear it. `resize` and `crop` are in
    pixels and hold where the caller gives none.
    """

    summary: str
    open: Callable[[str, Path, str, Framing], Dataset]
    splits: tuple[str, ...] = ("test", "train")
    other_splits: bool = False
    layout: str | None = None
    resize: int | None = None
    crop: int | None = None


DATASETS: Registry[DatasetEntry] = Registry(
    "data set",
    {
        "digits": DatasetEntry("scikit-learn's handwritten digits, 1x8x8, 10 classes, no download", open_digits),
        "mnist": DatasetEntry("MNIST, 1x28x28, 10 classes", open_mnist, layout=MNIST_LAYOUT),
        "cifar10": DatasetEntry("CIFAR-10, 3x32x32, 10 classes", open_cifar10, layout=CIFAR10_LAYOUT),
        "cifar10-jpeg": DatasetEntry(
            # Neither its pixels nor its order are CIFAR-10's, so its numbers are not either, and image ids
            # cannot be matched with published ones: it keeps a name of its own.
            "CIFAR-10 stored as JPEG of quality 75 and in another order, 3x32x32, 10 classes",
            open_parquet,
            layout="a folder with train.parquet and test.parquet",
        ),
        "imagenet": DatasetEntry(
            "ImageNet, 3x224x224 (resize 256, crop 224), 1000 classes",
            open_imagenet,
            splits=IMAGENET_SPLITS,
            layout=IMAGENET_LAYOUT,
            resize=256,
            crop=224,
        ),
        "folder": DatasetEntry(
            "your own image files, in class folders or unlabelled, as RGB",
            open_folder,
            splits=("all",),
            other_splits=True,
            layout=FOLDER_LAYOUT,
        ),
        "parquet": DatasetEntry(
            "your own Parquet files, as Hugging Face lays out images",
            open_parquet,
            other_splits=True,
            layout=PARQUET_LAYOUT,
        ),
    },
)


def open_dataset(
    name: str,
    data_root: str | Path | None,
    split: str | None = None,
    resize: int | None = None,
    crop: int | None = None,
) -> Dataset:
    """Open the data set `name` of `DATASETS`; no image is decoded unless the whole set lives in memory.

    `split` None is the row's first. `resize` (shorter edge) and `crop` (central square) are in pixels. Raises
    RaysmoothError for an unknown name or split, a missing or wrong data root, and sizes that cannot be.
    """
    row = DATASETS[name]
    split = row.splits[0] if split is None else split
    if split not in row.splits and not row.other_splits:
        raise RaysmoothError(f"{name} has no split '{split}': {nearest(split, row.splits)}")
    framing = Framing(row.resize if resize is None else resize, row.crop if crop is None else crop)
    return row.open(name, _root(name, row, data_root), split, framing)


def fingerprint(dataset: Dataset, image_ids: Iterable[int]) -> str:
    """sha256, in hex, of the ids (an IndexSet) of some images, their content and labels, and their framing.

    Reads each image's bytes once, holds one at a time and decodes none. Raises nothing for unreadable images.
    """
    return _digest(dataset, image_ids, dataset.raw)


def listing_fingerprint(dataset: Dataset, image_ids: Iterable[int]) -> str:
    """As `fingerprint`, but each image's path and size in bytes stand for its content, which is not read.

    For sets that take hours to read; a file that changes and keeps its size goes unnoticed.
    """
    return _digest(dataset, image_ids, dataset.listed)


def _digest(dataset: Dataset, image_ids: Iterable[int], told: Callable[[int], bytes]) -> str:
    digest = hashlib.sha256(f"resize={dataset.framing.resize};crop={dataset.framing.crop};".encode())
    for image_id in image_ids:
        content = told(image_id)
        digest.update(f"{image_id};{len(content)};".encode())  # the length keeps neighbours apart
        digest.update(content)
    return digest.hexdigest()


def _root(name: str, row: DatasetEntry, data_root: str | Path | None) -> Path:
    if row.layout is None:
        return Path()
    if data_root is None:
        raise RaysmoothError(f"{name} needs --data-root: {row.layout}")
    root = local_copy(data_root).expanduser()
    if not root.exists():
        raise RaysmoothError(f"{name}: --data-root {root} does not exist; it must be {row.layout}")
    return root
