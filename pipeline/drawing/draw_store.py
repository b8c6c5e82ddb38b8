"""What the ledgers need of the place where a run's results go: a folder or object store, or this process's memory."""

from collections.abc import Iterator
from typing import Any, Protocol

from raysmooth.pipeline.store.run_store import CountedBlock


class DrawStore(Protocol):
    """Results of one run. `PartStore` is the one on disk, whose docstrings hold."""

    run_id: str
    manifest: dict[str, Any]
    finished: set[int]

    def amend(self, **facts: Any) -> None: ...

    def flush_when_due(self) -> None: ...

    def flush(self) -> None: ...


class CountStore(DrawStore, Protocol):
    """Counts and rows of one run. `RunStore` is the one on disk, whose docstrings hold."""

    @property
    def counts_folder(self) -> object: ...

    def unfinished_blocks(self) -> Iterator[CountedBlock]: ...

    def add_block(self, block: CountedBlock) -> None: ...

    def add_row(self, row: dict[str, Any]) -> None: ...
