"""Results that another person made up: everything in them agrees, down to checksums and run ids."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raysmooth.pipeline.store.manifest import run_id


def forge(out: Path, run: str, settings: dict[str, Any] | None = None, **identity: Any) -> str:
    """Change the identity of the run `run` in `out`, its settings, and its rows with them; returns its new id."""
    home = out / "runs" / run
    manifest = json.loads((home / "manifest.json").read_text())
    manifest["identity"] |= identity
    manifest["settings"] |= settings or {}
    new = manifest["run_id"] = run_id(manifest["identity"])
    (home / "manifest.json").write_text(json.dumps(manifest))
    for part in (*home.glob("counts/*.parquet"), *out.glob(f"*/run_id={run}/*.parquet")):
        table = pq.ParquetFile(part).read()
        origin = json.loads(table.schema.metadata[b"raysmooth"])
        for name, value in identity.items():
            if name in table.column_names:
                place = table.schema.get_field_index(name)
                table = table.set_column(place, name, pa.array([value] * len(table), table.schema.field(name).type))
        metadata = {b"raysmooth": json.dumps({**origin, "run_id": new})}
        pq.write_table(table.replace_schema_metadata(metadata), part, write_page_checksum=True)
    home.rename(out / "runs" / new)
    for folder in out.glob(f"*/run_id={run}"):
        folder.rename(folder.with_name(f"run_id={new}"))
    return new
