"""The files of a run that counts labels: counts, and the rows that are computed from them.

Counts reach the disk before their rows, so that no row is without its counts; all else is as `PartStore` has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit
from raysmooth.pipeline.store.count_checks import CountLimits, CountSums, bad_block
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.pipeline.store.part_store import PartStore
from raysmooth.pipeline.store.parts import foreign, read_part, read_parts
from raysmooth.pipeline.store.row_checks import bad_row, row_facts
from raysmooth.storage.location import Where

COUNTS_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("role", pa.string()),
        ("block", pa.int32()),
        ("draws", pa.int32()),
        # Sparse: the labels that occurred, and how often each.
        ("labels", pa.list_(pa.int32())),
        ("counts", pa.list_(pa.int32())),
        ("invalid", pa.int32()),
        ("seconds", pa.float64()),
    ]
)

_COMPARED = (
    *("image_id", "status", "prediction", "count_top", "count_rejected", "n_used", "draws"),
    *("p_upper", "alpha", "alpha_share", "noise_bound", "sigma_rule"),
)
"""Columns of earlier rows that are compared with their counts."""


@dataclass(frozen=True)
class CountedBlock:
    """One row of counts: one block of one image. `counts` is int64 (num_labels,), how often each label occurred."""

    image_id: int
    role: Role
    block: int
    draws: int
    counts: np.ndarray
    invalid: int
    seconds: float

    @classmethod
    def of(cls, unit: WorkUnit, drawn: UnitCounts, place: int) -> "CountedBlock":
        """Number `place` of the unit's blocks, which share its seconds in proportion to their draws."""
        block = unit.blocks[place]
        seconds = drawn.seconds * block.draws / unit.draws
        counts, invalid = drawn.counts[place], int(drawn.invalid[place])
        return cls(block.image_id, unit.role, block.index, block.draws, counts, invalid, seconds)


class RunStore(PartStore):
    """The counts and rows of one run, whose rows go to `folder` with this `schema`. Raises as `PartStore`."""

    def __init__(self, out: Where, folder: str, schema: pa.Schema, manifest: dict[str, Any]) -> None:
        run = RunFolder.of(out, manifest["run_id"])
        self.num_classes: int = manifest["num_classes"]
        self.counts_folder = run.counts
        self._rows_kind = folder
        self._limits = CountLimits.of(manifest["identity"], self.num_classes or 0)
        super().__init__(run, {"counts": (run.counts, COUNTS_SCHEMA), folder: (run.rows(folder), schema)}, manifest)

    def unfinished_blocks(self) -> Iterator[CountedBlock]:
        """Blocks of earlier sessions for images that have no row yet. Raises RaysmoothError for counts that no run
        has, and, at the end, for earlier rows that do not follow from their counts.
        """
        sums, finished = CountSums(self._limits), pa.array(sorted(self.finished), pa.int64())
        for file, table in read_parts(list(self._own_parts("counts")), read_part):
            if (wrong := bad_block(table, self._limits)) is not None:
                raise foreign(file, wrong)
            have_rows = pc.is_in(table["image_id"], finished)
            sums.add(table.filter(have_rows))
            for row in table.filter(pc.invert(have_rows)).to_pylist():
                labels, counts = row.pop("labels"), np.zeros(self._limits.num_labels, np.int64)
                counts[labels] = row["counts"]
                yield CountedBlock(**{**row, "role": Role[row["role"].upper()], "counts": counts})
        if (wrong := sums.contradiction(self._earlier_rows)) is not None:
            raise foreign(self._parts[self._rows_kind][0], wrong)

    def add_block(self, block: CountedBlock) -> None:
        labels = np.flatnonzero(block.counts)
        counts = block.counts[labels].tolist()
        row = {**vars(block), "role": block.role.name.lower(), "labels": labels.tolist(), "counts": counts}
        self._waiting["counts"].rows.append(row)

    def add_row(self, row: dict[str, Any]) -> None:
        self._waiting[self._rows_kind].rows.append(row)
        self.finished.add(row["image_id"])

    def _read_earlier(self) -> None:
        self._earlier_rows = self._read_rows()
        self.finished = set(self._earlier_rows["image_id"].tolist())

    def _read_rows(self) -> pd.DataFrame:
        """The rows of earlier sessions. Raises RaysmoothError for one that this run cannot have."""
        facts = row_facts(self.manifest)
        finished: set[int] = set()
        found = []
        for file, table in read_parts(list(self._own_parts(self._rows_kind)), read_part):
            if (wrong := bad_row(table, facts, self.num_classes)) is not None:
                raise foreign(file, wrong)
            images = table["image_id"].to_pylist()
            if len(finished | set(images)) < len(finished) + len(images):
                raise foreign(file, "holds images that another part holds too, as a copy would")
            finished.update(images)
            kept = [name for name in _COMPARED if name in table.column_names]
            found.append(table.select(kept).to_pandas())
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame({"image_id": []})
