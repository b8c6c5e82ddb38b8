"""What a classifier of the user's own returns, as one tensor: logits or labels, however they are wrapped."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from raysmooth.common.errors import RaysmoothError, printable

_MOST_NAMED = 4


def read_answer(answer: Any, batch: torch.Tensor) -> torch.Tensor:
    """The `answer` of a classifier to `batch`, (B, C, H, W), as a tensor on its device: logits (B, K), or integer
    labels (B,).

    Taken are tensors and arrays (B, K), (B, K, 1, 1) and (B,), what has them as `.logits` or under the key "logits",
    the one tensor of a tuple or list, and lists of numbers. Raises RaysmoothError, with what to return instead, for
    anything else: which of several tensors holds the logits is not guessed.
    """
    tensor = _tensor(answer, batch)
    if tensor.ndim == 4 and tensor.shape[2:].numel() == 1:
        tensor = tensor.flatten(1)
    if tensor.ndim and len(tensor) != len(batch):
        raise RaysmoothError(
            f"the classifier returns {len(tensor)} outputs for {len(batch)} images: it must return one for each"
        )
    if tensor.ndim != 2 and (tensor.ndim != 1 or tensor.is_floating_point()):
        raise RaysmoothError(
            f"the classifier returns shape {tuple(tensor.shape)}: "
            "it must return logits (images, classes), or one integer label per image"
        )
    return tensor


def _tensor(answer: Any, batch: torch.Tensor) -> torch.Tensor:
    if isinstance(answer, torch.Tensor):
        return _real(answer)
    if (logits := _logits(answer)) is not None:
        return _tensor(logits, batch)
    if isinstance(answer, list | tuple):
        if len(answer) == 1 and _is_array(answer[0]) and _ndim(answer[0]) > 0:
            return _tensor(answer[0], batch)
        if not _is_numbers(answer):
            raise _not_understood(answer)
        answer = [int(label) if _is_array(label) else label for label in answer]
    elif not _is_array(answer):
        raise _not_understood(answer)
    try:
        # A copy: torch warns of arrays that cannot be written, and such an array may be the classifier's own buffer.
        array = np.array(answer)
        return _real(torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False)).to(batch.device))
    except (TypeError, ValueError):
        raise _not_understood(answer) from None


def _real(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        raise RaysmoothError("the classifier answers with complex numbers: return real logits")
    return tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor  # argmax takes no bool


def _logits(answer: Any) -> Any:
    """The part that is called logits, None if there is none."""
    if isinstance(answer, Mapping):
        return answer.get("logits")
    logits = getattr(answer, "logits", None)
    return logits if _is_array(logits) else None


def _is_array(answer: Any) -> bool:
    return isinstance(answer, torch.Tensor | np.ndarray) or hasattr(answer, "__array__")


def _is_numbers(answer: Sequence[Any]) -> bool:
    """Whether a list holds one number for each image, or one list of numbers."""
    if isinstance(answer, list) and answer and all(isinstance(row, list) and len(row) for row in answer):
        return len({len(row) for row in answer}) == 1 and all(isinstance(x, Real) for row in answer for x in row)
    return all(isinstance(label, Integral) or _is_label(label) for label in answer)


def _is_label(part: Any) -> bool:
    """Whether it is an array of no dimension that holds a whole number."""
    return _is_array(part) and _ndim(part) == 0 and not torch.as_tensor(part).is_floating_point()


def _ndim(array: Any) -> int:
    """The number of dimensions; asked of the array itself, which may be on a GPU."""
    return int(getattr(array, "ndim", 0))


def _not_understood(answer: Any) -> RaysmoothError:
    if answer is None:
        return RaysmoothError("the classifier answers with nothing (None): return the logits")
    if isinstance(answer, list | tuple):
        kind = "list" if isinstance(answer, list) else "tuple"
        parts = ", ".join(_described(part) for part in answer[:_MOST_NAMED])
        more = ", ..." if len(answer) > _MOST_NAMED else ""
        return RaysmoothError(
            f"the classifier answers with a {kind} of {len(answer)} ({parts}{more}): return the logits alone, as one "
            "tensor (images, classes)"
        )
    if isinstance(answer, Mapping):
        keys = [printable(str(key)) for key in answer]
        shown = ", ".join(keys[:_MOST_NAMED]) + (", ..." if len(keys) > _MOST_NAMED else "")
        return RaysmoothError(
            f"the classifier answers with a dict ({shown or 'empty'}): return the logits alone, or under the key logits"
        )
    return RaysmoothError(
        f"the classifier answers with an object of type {_described(answer)}: return the logits alone, as one tensor"
    )


def _described(answer: Any) -> str:
    shape = getattr(answer, "shape", None)
    kind = printable(type(answer).__name__)
    return f"{kind} {tuple(shape)}" if isinstance(shape, tuple) else kind
