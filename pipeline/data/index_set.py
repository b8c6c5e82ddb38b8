"""Which images of a data set a run certifies."""

from collections.abc import Iterator
from dataclasses import dataclass

from raysmooth.common.errors import RaysmoothError, counted


@dataclass(frozen=True)
class IndexSet:
    """Every `skip`-th image of a data set of `length` images from position `start` on, at most `max` of them.

    This is the papers' convention: skip=20 on the 10,000 test images of CIFAR-10 is 0, 20, ..., 9980, that is 500
    images. MACER's images are start=500, max=500: 500 to 999. (`max` counts images; in Cohen et al.'s script it is the
    position at which to stop.) Iterating gives image ids, which are positions in the data set, without storing them.
    Raises RaysmoothError for skip < 1, max < 1, an empty data set and a start outside it.
    """

    length: int
    skip: int = 1
    max: int | None = None
    start: int = 0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise RaysmoothError("the data set has no images: check --data-root and --split")
        if self.skip < 1:
            raise RaysmoothError(f"--skip {self.skip}: write 1 for every image, 20 for every 20th")
        if self.max is not None and self.max < 1:
            raise RaysmoothError(f"--max {self.max}: write 1 or more, or leave --max out for no limit")
        if not 0 <= self.start < self.length:
            raise RaysmoothError(
                f"--start {self.start}: the data set has {counted(self.length, 'image')}: write 0 to {self.length - 1}"
            )

    @property
    def ids(self) -> range:
        """The image ids, ascending."""
        return range(self.start, self.length, self.skip)[: self.max]

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.ids

    def describe(self) -> str:
        """A short description for reports, such as 'all 10000', 'every 20th of 10000 (500 images)' or 'every
        image of 10000, 500 to 999 (500 images)'.
        """
        ids = self.ids
        if len(ids) == self.length:
            return f"all {self.length}"
        whole = ids == range(0, self.length, self.skip)
        span = "" if whole else f", {ids[0]} to {ids[-1]}"
        number = "1 image" if len(ids) == 1 else f"{len(ids)} images"
        return f"every {_ordinal(self.skip)} of {self.length}{span} ({number})"


def _ordinal(number: int) -> str:
    """'2nd', '11th', '23rd'; for 1 the word 'image', as in 'every image of 10'."""
    if number == 1:
        return "image"
    teens = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
