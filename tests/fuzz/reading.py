"""Reading all images of a data set, as a request of a case, and what each of them may be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fuzz.case import Defect, Expected, Outcome
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import UnreadableImage, fingerprint, listing_fingerprint, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet

LONGEST_REASON = 300


def read_all(
    name: str,
    root: Path | str,
    split: str | None = None,
    resize: int | None = None,
    crop: int | None = None,
    expected: Expected = Expected.ANY,
) -> Callable[[], object]:
    """A request that opens a data set, takes its fingerprints and reads every image. `expected` is of its images: that
    one of them is refused, or that all are read.
    """

    def request() -> object:
        dataset = open_dataset(name, root, split, resize, crop)
        ids = IndexSet(len(dataset), max=50)
        fingerprint(dataset, ids)
        listing_fingerprint(dataset, ids)
        labels, known = dataset.labels(), dataset.num_classes
        reasons = []
        for image_id in ids:
            try:
                example = dataset.read(image_id)
            except UnreadableImage as unreadable:
                reasons.append(unreadable.reason)
                continue
            image = example.image
            assert image.dtype == np.float32, image.dtype
            assert image.ndim == 3, image.shape
            assert image.size == 0 or (image.min() >= 0 and image.max() <= 1), "pixels outside [0, 1]"
            assert example.label == labels[image_id], "two labels"
            if example.label is not None and not (known is not None and 0 <= example.label < known):
                raise Defect(Outcome.SILENT, f"label {example.label} of {known} classes")
        for reason in reasons:
            if not reason.isprintable() or len(reason) > LONGEST_REASON:
                raise Defect(Outcome.RAW, f"a reason of {len(reason)} characters: {reason[:200]!a}")
        if expected is Expected.REFUSED and not reasons:
            raise Defect(Outcome.SILENT, "every image was read")
        if expected is Expected.READ and reasons:
            raise Defect(Outcome.STRICT, f"images that cannot be read: {reasons}")
        if reasons:
            raise RaysmoothError(f"{len(reasons)} images cannot be read, first {reasons[0]}")
        return labels

    request.__doc__ = f"read all of {name} in {root}, split {split}, resize {resize}, crop {crop}"
    return request
