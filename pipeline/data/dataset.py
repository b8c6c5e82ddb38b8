"""The interface of data sets."""

from typing import Protocol

import numpy as np

from raysmooth.pipeline.data.facts import Facts
from raysmooth.pipeline.data.images import Cut, Example, Framing


class Dataset(Protocol):
    """Images by position, 0..len-1, in an order that never changes; each is read on request."""

    @property
    def name(self) -> str:
        """Its name in reports."""

    @property
    def split(self) -> str: ...

    @property
    def num_classes(self) -> int | None:
        """K, where labels are 0..K-1; None where there are no labels."""

    @property
    def framing(self) -> Framing:
        """The resize and crop in force, including the entry's defaults."""

    @property
    def channels(self) -> int:
        """Of every image: 1 or 3."""

    @property
    def recoloured(self) -> int | None:
        """The channels that the user chose, if they are not those that the images would have anyway."""

    @property
    def facts(self) -> Facts:
        """What was decided in reading it."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Example:
        """The image, float32 (C, H, W) in 0..1, and its label; raises UnreadableImage."""

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        """The image as stored, cut by `cut` in place of the framing: uint8 (C, H, W), or float32 in 0..1 if the source
        does not have 8 bits. The array may be a view of the data set's memory. Raises UnreadableImage.
        """

    def place(self, index: int) -> str | None:
        """Where the image is, such as its file below the data root, in full; None if only its index says so."""

    def labels(self) -> list[int | None]:
        """The label of every image, None if it has none; decodes no image."""

    def raw(self, index: int) -> bytes:
        """Label and content before decoding, for the fingerprint; a marker, never an error, if missing."""

    def listed(self, index: int) -> bytes:
        """Label, place and size in bytes, for the fingerprint of a listing; a marker, never an error, if missing."""
