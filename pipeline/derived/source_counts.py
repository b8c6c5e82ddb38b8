"""The counts behind the rows of a sampled run, whole or refused."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from raysmooth.common.errors import RaysmoothError, named_image
from raysmooth.pipeline.analysis.columns import text_of
from raysmooth.pipeline.analysis.metrics import FIXED
from raysmooth.pipeline.certification.sampling_rule import Counts
from raysmooth.pipeline.derived.source_runs import SourceRun
from raysmooth.pipeline.store.count_checks import CountLimits
from raysmooth.pipeline.store.manifest import RunFolder
from raysmooth.pipeline.store.stored_counts import StoredCounts
from raysmooth.storage.location import Where


class SourceCounts:
    """The counts of `rows`, finished images of the run `source` in `out`: of the first `n` estimation draws where every
    image has the same number, of all elsewhere. Raises RaysmoothError where counts do not match the rows.
    """

    def __init__(self, out: Where, source: SourceRun, n: int, rows: pd.DataFrame) -> None:
        self._source, self._n, self._folder = source, n, RunFolder.of(out, source.run_id).counts
        blocks = -(-n // source.identity["block_size"]) if source.sampling_method == FIXED else None
        limits = CountLimits.of(source.identity, source.manifest["num_classes"])
        self._stored = StoredCounts(out, source.run_id, limits, set(rows["image_id"]), blocks, rows)

    def of(self, row: Mapping[Hashable, Any]) -> Counts:
        """The image's label counts by role. Raises RaysmoothError where some of its draws are missing."""
        counts, expected = self._stored.of(int(row["image_id"])), self._expected(row)
        if tuple(int(own.sum()) for own in counts.values()) != expected:
            raise RaysmoothError(
                f"{self._folder} lacks draws of {named_image(int(row['image_id']), text_of(row.get('file')))}, which "
                f"has {' + '.join(map(str, expected))}: restore its parts, or certify again"
            )
        return counts

    def seconds(self, row: Mapping[Hashable, Any]) -> float:
        """The seconds of computing that those draws of the image took."""
        return self._stored.seconds(int(row["image_id"]))

    def _expected(self, row: Mapping[Hashable, Any]) -> tuple[int, int]:
        """The numbers of selection and estimation draws behind an image's certificate."""
        if self._source.sampling_method == FIXED:
            return int(self._source.identity["n0"]), self._n
        return int(row["draws"] - row["n_used"]), int(row["n_used"])
