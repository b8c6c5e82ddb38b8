"""What a run has counted, read back: label counts of its images, all of them or of their first blocks."""

from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.parts import own_parts, read_part, read_parts
from raysmooth.pipeline.store.run_store import COUNTS_SCHEMA
from raysmooth.storage.location import Location, Where, located

_SELECTION = Role.SELECTION.name.lower()


def read_blocks(home: Location, image_ids: Collection[int], blocks: int | None = None) -> pa.Table:
    """The rows of COUNTS_SCHEMA under <home>/counts of the images `image_ids`, `home` being <out>/runs/<run id>: all of
    selection, and of estimation the blocks before `blocks` (default: all).

    Raises RaysmoothError for a part that is torn or not this run's, and for a block that is there twice.
    """
    folder, run_id = home / "counts", home.name
    wanted = pa.array(sorted(image_ids), pa.int64())
    tables = [COUNTS_SCHEMA.empty_table()]
    parts = list(own_parts(folder, COUNTS_SCHEMA, {"run_id": run_id, "kind": "counts"}))
    for _, table in read_parts(parts, read_part):
        keep = pc.is_in(table["image_id"], wanted)
        if blocks is not None:
            keep = pc.and_(keep, pc.or_(pc.equal(table["role"], _SELECTION), pc.less(table["block"], blocks)))
        tables.append(table.filter(keep))
    table = pa.concat_tables(tables)
    cells = table.select(["image_id", "role", "block"]).to_pandas()
    if (again := cells.duplicated()).any():
        image_id, block = cells.loc[again, ["image_id", "block"]].iloc[0]
        raise RaysmoothError(
            f"the counts of run {run_id} hold block {block} of image {image_id} twice: "
            f"move the copied part out of {folder}"
        )
    return table


class StoredCounts:
    """The counts of a run's images `image_ids`, as `read_blocks` has them, which refuses. Blocks have noise streams of
    their own, so the first ones are what a run of fewer draws would have made.
    """

    def __init__(
        self, out: Where, run_id: str, num_classes: int, image_ids: Collection[int], blocks: int | None = None
    ) -> None:
        self._num_classes = num_classes
        table = read_blocks(located(out) / "runs" / run_id, image_ids, blocks)
        role = pc.if_else(pc.equal(table["role"], _SELECTION), int(Role.SELECTION), int(Role.ESTIMATION))
        cells = table.select(["image_id", "seconds"]).append_column("role", role).to_pandas()
        self._seconds = cells.groupby("image_id")["seconds"].sum()
        cell = np.repeat(np.arange(len(cells)), pc.list_value_length(table["labels"]).to_numpy())
        given = pd.DataFrame(
            {
                "image_id": cells["image_id"].to_numpy()[cell],
                "role": cells["role"].to_numpy()[cell],
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
            for role in Role
        }

    def of(self, image_id: int) -> dict[Role, np.ndarray]:
        """Label counts of an image by role, each int64 (num_classes,); zeros where it has no draws."""
        counts = {}
        for role, own in self._of_role.items():
            first, last = np.searchsorted(own["image_id"], [image_id, image_id + 1])
            counts[role] = np.zeros(self._num_classes, np.int64)
            counts[role][own["label"][first:last]] = own["count"][first:last]
        return counts

    def seconds(self, image_id: int) -> float:
        """What those draws of an image took when they were made."""
        return float(self._seconds.get(image_id, 0.0))
