"""The rows of a run that leaves nothing on disk."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa

from raysmooth.pipeline.store.run_store import CountedBlock


class RowList:
    """In place of a `RunStore`: it keeps the rows of run `run_id`, and nothing of the counts that they come from."""

    counts_folder = "memory"

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.manifest: dict[str, Any] = {}
        self.finished: set[int] = set()
        self._rows: list[dict[str, Any]] = []

    def amend(self, **facts: Any) -> None:
        self.manifest |= facts

    def unfinished_blocks(self) -> Iterator[CountedBlock]:
        """None: there are no earlier sessions."""
        return iter(())

    def add_block(self, block: CountedBlock) -> None:
        """Nothing: the tally of its image has it, and no later session will ask."""

    def add_row(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.finished.add(row["image_id"])

    def flush_when_due(self) -> None:
        """Nothing: rows stay where they are."""

    def flush(self) -> None:
        """As `flush_when_due`."""

    def frame(self, schema: pa.Schema) -> pd.DataFrame:
        """The rows by image, with the types of `schema`, as those on disk are read."""
        rows = pa.Table.from_pylist(self._rows, schema).to_pandas()
        return rows.sort_values("image_id", ignore_index=True).assign(run_id=self.run_id)
