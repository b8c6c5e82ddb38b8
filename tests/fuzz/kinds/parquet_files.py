"""Parquet data sets: columns and their types, shards, Hugging Face's metadata, pages."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fuzz.case import Expected, Kind, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.reading import read_all
from fuzz.values import TEXTS, altered_tree, json_text

FOLDER = Path("data")
SHARDS = (FOLDER / "test-00000-of-00002.parquet", FOLDER / "test-00001-of-00002.parquet")
FEATURES = {"info": {"features": {
    "image": {"_type": "Image"}, "label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"},
}}}  # fmt: skip


def encoded(seed: int) -> bytes:
    """A PNG of 8 x 8 grey pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _table(first: int) -> pa.Table:
    numbers = range(first, first + 3)
    images = [{"bytes": encoded(number), "path": f"{number}.png"} for number in numbers]
    table = pa.table({
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "label": pa.array([number % 3 for number in numbers], pa.int64()),
    })  # fmt: skip
    return table.replace_schema_metadata({"huggingface": json.dumps(FEATURES)})


def build_parquet() -> None:
    FOLDER.mkdir()
    for number, file in enumerate(SHARDS):
        pq.write_table(_table(3 * number), file, row_group_size=2)


def play_parquet(rng: Random) -> Play:
    file = rng.choice(SHARDS)
    altered, expected = rng.choice(_ALTERATIONS)(rng, file)
    root = rng.choice((FOLDER, FOLDER, FOLDER, file))
    name = rng.choice(("parquet", "parquet", "parquet", "cifar10-jpeg"))
    if root == file and altered.startswith("shards"):
        root = FOLDER
    if not file.exists() or (root == file and expected is Expected.REFUSED and not altered.startswith("column")):
        root = FOLDER
    return Play(altered, read_all(name, root, "test"), expected)


Alteration = Callable[[Random, Path], tuple[str, Expected]]


def _put(file: Path, table: pa.Table, **options: Any) -> None:
    pq.write_table(table, file, **{"row_group_size": 2, **options})


def _label(rng: Random, file: Path) -> tuple[str, Expected]:
    """The label column, with other types and values."""
    table = pq.read_table(file)
    values: tuple[tuple[pa.Array, Expected], ...] = (
        (pa.array([0, None, 1], pa.int64()), Expected.READ), (pa.array([-1, -1, 0], pa.int64()), Expected.READ),
        (pa.array([0, 1, 2], pa.int8()), Expected.READ), (pa.array([0, 1, 2], pa.uint64()), Expected.READ),
        (pa.array([0, 1, 3], pa.int64()), Expected.READ), (pa.array([0, 1, 2**62], pa.int64()), Expected.REFUSED),
        (pa.array([0, 1, 2**63], pa.uint64()), Expected.REFUSED), (pa.array([0.0, 1.0, 2.0]), Expected.REFUSED),
        (pa.array([True, False, True]), Expected.ANY),
        (pa.array([[0], [1], [2]]), Expected.REFUSED), (pa.array([{"a": 0}] * 3), Expected.REFUSED),
        (pa.array([0, 1, 2], pa.timestamp("s")), Expected.REFUSED), (pa.nulls(3), Expected.ANY),
        (pa.array([None, None, None], pa.int64()), Expected.ANY), (pa.array(["cat", "dog", "a\nFORGED"]), Expected.ANY),
        (pa.array(["0", "1", "2"]), Expected.ANY), (pa.DictionaryArray.from_arrays([0, 1, 2], ["cat", "dog", "owl"]),
        Expected.ANY),
        (pa.DictionaryArray.from_arrays([0, 1, 2], pa.array([0, 1, 2])), Expected.ANY),
    )  # fmt: skip
    column, expected = rng.choice(values)
    place = table.schema.get_field_index("label")
    _put(file, table.set_column(place, "label", column))
    return f"column label of {column.type}: {str(column.to_pylist())[:60]!a}", expected


