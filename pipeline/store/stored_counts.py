"""The stored label counts of a run's images, from all their blocks or the first ones."""

from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.count_checks import CountLimits, CountSums, bad_block
from raysmooth.pipeline.store.manifest import ROW_FOLDERS, RunFolder
from raysmooth.pipeline.store.parts import foreign, own_parts, read_part, read_parts
from raysmooth.pipeline.store.run_store import COUNTS_SCHEMA
from raysmooth.storage.location import Where

_SELECTION = Role.SELECTION.name.lower()


def read_blocks(
    run: RunFolder,
    image_ids: Collection[int],
    limits: CountLimits,
    blocks: int | None = None,
    rows: pd.DataFrame | None = None,
) -> pa.Table:
    """The run's counts of the images `image_ids`, as rows of COUNTS_SCHEMA: all selection blocks, and the estimation
    blocks before `blocks` (default: all).

    Raises RaysmoothError for a part that is corrupt or not this run's, for counts outside the run's `limits`, for a
    block that is there twice, and for any of `rows`, the run's, that does not follow from its counts.
    """
    folder, run_id = run.counts, run.run_id
    wanted = pa.array(sorted(image_ids), pa.int64())
    tables, sums = [COUNTS_SCHEMA.empty_table()], CountSums(limits)
    parts = list(own_parts(folder, COUNTS_SCHEMA, {"run_id": run_id, "kind": "counts"}))
    for file, table in read_parts(parts, read_part):
        if (wrong := bad_block(table, limits)) is not None:
            raise foreign(file, wrong)
        keep = pc.is_in(table["image_id"], wanted)
        if rows is not None:
            sums.add(table.filter(keep))
        if blocks is not None:
            keep = pc.and_(keep, pc.or_(pc.equal(table["role"], _SELECTION), pc.less(table["block"], blocks)))
        tables.append(table.filter(keep))
    table = pa.concat_tables(tables)
    keys = table.select(["image_id", "role", "block"]).to_pandas()
    if (again := keys.duplicated()).any():
        image_id, block = keys.loc[again, ["image_id", "block"]].iloc[0]
        raise RaysmoothError(
            f"the counts of run {run_id} hold block {block} of image {image_id} twice: "
            f"move the copied part out of {folder}"
        )
    if rows is not None and (wrong := sums.contradiction(rows)) is not None:
        raise foreign(run.rows(ROW_FOLDERS["certify"]), wrong)
    return table


class StoredCounts:
    """The counts of a run's images `image_ids`; raises RaysmoothError as `read_blocks`. Every block has its own noise
    stream, so the first ones equal the blocks of a run with fewer draws.
    """

    def __init__(
        self,
        out: Where,
        run_id: str,
        limits: CountLimits,
        image_ids: Collection[int],
        blocks: int | None = None,
        rows: pd.DataFrame | None = None,
    ) -> None:
        self._num_labels = limits.num_labels
        table = read_blocks(RunFolder.of(out, run_id), image_ids, limits, blocks, rows)
        role = pc.if_else(pc.equal(table["role"], _SELECTION), int(Role.SELECTION), int(Role.ESTIMATION))
        rows = table.select(["image_id", "seconds"]).append_column("role", role).to_pandas()
        self._seconds = rows.groupby("image_id")["seconds"].sum()
        row = np.repeat(np.arange(len(rows)), pc.list_value_length(table["labels"]).to_numpy())
        given = pd.DataFrame(
            {
                "image_id": rows["image_id"].to_numpy()[row],
                "role": rows["role"].to_numpy()[row],
                "label": pc.list_flatten(table["labels"]).to_numpy(),
                "count": pc.list_flatten(table["counts"]).to_numpy(),
            }
        )
        summed = given.groupby(["role", "image_id", "label"], sort=True)["count"].sum().reset_index()
        self._of_role = {
            role: {
                name: own[name].to_numpy()
                for own in [summed[summed["role"] == role]]
                for name in ("image_id", "label", "count")
            }
            for role in CERTIFYING
        }

    def of(self, image_id: int) -> dict[Role, np.ndarray]:
        """Label counts of an image by role, each int64 (num_labels,); zeros where it has no draws."""
        counts = {}
        for role, own in self._of_role.items():
            first, last = np.searchsorted(own["image_id"], [image_id, image_id + 1])
            counts[role] = np.zeros(self._num_labels, np.int64)
            counts[role][own["label"][first:last]] = own["count"][first:last]
        return counts

    def seconds(self, image_id: int) -> float:
        """The seconds of computing that those draws of an image took."""
        return float(self._seconds.get(image_id, 0.0))
