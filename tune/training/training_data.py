"""The images to train on and the held-out images."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Literal

import torch

from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.data.datasets import Dataset, fingerprint, listing_fingerprint
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.summary import summarised
from raysmooth.tune.data.augment import AUGMENTATIONS, Augmentation, PictureAugmentation
from raysmooth.tune.data.loader_images import LoaderImages
from raysmooth.tune.data.memory_images import MemoryImages
from raysmooth.tune.data.training_images import NO_LABEL, Images, Source, Step
from raysmooth.tune.recipes.settings import TrainingDataSettings

__all__ = [
    "HOLD_OUT",
    "MOST_HELD_OUT",
    "NO_LABEL",
    "Images",
    "Step",
    "TrainingData",
    "held_out_ids",
    "read_training_data",
]

HOLD_OUT = 10
"""Every tenth image of the training split is held out: by position, so that a classifier and its denoisers hold out the
same images for any seeds."""

MOST_HELD_OUT = 10_000
"""Most held-out images: those of a larger split are further apart."""

IN_MEMORY = 4 * 2**30
"""Bytes as float32 up to which images are read once and kept in memory (8-bit images take a quarter of it)."""

MOST_WORKERS = 8


@dataclass(frozen=True)
class TrainingData:
    """`train` and `held_out` share no image. `fingerprint` is of both, in hex; `fingerprint_of` says of what: the
    content of images that fit in memory, else a listing of paths and sizes. `summary` is that of
    `pipeline.data.summary`. `current` takes the fingerprint again, of images that are read again in each epoch.
    """

    train: Images
    held_out: Images
    fingerprint: str
    fingerprint_of: Literal["content", "listing"]
    summary: Mapping[str, Any]
    current: Callable[[], str] | None = None

    def refuse_altered(self) -> None:
        """Raises RaysmoothError if the images are not those any more that the training began with: its weights would
        be called those of other data.
        """
        if self.current is not None and self.current() != self.fingerprint:
            raise RaysmoothError(
                f"stopped: images of {self.summary['dataset']} {self.summary['split']} were altered during the "
                "training: restore them and rerun the command to resume, or rerun it with --overwrite on the data as "
                "they are now"
            )


def read_training_data(
    settings: TrainingDataSettings,
    augment: str,
    device: torch.device,
    loader_workers: int | None = None,
    dataset: Dataset | None = None,
) -> TrainingData:
    """The images of `settings` for training on `device`; those of `train` are augmented by `AUGMENTATIONS[augment]`.

    `dataset` is that of the settings, where it is open already. `loader_workers` overrides the settings' number; None
    in both means one per core, at most `MOST_WORKERS`. Raises RaysmoothError for an unknown data set, split or
    augmentation, fewer than ten images, images that are altered meanwhile, an unreadable image and unequal shapes; for
    images that are read during training, `Images` raises the last two.
    """
    augmentation = AUGMENTATIONS[augment]
    dataset = settings.open_dataset() if dataset is None else dataset
    where = f"{settings.dataset} {settings.split}"
    if isinstance(augmentation, PictureAugmentation) and dataset.framing.crop is None:
        raise RaysmoothError(
            f"augmentation '{augment}' cuts pieces of one size: write --crop with it, or another --augment"
        )
    index_set = IndexSet(len(dataset), settings.skip, settings.max)
    ids = index_set.ids
    if len(ids) < HOLD_OUT:
        raise RaysmoothError(f"{where} has {counted(len(ids), 'image')}: training needs {HOLD_OUT} or more")
    source = Source(dataset, where, ids[0])
    small = len(ids) * prod(source.shape) * torch.float32.itemsize <= IN_MEMORY
    labels = _labels(dataset, ids)
    train, held_out = _places(len(ids))
    current = partial(fingerprint if small else listing_fingerprint, dataset, ids)
    of_data = current()
    of: Literal["content", "listing"] = "content" if small else "listing"
    summary = summarised(dataset, index_set.describe(), source.shape[1:])

    if small and isinstance(augmentation, Augmentation):
        values = source.read_all([(index, None) for index in ids]).to(device)
        if current() != of_data:
            raise RaysmoothError(f"{where}: images were altered while they were read: run the command again")
        return TrainingData(
            MemoryImages(values, train, labels[train], augmentation),
            MemoryImages(values, held_out, labels[held_out], augmentation),
            of_data,
            of,
            summary,
        )
    if loader_workers is None:
        loader_workers = settings.loader_workers
    if loader_workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        loader_workers = min(MOST_WORKERS, cores)
    numbers = torch.tensor(ids)
    return TrainingData(
        LoaderImages(source, numbers[train], labels[train], augmentation, device, loader_workers),
        LoaderImages(source, numbers[held_out], labels[held_out], augmentation, device, loader_workers),
        of_data,
        of,
        summary,
        current,
    )


def _places(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The places, among `count` images, of those to train on and of those held out."""
    apart = max(HOLD_OUT, -(-count // MOST_HELD_OUT))
    places = torch.arange(count)
    held_out = places % apart == apart - 1
    return places[~held_out], places[held_out]


def held_out_ids(ids: Sequence[int]) -> Sequence[int]:
    """The held-out ids among the image ids of a training."""
    _, held_out = _places(len(ids))
    return [ids[int(place)] for place in held_out]


def _labels(dataset: Dataset, ids: Sequence[int]) -> torch.Tensor:
    labels = dataset.labels()
    return torch.tensor([NO_LABEL if (label := labels[index]) is None else label for index in ids])
