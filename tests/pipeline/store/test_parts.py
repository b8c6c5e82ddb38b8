"""Which files are parts: the same ones for us and for every reader of Parquet folders."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.parts import (
    own_parts,
    part_files,
    part_name,
    read_part,
    read_rows,
    refuse_foreign_parts,
    session_of,
    write_part,
)
from raysmooth.storage.location import located

ORIGIN = {"run_id": "a", "kind": "certificates"}
TABLE = pa.table({"image_id": [1]})


def test_hidden_files_and_folders_are_not_parts(tmp_path: Path) -> None:
    folder = tmp_path / "certificates" / "run_id=a"
    for hidden in (folder, folder / "_old", folder / ".trash"):
        hidden.mkdir(parents=True, exist_ok=True)
    for name in ("part-1-00001.parquet", "part-1-00000.parquet", "copied"):
        write_part(located(folder / name), TABLE, ORIGIN)
    for name in ("_SUCCESS", ".part-1-00002.parquet.tmp", "_old/part-0-00000.parquet", ".trash/part-0-00000.parquet"):
        (folder / name).write_bytes(b"half")
    names = ["copied", "part-1-00000.parquet", "part-1-00001.parquet"]
    assert [file.name for file in part_files(located(folder))] == names
    assert [file.name for file in part_files(located(tmp_path), recursive=True)] == names
    assert [file.name for file in own_parts(located(folder), TABLE.schema, ORIGIN)] == names
    refuse_foreign_parts(tmp_path, "certificates")
    assert len(read_rows(tmp_path, "certificates", "a")) == len(pd.read_parquet(folder)) == 3


def test_a_part_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    file = located(tmp_path / "part-1-00000.parquet")
    write_part(file, TABLE.append_column("a\nb", pa.array([1])).append_column("a\nb", pa.array([2])), ORIGIN)
    with pytest.raises(RaysmoothError, match=r"part-1-00000\.parquet has two columns a\\nb") as refusal:
        read_part(file)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("origin", [b"{", b"[" * 100_000])
def test_a_part_whose_origin_cannot_be_read_is_refused(tmp_path: Path, origin: bytes) -> None:
    pq.write_table(TABLE.replace_schema_metadata({b"raysmooth": origin}), tmp_path / "part-1-00000.parquet")
    with pytest.raises(RaysmoothError, match=r"part-1-00000\.parquet names no run that wrote it: move it out"):
        list(own_parts(located(tmp_path), TABLE.schema, ORIGIN))


def test_a_foreign_file_is_refused_whatever_its_extension(tmp_path: Path) -> None:
    folder = tmp_path / "certificates" / "run_id=a"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    refusal = r"notes\.txt is corrupt or not a Parquet file"
    with pytest.raises(RaysmoothError, match=refusal):
        refuse_foreign_parts(tmp_path, "certificates")
    with pytest.raises(RaysmoothError, match=refusal):
        read_rows(tmp_path, "certificates", "a")


def test_hidden_folders_above_do_not_hide_parts(tmp_path: Path) -> None:
    folder = tmp_path / ".results" / "_mine" / "run_id=a"
    folder.mkdir(parents=True)
    write_part(located(folder / "part-1-00000.parquet"), TABLE, ORIGIN)
    assert len(part_files(located(folder))) == 1
    assert len(part_files(located(folder.parent), recursive=True)) == 1


def test_a_parts_name_says_its_session() -> None:
    name = part_name("0a1b", 7)
    assert name == "part-0a1b-00007.parquet"
    assert session_of(located(f"x/{name}")) == "0a1b"
    for other in ("copied", "part-0a1b-00007.csv", "rows-0a1b-00007.parquet"):
        assert session_of(located(f"x/{other}")) is None


def test_parts_with_columns_of_other_types_are_refused_by_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "certificates/run_id=ab"
    folder.mkdir(parents=True)
    for place, values in enumerate((pa.array([1], pa.int64()), pa.array(["x"]))):
        pq.write_table(pa.table({"image_id": [place], "draws": values}), folder / f"part-{place}.parquet")
    with pytest.raises(
        RaysmoothError, match=r"certificates/run_id=ab has parts whose columns differ in type \(.*draws"
    ):
        read_rows(tmp_path, "certificates", "ab")
