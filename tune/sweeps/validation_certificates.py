"""Certificates of a few held-out images from a network in training, by which a sweep compares its trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from raysmooth.actors.compute.compute_config import ComputeConfig, native_precision, settle_backend
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import BaseClassifier, DenoisedClassifier
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.common.errors import RaysmoothError, named_image
from raysmooth.pipeline.analysis.metrics import average_certified_radius, certified_accuracy
from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.sampling_rule import Fixed
from raysmooth.pipeline.data.datasets import Dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.tune.recipes.settings import TrainingDataSettings
from raysmooth.tune.sweeps.settings import ValidationSettings
from raysmooth.tune.training.training_data import held_out_ids

BATCH = 250
SEED = 2**64
"""Seed of the noise, the same for every trial, and out of range for settings. The noise that chooses a winner must not
be that of its certificates: their draws have to be independent of the certified network.
"""


@dataclass(frozen=True)
class ValidationSet:
    """`images` (C, H, W) float32 in pixel units, and their labels, by image id in the training split."""

    images: dict[int, np.ndarray]
    labels: dict[int, int]


def validation_set(settings: TrainingDataSettings, count: int) -> ValidationSet:
    """`count` evenly spaced images that a training with these settings holds out, or all if there are fewer. Raises
    RaysmoothError for images without labels.
    """
    dataset = settings.open_dataset()
    ids = validation_ids(dataset, settings, count)
    read = {image_id: dataset.read(image_id) for image_id in ids}
    for image_id, item in read.items():
        if item.label is None:
            image = named_image(image_id, dataset.place(image_id))
            raise RaysmoothError(
                f"{image} of {settings.dataset} {settings.split} has no label: "
                "certified accuracy needs one for each held-out image; write 'metric: validation_loss', say"
            )
    return ValidationSet(
        {image_id: item.image for image_id, item in read.items()},
        {image_id: int(item.label) for image_id, item in read.items() if item.label is not None},
    )


def validation_ids(dataset: Dataset, settings: TrainingDataSettings, count: int) -> Sequence[int]:
    """The ids of these images in the training split."""
    held_out = held_out_ids(IndexSet(len(dataset), settings.skip, settings.max).ids)
    return held_out[:: max(1, len(held_out) // count)][:count]


def refuse_shared(
    training: TrainingDataSettings, test: Dataset, test_root: str | None, test_ids: Sequence[int]
) -> None:
    """Raises RaysmoothError if trials train on, or are judged by, one of the test images `test_ids`: the certified
    accuracy of the winner on images that helped to choose it would be biased.
    """
    same_place = _resolved(test_root) == _resolved(training.data_root)
    if not (same_place and (test.name, test.split) == (training.dataset, training.split)):
        return
    shared = set(IndexSet(len(test), training.skip, training.max).ids).intersection(test_ids)
    if shared:
        raise RaysmoothError(
            f"certify: {len(shared)} of the test images are images of {test.name} {test.split} that trials train on or "
            "are judged by: write another 'split', such as test"
        )


def _resolved(folder: str | None) -> Path | None:
    return None if folder is None else Path(folder).expanduser().resolve()


def certify_validation(
    model: DenoisedClassifier,
    images: ValidationSet,
    settings: ValidationSettings,
    noise: NoiseFamily,
    device: torch.device,
) -> pd.DataFrame:
    """Certify `images` by CERTIFY (Cohen et al. 2019) under `noise`, with a rejector by its default bound; one row per
    image, with the columns that `pipeline.analysis.metrics` needs.

    `model` is in eval mode; a copy of it computes in the device's native precision, without compilation. Raises
    RaysmoothError for logits that are not finite.
    """
    compute = ComputeConfig(native_precision(device), compiled=False, batch_size=BATCH)
    settle_backend(compute, device)
    network: BaseClassifier = fast_network(model, compute, device)
    rejecting = model.rejector is not None
    bound = ChosenBound.of(None, None, rejecting)
    rule = Fixed(settings.n0, settings.n, settings.alpha, noise, bound.name, bound.share, rejecting)
    rows = []
    for image_id, image in images.images.items():
        counts = {}
        for role, draws in rule.first.items():
            unit = WorkUnit(0, role, (Block(image_id, 0, draws),))
            drawn = draw(
                unit, {image_id: image}, network, rule.noise, seed=SEED, batch_size=min(BATCH, draws), device=device
            )
            if drawn.invalid.any():
                raise RaysmoothError(
                    f"logits of validation image {image_id} are not finite: write a smaller learning_rate"
                )
            counts[role] = drawn.counts[0]
        certificate = rule.conclude(counts)
        rows.append(
            {
                "image_id": image_id,
                "abstain": certificate.prediction < 0,
                "correct": certificate.prediction == images.labels[image_id],
                "radius": certificate.radius,
                "status": "ok",
            }
        )
    return pd.DataFrame(rows)


def certified_metrics(rows: pd.DataFrame, radius: float | None) -> dict[str, float]:
    """The number of `validation_images`, their `acr` and, at `radius` if there is one, their `certified_accuracy`."""
    metrics = {"validation_images": float(len(rows)), "acr": average_certified_radius(rows)}
    if radius is not None:
        metrics["certified_accuracy"] = float(certified_accuracy(rows, [radius])[0])
    return metrics
