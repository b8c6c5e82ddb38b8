"""How images reach the replicas: small ones inside the call, large ones once through Ray's object store."""

from collections import OrderedDict
from typing import Any

import numpy as np
import ray

from raysmooth.actors.replica.unit_drawer import ImageKey

INLINE_BYTES = 100_000
"""Images of up to this size travel inside the call."""

KEPT_IMAGES = 64
"""Number of large images that are kept in the object store for further calls."""


class ImageTransfer:
    """Remembers which images are in the object store: an image has many units, and travels once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[ImageKey, Any] = OrderedDict()

    def packed(self, key: ImageKey, image: np.ndarray) -> Any:
        """`image` as it is, or a reference to it."""
        if image.nbytes <= INLINE_BYTES:
            return image
        if key not in self._kept:
            self._kept[key] = ray.put(image)
            if len(self._kept) > KEPT_IMAGES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
