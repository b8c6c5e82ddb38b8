"""The registry of data sets that raysmooth certifies and trains on, opened by name.

Every reader returns images as float32 (C, H, W) in pixel units 0..1, never normalised: sigma and radii are in these
units, so normalisation is part of the base classifier.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError, nearest, one_line, printable
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.registry import Registry
from raysmooth.pipeline.data.array_dataset import CIFAR10_LAYOUT, MNIST_LAYOUT, open_cifar10, open_digits, open_mnist
from raysmooth.pipeline.data.dataset import Dataset
from raysmooth.pipeline.data.folder_dataset import (
    FOLDER_LAYOUT,
    IMAGENET_LAYOUT,
    IMAGENET_SPLITS,
    open_folder,
    open_imagenet,
)
from raysmooth.pipeline.data.images import Example, UnreadableImage
from raysmooth.pipeline.data.numpy_dataset import NUMPY_LAYOUT, open_numpy
from raysmooth.pipeline.data.reading import Reading
from raysmooth.pipeline.data.relabelled import relabelled
from raysmooth.storage.download_cache import local_copy
from raysmooth.storage.paths import refuse_no_path
from raysmooth.storage.store_urls import is_url

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetEntry",
    "Example",
    "UnreadableImage",
    "fingerprint",
    "fingerprint_of",
    "listing_fingerprint",
    "open_dataset",
]


@dataclass(frozen=True)
class DatasetEntry:
    """One data set: how it is opened and what it needs.

    `layout` describes what `--data-root` must hold (None: no data root). `splits` are the known ones, the default
    first; with `other_splits`, `open` accepts other names too. `resize` and `crop`, in pixels, are the defaults.
    """

    summary: str
    open: Callable[[str, Path, str, Reading], Dataset]
    splits: tuple[str, ...] = ("test", "train")
    other_splits: bool = False
    layout: str | None = None
    resize: int | None = None
    crop: int | None = None


_open_parquet = LateCallable("raysmooth.pipeline.data.parquet_dataset:open_parquet")  # pyarrow

PARQUET_LAYOUT = (
    "one .parquet file, or a folder with <split>*.parquet or data/<split>*.parquet; "
    "columns image (or img): struct<bytes, path>, and label (or --label-column) where there are labels"
)

DATASETS: Registry[DatasetEntry] = Registry(
    "data set",
    {
        "digits": DatasetEntry("scikit-learn's handwritten digits, 1x8x8, 10 classes, no download", open_digits),
        "mnist": DatasetEntry("MNIST, 1x28x28, 10 classes", open_mnist, layout=MNIST_LAYOUT),
        "cifar10": DatasetEntry("CIFAR-10, 3x32x32, 10 classes", open_cifar10, layout=CIFAR10_LAYOUT),
        "cifar10-jpeg": DatasetEntry(
            # It has its own name since its pixels and order are not CIFAR-10's: results differ, and image ids do not
            # match published ones.
            "CIFAR-10 stored as JPEG of quality 75 and in another order, 3x32x32, 10 classes",
            _open_parquet,
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
            _open_parquet,
            other_splits=True,
            layout=PARQUET_LAYOUT,
        ),
        "numpy": DatasetEntry(
            "your own NumPy arrays: .npz as MedMNIST's, or .npy files as CIFAR-10-C's (--split fog:severity=3)",
            open_numpy,
            other_splits=True,
            layout=NUMPY_LAYOUT,
        ),
    },
)


def open_dataset(
    name: str,
    data_root: str | Path | None,
    split: str | None = None,
    resize: int | None = None,
    crop: int | None = None,
    **decisions: Any,
) -> Dataset:
    """Open the data set `name` of `DATASETS`; no image is decoded unless the whole set is kept in memory.

    `split` None is the entry's first. `resize` (shorter edge) and `crop` (central square) are in pixels; `decisions`
    are the other fields of a `Reading`. Raises RaysmoothError for an unknown name or split, a data root that is
    missing, wrong or unreadable for this user, impossible sizes, and decisions that do not fit the data set.
    """
    entry = DATASETS[name]
    split = entry.splits[0] if split is None else split
    if split not in entry.splits and not entry.other_splits:
        raise RaysmoothError(f"{name} has no split '{split}': {nearest(split, entry.splits)}")
    resize, crop = entry.resize if resize is None else resize, entry.crop if crop is None else crop
    reading = Reading(resize=resize, crop=crop, **decisions)
    _ = reading.framing  # refuses impossible sizes
    if reading.label_column is not None and entry.open is not _open_parquet:
        raise RaysmoothError(f"--label-column {printable(reading.label_column)}: {name} has no columns: leave it out")
    root = _root(name, entry, data_root)
    try:
        return relabelled(entry.open(name, root, split, reading), reading)
    except OSError as error:
        where = printable(str(error.filename or data_root))
        why = (error.strerror or one_line(error)).lower()
        raise RaysmoothError(f"{name}: {where} cannot be read ({why}): make it readable") from None


def fingerprint(dataset: Dataset, image_ids: Iterable[int]) -> str:
    """SHA-256, in hex, of images: their ids (an IndexSet), content, labels and framing.

    Reads each image's bytes once, holds one at a time and decodes none. Unreadable images do not raise.
    """
    return fingerprint_of(dataset, image_ids, dataset.raw)


def listing_fingerprint(dataset: Dataset, image_ids: Iterable[int]) -> str:
    """As `fingerprint`, but with each image's path and size in bytes in place of its content, which is not read.

    For data sets that take hours to read; a file that changes but keeps its size goes unnoticed.
    """
    return fingerprint_of(dataset, image_ids, dataset.listed)


def fingerprint_of(dataset: Dataset, image_ids: Iterable[int], content_of: Callable[[int], bytes]) -> str:
    """SHA-256, in hex, of the framing, and of the ids of images with what `content_of` gives for each."""
    digest = hashlib.sha256(f"resize={dataset.framing.resize};crop={dataset.framing.crop};".encode())
    if dataset.recoloured is not None:
        digest.update(f"channels={dataset.recoloured};".encode())
    for image_id in image_ids:
        content = content_of(image_id)
        digest.update(f"{image_id};{len(content)};".encode())  # the length keeps neighbours apart
        digest.update(content)
    return digest.hexdigest()


def refuse_missing(name: str, data_root: str | Path | None) -> None:
    """Raises RaysmoothError for an unknown data set and for a local data root that is missing: what `open_dataset` says
    of them, without importing or opening anything.
    """
    entry = DATASETS[name]
    if entry.layout is None or data_root is None or not is_url(data_root):
        _root(name, entry, data_root)


def _root(name: str, entry: DatasetEntry, data_root: str | Path | None) -> Path:
    if entry.layout is None:
        return Path()
    if data_root is None:
        raise RaysmoothError(f"{name} needs --data-root: {entry.layout}")
    refuse_no_path(str(data_root))
    root = local_copy(data_root).expanduser()
    if not os.path.exists(root):
        raise RaysmoothError(f"{name}: --data-root {root} does not exist; it must be {entry.layout}")
    return root
