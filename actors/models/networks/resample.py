"""The layer that gives pixels the size of a classifier's input: Pillow's filters, as two matrices."""

from functools import lru_cache

import numpy as np
import torch

from raysmooth.actors.models.networks.input_size import INTERPOLATIONS, InputSize


class Resample(torch.nn.Module):
    """Pixels (B, C, H, W) -> (B, C, height, width), as `size` says. Resizing is linear and separable, so that it is two
    products with constant matrices: differentiable, and the same on every device.

    It is computed in float32 whatever surrounds it, and not clipped: filters with negative weights overshoot by as much
    as they do in Pillow's mode F. The matrices are made when the first images of a shape come, and are in no state
    dict. Raises RaysmoothError for images that are smaller than the crop.
    """

    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(self, size: InputSize) -> None:
        super().__init__()
        self.size = size
        self._made_for: tuple[int, int] | None = None
        self.register_buffer("rows", torch.empty(0), persistent=False)
        self.register_buffer("columns", torch.empty(0), persistent=False)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        shape = (batch.shape[-2], batch.shape[-1])
        if shape == self.size.of(*shape) == self.size.resized(*shape):
            return batch
        if self._made_for != shape:
            self._make(shape, batch.device)
        with torch.autocast(batch.device.type, enabled=False):
            resized = self.rows @ (batch.float() @ self.columns)
        return resized.contiguous(memory_format=torch.channels_last)

    def _make(self, shape: tuple[int, int], device: torch.device) -> None:
        """Make the matrices for images of `shape`, to be used with gradients too."""
        resized, wanted = self.size.resized(*shape), self.size.of(*shape)
        made = []
        for before, after, kept in zip(shape, resized, wanted, strict=True):
            first = (after - kept) // 2
            weights = resize_matrix(before, after, self.size.interpolation)[first : first + kept]
            made.append(weights.astype(np.float32))
        with torch.inference_mode(False):
            self.rows = torch.from_numpy(made[0]).to(device)
            self.columns = torch.from_numpy(np.ascontiguousarray(made[1].T)).to(device)
        self._made_for = shape


@lru_cache(maxsize=32)
def resize_matrix(before: int, after: int, interpolation: str) -> np.ndarray:
    """The float64 matrix (after, before) of weights that resizes `before` pixels to `after`. Its rows have the sum 1.
    Where the image shrinks, the filter is as wide as the new pixels: it does not alias.
    """
    entry = INTERPOLATIONS[interpolation]
    matrix = np.zeros((after, before))
    scale = before / after
    if entry.weight is None:
        # Pillow steps from the middle of the first pixel by `scale`, and adds up the rounding of the steps.
        places = np.cumsum(np.concatenate([[scale * 0.5], np.full(after - 1, scale)]))
        matrix[np.arange(after), np.clip(places.astype(int), 0, before - 1)] = 1
        return matrix
    wide = max(scale, 1.0)
    reach = entry.support * wide
    for row in range(after):
        centre = (row + 0.5) * scale
        first, end = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), before)
        weights = [entry.weight((pixel - centre + 0.5) / wide) for pixel in range(first, end)]
        matrix[row, first:end] = np.array(weights) / sum(weights)
    return matrix
