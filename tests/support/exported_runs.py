"""Runs on disk for exports: rows as given, without a manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from certificate_rows import rows_of

from raysmooth.pipeline.runs.procedures import PROCEDURES

RUN = "0123456789abcdef"
SCHEMA = PROCEDURES["certify"].schema


def written_run(
    out: Path, outcomes: Sequence[tuple[Any, Any]], run: str = RUN, label: int | None = 1, **facts: Any
) -> Path:
    """Certificates with these (prediction, radius), of images 0, 50, ...; `facts` are further columns."""
    folder = out / "certificates" / f"run_id={run}"
    folder.mkdir(parents=True)
    images = {"images": len(outcomes), "index_set": f"every 50th of {50 * len(outcomes)} ({len(outcomes)} images)"}
    rows = rows_of(outcomes, label, **{**images, **facts})
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "part-0.parquet", write_page_checksum=True)
    return out
