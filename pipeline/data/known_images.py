"""The images of a run as they were when their fingerprint was taken: one that was altered since is never certified."""

import hashlib
from collections.abc import Sequence

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.data.datasets import Dataset, fingerprint_of
from raysmooth.pipeline.data.images import Example, UnreadableImage, is_missing, place_of

_DIGEST_BYTES = 16


class KnownImages:
    """The images `ids` of a data set, with their `fingerprint` and, in memory, 16 bytes for each.

    Making one reads each image's bytes once.
    """

    def __init__(self, dataset: Dataset, ids: Sequence[int]) -> None:
        self._dataset, self._ids = dataset, ids
        digests = bytearray()

        def noted(index: int) -> bytes:
            content = dataset.raw(index)
            digests.extend(_digest(content))
            return content

        self.fingerprint = fingerprint_of(dataset, ids, noted)
        self._digests = bytes(digests)

    def read(self, image_id: int) -> Example:
        """As `Dataset.read`, of the bytes and the label that the fingerprint covers.

        Raises RaysmoothError if they are others now, UnreadableImage if the image cannot be read or is gone: a disk may
        come back.
        """
        # Before and after: data sets read a file again each time, and it may be replaced at any moment.
        self._refuse_altered(image_id, may_be_missing=True)
        try:
            example = self._dataset.read(image_id)
        except UnreadableImage:
            self._refuse_altered(image_id, may_be_missing=True)
            raise
        self._refuse_altered(image_id, may_be_missing=False)
        return example

    def _refuse_altered(self, image_id: int, may_be_missing: bool) -> None:
        place = self._ids.index(image_id) * _DIGEST_BYTES
        content = self._dataset.raw(image_id)
        if _digest(content) == self._digests[place : place + _DIGEST_BYTES] or (may_be_missing and is_missing(content)):
            return
        where = printable(place_of(self._dataset.listed(image_id)))
        raise RaysmoothError(
            f"stopped: image {image_id} of {self._dataset.name} ({where}) was altered during the run: restore it and "
            "rerun the command to resume, or rerun it with the data as they are now, as a new run"
        )


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_DIGEST_BYTES]
