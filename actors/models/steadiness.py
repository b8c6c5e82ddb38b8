"""Whether a classifier answers equally to equal input, whatever else is in the batch. All counts rest on that."""

import torch

from raysmooth.actors.models.base_classifier import DenoisedClassifier

MOST_UNEQUAL_LABELS = 0.01
"""Share of labels that may differ where equal noise is classified twice: on GPUs, some kernels do not sum in one order.
"""

_ROUNDING = {torch.float16: 2e-2, torch.bfloat16: 2e-2}
_ROUNDING_OF_OTHERS = 1e-3
"""Difference of logits, relative to the largest, up to which they count as equal: kernels may sum in another order when
a batch has another size.
"""

RANDOM = "the classifier is random (it answers differently to equal input): equal counts cannot be promised"

BY_BATCH = (
    "the classifier's answer to an image depends on the other images in its batch, or on their number: draws are not "
    "independent, so certificates may not hold, and equal counts cannot be promised"
)


@torch.inference_mode()
def unsteadiness(model: DenoisedClassifier, image: torch.Tensor) -> str | None:
    """RANDOM, BY_BATCH, or None for a `model` whose answers to `image`, (C, H, W) in pixel units, agree: twice in one
    batch, and again beside others. Logits are compared up to rounding, labels exactly.

    It is called with 2 and 3 images and, where these answers differ, with the 3 again. None, too, for a model that
    fails: drawing with it says why. Labels, which are coarse, may agree by luck.
    """
    try:
        return _unsteadiness(model, image)
    except (Exception, SystemExit):
        return None


def _unsteadiness(model: DenoisedClassifier, image: torch.Tensor) -> str | None:
    others = torch.stack([(image + 0.5) / 2, image.flip(-1)])  # close to the data's own images
    twice = _answers(model, torch.stack([image, image]))
    if not _alike(twice[0], twice[1]):
        return RANDOM
    beside = torch.cat([image[None], others])
    first = _answers(model, beside)
    if _alike(twice[0], first[0]):
        return None
    return BY_BATCH if _alike(first, _answers(model, beside)) else RANDOM


def _answers(model: DenoisedClassifier, batch: torch.Tensor) -> torch.Tensor:
    answer = model.answer(batch.contiguous(memory_format=torch.channels_last)).cpu()
    # Integer logits are rounded results of kernels too: their last digits are compared as coarsely.
    return answer if answer.ndim == 1 or answer.is_floating_point() else answer.bfloat16()


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return alike(one, other, _ROUNDING.get(one.dtype, _ROUNDING_OF_OTHERS))


def alike(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    """Whether tensors of equal shape agree up to `tolerance`, relative to the largest finite value; NaN equals NaN."""
    one, other = one.double(), other.double()
    finite = other[other.isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    return torch.allclose(one, other, tolerance, tolerance * largest, equal_nan=True)
