"""The files of a Parquet set: which belong to it, their columns, and their labels."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.limits import LARGEST_LABEL
from raysmooth.pipeline.data.images import portable_reason
from raysmooth.pipeline.data.label_column import LabelColumn, label_column
from raysmooth.storage.regular_file import refuse_unfit

IMAGE_COLUMNS = ("image", "img")
LARGEST_GROUP = 2**31  # bytes; also the limit of Arrow's 32-bit offsets


@dataclass(frozen=True)
class Shard:
    """One file: its footer, its columns, that of images, and that of labels as it is in this file. `has_paths`: whether
    it keeps the names of the files that its images were made of.
    """

    path: Path
    footer: pq.FileMetaData
    schema: pa.Schema
    image: str
    labels: LabelColumn | None
    has_paths: bool = False


def files_of(name: str, root: Path, split: str) -> list[Path]:
    if not root.is_dir():
        named = re.match(r"(train|test|validation|val)(?![a-z])", root.name)
        if named and named[1] != split:
            raise RaysmoothError(f"{name}: {root} is not of split '{split}': write --split {named[1]}")
        return [root]
    # The split, optionally with a part's number: 'test' matches test-00000-of-00002 but not test_matched.
    pattern = re.compile(re.escape(split) + r"([-_.]?\d.*)?\.parquet")
    for folder in (root, root / "data"):
        found = sorted(path for path in folder.glob("*.parquet") if pattern.fullmatch(path.name))
        if found:
            _refuse_missing_shards(name, found)
            return found
    there = sorted(str(path.relative_to(root)) for path in [*root.glob("*"), *root.glob("data/*.parquet")])
    listing = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "") or "nothing"
    raise RaysmoothError(
        f"{name}: no {split}*.parquet in {root} or its data folder (there is {listing}): write --split, or --data-root "
        "with the file or the folder of that split"
    )


def _refuse_missing_shards(name: str, files: list[Path]) -> None:
    """Raises RaysmoothError unless files that number themselves, -00000-of-00003, are all there, each once."""
    numbers: dict[int, list[int]] = {}
    for file in files:
        if numbered := re.search(r"-(\d+)-of-(\d+)\.parquet$", file.name):
            numbers.setdefault(int(numbered[2]), []).append(int(numbered[1]))
    if not numbers:
        return
    if len(numbers) > 1 or len(files) > sum(map(len, numbers.values())):
        raise RaysmoothError(
            f"{name}: {files[0].parent} has parts of more than one set of files ({files[0].name}, {files[-1].name}): "
            "move away those that do not belong to it"
        )
    ((total, there),) = numbers.items()
    if missing := sorted(set(range(total)) - set(there)):
        raise RaysmoothError(
            f"{name}: {files[0].parent} lacks {len(missing)} of {total} parts, first number {missing[0]:05d}: "
            "fetch what is missing"
        )
    if len(there) > total or sorted(set(there)) != sorted(there):
        raise RaysmoothError(f"{name}: {files[0].parent} has a part twice: move one of them away")


def open_shard(name: str, path: Path, wanted: str | None) -> Shard:
    try:
        refuse_unfit(path)
        with pq.ParquetFile(path) as file:
            footer, schema = file.metadata, file.schema_arrow
    except PermissionError as error:
        raise PermissionError(error.errno, error.strerror, str(path)) from None
    except (pa.ArrowException, OSError) as error:
        raise RaysmoothError(
            f"{name}: {path} is corrupt or not a Parquet file ({portable_reason(error)}): fetch or write it again"
        ) from None
    columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
    if twice := next((column for column in schema.names if schema.names.count(column) > 1), None):
        raise RaysmoothError(f"{name}: {path} has two columns '{twice}': it has {columns}")
    image = next((c for c in IMAGE_COLUMNS if c in schema.names and _holds_bytes(schema.field(c).type)), None)
    if image is None:
        raise RaysmoothError(
            f"{name}: {path} has no column image (or img) of struct<bytes, path>; it has {columns}: write encoded "
            "images so, as Hugging Face's datasets does"
        )
    labels = label_column(f"{name}: {path}", schema, wanted)
    for group in range(footer.num_row_groups):
        size = footer.row_group(group).total_byte_size
        if size > LARGEST_GROUP:
            raise RaysmoothError(
                f"{name}: row group {group} of {path} has {size / 2**30:.1f} GiB, which must fit in memory: "
                "write the file again with pyarrow's row_group_size=1000"
            )
    return Shard(path, footer, schema, image, labels, _holds_paths(schema.field(image).type))


def _holds_bytes(column: pa.DataType) -> bool:
    if not pa.types.is_struct(column) or column.get_field_index("bytes") < 0:
        return False
    inner = column.field("bytes").type
    return pa.types.is_binary(inner) or pa.types.is_large_binary(inner)


def _holds_paths(column: pa.StructType) -> bool:
    if column.get_field_index("path") < 0:
        return False
    inner = column.field("path").type
    return pa.types.is_string(inner) or pa.types.is_large_string(inner)


def largest_label(shard: Shard, column: LabelColumn) -> int:
    """From the footer's statistics if they are complete, otherwise from the column itself; -1 without labels. Raises
    RaysmoothError for one that no class has: rows with it would not be read again.
    """
    footer = shard.footer
    number = next(i for i in range(footer.num_columns) if footer.schema.column(i).path == column.name)
    chunks = [footer.row_group(group).column(number) for group in range(footer.num_row_groups)]
    kind = footer.schema.column(number).physical_type
    if other := next((chunk.physical_type for chunk in chunks if chunk.physical_type != kind), None):
        # Arrow ends the process if it is asked for statistics of another type.
        raise _damaged(shard, column, f"its footer says {kind} and {other}")
    groups = [chunk.statistics for chunk in chunks]
    if all(statistics is not None and statistics.has_min_max for statistics in groups):
        largest = max((int(statistics.max) for statistics in groups), default=-1)
    else:
        found = pc.max(label_chunks(shard, column)).as_py()
        largest = -1 if found is None else int(found)
    if largest > LARGEST_LABEL:
        raise RaysmoothError(
            f"the column {printable(column.name)} of {shard.path} has the label {largest}, more than "
            f"{LARGEST_LABEL:,}: write --label-column with another, or none"
        )
    return largest


def label_values(shard: Shard, column: LabelColumn | None) -> list[Any]:
    return [None] * shard.footer.num_rows if column is None else label_chunks(shard, column).to_pylist()


def label_chunks(shard: Shard, column: LabelColumn) -> pa.ChunkedArray:
    try:
        with pq.ParquetFile(shard.path, metadata=shard.footer) as file:
            return file.read(columns=[column.name])[column.name]
    except (pa.ArrowException, OSError) as error:
        raise _damaged(shard, column, portable_reason(error)) from None


def _damaged(shard: Shard, column: LabelColumn, reason: str) -> RaysmoothError:
    return RaysmoothError(f"the column {column.name} of {shard.path} is damaged ({reason}): fetch or write it again")