def _image(rng: Random, file: Path) -> tuple[str, Expected]:
    """The image column, with other types and values."""
    table = pq.read_table(file)
    content = [encoded(number) for number in range(3)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns: tuple[tuple[pa.Array, Expected], ...] = (
        (pa.array(content), Expected.REFUSED), (pa.array([None] * 3, struct), Expected.ANY),
        (pa.array([{"bytes": None, "path": "x.png"}] * 3, struct), Expected.ANY),
        (pa.array([{"bytes": b"", "path": None}] * 3, struct), Expected.ANY),
        (pa.array([{"bytes": c} for c in content], pa.struct([("bytes", pa.large_binary())])), Expected.READ),
        (pa.array([{"bytes": "x"}] * 3), Expected.REFUSED), (pa.array([{"path": "/etc/passwd"}] * 3), Expected.REFUSED),
        (pa.array([[{"bytes": c}] for c in content]), Expected.REFUSED), (pa.array([1, 2, 3]), Expected.REFUSED),
        (pa.array([{"bytes": {"bytes": c}} for c in content]), Expected.REFUSED),
        (pa.array([{"bytes": c[: rng.randrange(len(c))], "path": "a\nFORGED"} for c in content], struct), Expected.ANY),
        (pa.array([{"bytes": c, "path": rng.choice(TEXTS).replace("\ud800", "")} for c in content], struct),
        Expected.READ),
        (pa.array([{"bytes": list(c)} for c in content]), Expected.REFUSED),
    )  # fmt: skip
    column, expected = rng.choice(columns)
    _put(file, table.set_column(table.schema.get_field_index("image"), "image", column))
    return f"column image of {column.type}", expected


def _columns(rng: Random, file: Path) -> tuple[str, Expected]:
    """Names and numbers of columns."""
    table = pq.read_table(file)
    way = rng.randrange(7)
    expected = Expected.ANY
    if way == 0:
        table, expected = table.drop_columns("image"), Expected.REFUSED
    elif way == 1:
        table = table.drop_columns("label")
    elif way == 2:
        table, expected = table.append_column("label", table["label"]), Expected.REFUSED
    elif way == 3:
        table = table.rename_columns(
            ["img", rng.choice(("labels", "fine_label", "Label", "target", *TEXTS[:30])).replace("\ud800", "")]
        )
    elif way == 4:
        table = table.append_column(rng.choice(TEXTS).replace("\ud800", ""), pa.nulls(3, pa.string()))
    elif way == 5:
        table, expected = table.select([]), Expected.REFUSED
    else:
        table = table.append_column("img", table["image"])
    _put(file, table)
    return f"columns, way {way}: {table.schema.names!a:.80}", expected


def _metadata(rng: Random, file: Path) -> tuple[str, Expected]:
    table = pq.read_table(file)
    altered, what = altered_tree(rng, FEATURES)
    text, how = json_text(rng, altered)
    _put(file, table.replace_schema_metadata({"huggingface": text}))
    return f"metadata: {what} {how}", Expected.ANY


def _shards(rng: Random, file: Path) -> tuple[str, Expected]:
    """The files of the set."""
    way = rng.randrange(6)
    if way == 0:
        file.unlink()
        return f"shards: {file.name} missing", Expected.REFUSED
    if way == 1:
        name = rng.choice(("test-00000-of-00001", "test-00002-of-00003", "test-00000-of-00002-copy", "test-0-of-2"))
        shutil.copy(file, FOLDER / f"{name}.parquet")
        return f"shards: {name} too", Expected.ANY if name.endswith("copy") else Expected.REFUSED
    if way == 2:
        name = rng.choice(
            (
                "test.parquet",
                "train.parquet",
                "test-\x1b[31m.parquet",
                "test-\nFORGED.parquet",
                f"test-{'9' * 200}.parquet",
            )
        )
        file.rename(FOLDER / name)
        return f"shards: {name!r} in place of {file.name}", Expected.ANY
    if way == 3:
        file.rename(FOLDER / f"test-{10**18:05d}-of-{10**18:05d}.parquet")
        return "shards of astronomical numbers", Expected.REFUSED
    if way == 4:
        (FOLDER / "data").mkdir()
        for shard in SHARDS:
            shard.rename(FOLDER / "data" / shard.name)
        return "shards: in the folder data", Expected.READ
    for shard in SHARDS:
        shard.unlink()
    return "shards: none", Expected.REFUSED


def _layout(rng: Random, file: Path) -> tuple[str, Expected]:
    """Written otherwise: the same rows."""
    table = pq.read_table(file)
    options: dict[str, Any] = rng.choice(
        (
            {"compression": "zstd"}, {"compression": "none"}, {"use_dictionary": False}, {"write_statistics": False},
            {"row_group_size": 1}, {"data_page_version": "2.0"}, {"version": "1.0"}, {"write_page_checksum": True},
            {"write_page_index": True}, {"store_schema": False}, {"data_page_size": 1},
        )
    )  # fmt: skip
    _put(file, table, **options)
    return f"written with {options}", Expected.READ


def _rows(rng: Random, file: Path) -> tuple[str, Expected]:
    table = pq.read_table(file)
    table = rng.choice((table[:0], pa.concat_tables([table] * 2), table[:1]))
    _put(file, table)
    return f"{len(table)} rows", Expected.READ if len(table) else Expected.ANY


def _bytes(rng: Random, file: Path) -> tuple[str, Expected]:
    return damage(rng, file), Expected.ANY


def _other(rng: Random, file: Path) -> tuple[str, Expected]:
    return replaced_by_other(rng, file), Expected.REFUSED


def _foreign(rng: Random, file: Path) -> tuple[str, Expected]:
    content = rng.choice(
        (
            b"PAR1",
            b"PAR1PAR1",
            b"PAR1" + bytes(100) + b"PAR1",
            b"PARE" + bytes(100) + b"PARE",
            b"ARROW1\0\0",
            b"{}",
            b"ORC",
        )
    )
    file.write_bytes(content)
    return f"only {content[:12]!r}", Expected.REFUSED


_ALTERATIONS: tuple[Alteration, ...] = (
    _label, _label, _image, _image, _columns, _metadata, _metadata, _shards, _layout, _rows, _bytes, _bytes, _bytes,
    _other,
    _foreign,
)  # fmt: skip

PARQUET = Kind("Parquet data sets", build_parquet, play_parquet)
