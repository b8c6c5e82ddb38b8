"""The images that training sees, and those it is measured on, in memory."""

from dataclasses import dataclass

import numpy as np
import torch

from actors.refusal import Refusal
from pipeline.datasets import UnreadableImage, open_dataset
from tune.settings import TrainingDataSettings

HOLD_OUT = 10
"""Every tenth image of the training split is held out. By position, so that a classifier and the denoisers in
front of it hold out the same ones, whatever their seeds."""

NO_LABEL = -1


@dataclass(frozen=True)
class Examples:
    """`images` float32 (N, C, H, W) in pixel units [0, 1]; `labels` int64 (N,), NO_LABEL where there is none."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class TrainingData:
    train: Examples
    held_out: Examples


def read_training_data(settings: TrainingDataSettings, device: torch.device) -> TrainingData:
    """Read the split of `settings` into the memory of `device`.

    Raises Refusal for an unknown data set or split, an unreadable image, unequal shapes, or fewer than ten.
    """
    dataset = open_dataset(
        settings.dataset, settings.data_root, settings.split, resize=settings.resize, crop=settings.crop
    )
    where = f"{settings.dataset} {settings.split}"
    if len(dataset) < HOLD_OUT:
        raise Refusal(f"{where} has {len(dataset)} images: training needs {HOLD_OUT} or more")
    images: list[np.ndarray] = []
    labels: list[int] = []
    for index in range(len(dataset)):
        try:
            example = dataset.read(index)
        except UnreadableImage as error:
            raise Refusal(f"{where}: {error}; training needs every image: remove or replace it") from error
        if images and example.image.shape != images[0].shape:
            raise Refusal(
                f"{where}: image {index} has shape {example.image.shape}, the ones before {images[0].shape}: "
                "write --resize and --crop"
            )
        images.append(example.image)
        labels.append(NO_LABEL if example.label is None else example.label)
    held_out = torch.arange(len(images)) % HOLD_OUT == HOLD_OUT - 1
    pixels, classes = torch.from_numpy(np.stack(images)), torch.tensor(labels)
    return TrainingData(
        Examples(pixels[~held_out].to(device), classes[~held_out].to(device)),
        Examples(pixels[held_out].to(device), classes[held_out].to(device)),
    )
