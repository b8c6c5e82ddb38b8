"""A table of named variants: a new classifier, denoiser, data set or objective is one row of one of these."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from raysmooth.common.errors import RaysmoothError, nearest

Row = TypeVar("Row")


class Registry(Mapping[str, Row], Generic[Row]):
    """Read-only mapping from name to row; an unknown name is refused with the nearest right one.

    `what` names the kind of thing in messages ("classifier", "data set", ...).
    """

    def __init__(self, what: str, rows: Mapping[str, Row]) -> None:
        self.what = what
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> Row:
        try:
            return self._rows[name]
        except KeyError:
            raise RaysmoothError(f"unknown {self.what} '{name}': {nearest(name, self._rows)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
