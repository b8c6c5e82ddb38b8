"""The quality of a rejector on held-out images: what it rejects, and what that is worth."""

from collections.abc import Iterator

import numpy as np
import torch

from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.tune.objectives.objective import FrozenNetworks, RejectorObjective
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.training.training_data import NO_LABEL, Images

JUDGED = 200
"""Most held-out images to judge by, evenly spaced."""

DRAWS = 20
"""Noisy copies of each."""

BATCH = 250
SEED = 0
THRESHOLD = 0.0
"""Logit above which a draw is rejected: a probability of 0.5, the default of certify."""


@torch.no_grad()
def judge_rejector(
    rejector: InPrecision,
    frozen: FrozenNetworks,
    objective: RejectorObjective,
    images: Images,
    noise: TrainingNoise,
    family: NoiseFamily,
) -> dict[str, float]:
    """`auc`: of the head that certify asks, as a test of what the objective would reject (0.5 where it would reject
    every draw or none). `rejected`: the fraction of draws that is rejected.

    Where all images have labels, also `accuracy` of all draws; `kept_accuracy` of the kept ones (0 if none is); and
    `estimated_acr`, the mean certified radius if the fractions of kept draws were probabilities, with
    `estimated_acr_without` rejection. A count k of n draws is taken as (k + 1/2) / (n + 1). The noise is the same at
    every call.
    """
    from sklearn.metrics import roc_auc_score

    parts = list(_judged(rejector, frozen, objective, images, noise))
    answered, heads, targets, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    both = 0 < targets.sum() < targets.size
    rejected = heads > THRESHOLD
    metrics = {
        "auc": float(roc_auc_score(targets.ravel(), heads.ravel())) if both else 0.5,
        "rejected": float(rejected.mean()),
    }
    if (labels == NO_LABEL).any():
        return metrics
    right = answered == labels[:, None]
    metrics["accuracy"] = float(right.mean())
    metrics["kept_accuracy"] = float(right[~rejected].mean()) if not rejected.all() else 0.0
    metrics["estimated_acr"] = _mean_radius(answered, ~rejected, labels, family)
    metrics["estimated_acr_without"] = _mean_radius(answered, np.ones_like(rejected), labels, family)
    return metrics


def _judged(
    rejector: InPrecision,
    frozen: FrozenNetworks,
    objective: RejectorObjective,
    images: Images,
    noise: TrainingNoise,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Of some images at a time: the classes of their draws (images, draws), the logits of the heads that are asked,
    which draws the objective would reject, and the labels (images,).
    """
    apart = -(-len(images) // JUDGED)
    seen = 0
    for number, (batch, labels) in enumerate(images.in_order(BATCH)):
        chosen = slice(-seen % apart, None, apart)
        seen += len(batch)
        clean, truth = batch[chosen], labels[chosen]
        if not len(clean):
            continue
        noise.begin(SEED + number, len(clean), slice(0, len(clean)))
        classes = frozen.classify(clean)
        draws = []
        for _ in range(DRAWS):
            observed = frozen.observe(clean + noise(clean))
            answered = observed.logits.argmax(dim=1)
            asked = rejector(observed.denoised, observed.features).gather(1, answered.unsqueeze(1)).squeeze(1)
            draws.append((answered, asked, objective.target(answered, classes, truth)))
        classes_heads_targets = (torch.stack(parts, dim=1).cpu().numpy() for parts in zip(*draws, strict=True))
        yield *classes_heads_targets, truth.cpu().numpy()


def _mean_radius(answered: np.ndarray, kept: np.ndarray, labels: np.ndarray, family: NoiseFamily) -> float:
    """Mean over images of the radius of the largest class, 0 where that is not the label, from (images, draws)."""
    total, draws = 0.0, answered.shape[1]
    for classes, counted, label in zip(answered, kept, labels, strict=True):
        counts = np.bincount(classes[counted], minlength=int(max(label, 0)) + 2)
        top = int(counts.argmax())
        other = np.delete(counts, top).max()
        if top == label and counts[top] > other:
            total += family.radius((counts[top] + 0.5) / (draws + 1), (other + 0.5) / (draws + 1))
    return total / len(labels)
