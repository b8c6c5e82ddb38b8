"""Registries of named variants: a new classifier, denoiser, data set or objective is one entry of one of these."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from raysmooth.common.errors import RaysmoothError, nearest, printable

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Read-only mapping from names to entries; raises RaysmoothError for an unknown name, with the nearest known one.

    `what` names the kind of entry in messages ("classifier", "data set", ...).
    """

    def __init__(self, what: str, entries: Mapping[str, Entry]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise RaysmoothError(
                f"unknown {self.what} '{printable(str(name))}': {nearest(name, self._entries)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
