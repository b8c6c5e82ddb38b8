"""Data sets in Parquet files, as Hugging Face lays them out, read a row group at a time."""

import json
import re
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.images import (
    Cut,
    Example,
    Framing,
    UnreadableImage,
    decode,
    identity,
    listed,
    pixels,
    portable_reason,
)

PARQUET_LAYOUT = (
    "one .parquet file, or a folder with <split>*.parquet or data/<split>*.parquet; "
    "columns image (or img): struct<bytes, path>, and label: int where there are labels"
)
IMAGE_COLUMNS = ("image", "img")
HELD_GROUPS = 2  # row groups in memory: the current one, and its neighbour for readers that go back and forth
LARGEST_GROUP = 2**31  # bytes; also the limit of Arrow's 32-bit offsets


@dataclass(frozen=True)
class _Shard:
    """One file: its footer, and its columns of images and labels."""

    path: Path
    footer: pq.FileMetaData
    schema: pa.Schema
    image: str
    labelled: bool


@dataclass(frozen=True)
class _Rows:
    """A row group in memory: encoded images, and labels (None for images without)."""

    content: pa.ChunkedArray
    labels: list[int | None]


class ParquetDataset:
    """The rows of some Parquet files, one after the other. Memory stays at `HELD_GROUPS` row groups.

    Grey images keep one channel, all others become RGB. A null or negative label (Hugging Face's -1 in hidden test
    sets) counts as none. No file stays open, so that there may be thousands.
    """

    def __init__(self, name: str, split: str, shards: list[_Shard], framing: Framing) -> None:
        self.name = name
        self.split = split
        self.framing = framing
        self.num_classes = _num_classes(shards)
        self._shards = shards
        self._labels: list[int | None] | None = None  # read on request
        self._groups: list[tuple[_Shard, int]] = []
        self._starts: list[int] = []  # of each row group, its first row's index in the data set
        self._length = 0
        for shard in shards:
            for group in range(shard.footer.num_row_groups):
                self._groups.append((shard, group))
                self._starts.append(self._length)
                self._length += shard.footer.row_group(group).num_rows
        self._held: OrderedDict[int, _Rows] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> Example:
        values, label = self._decoded(index, self.framing)
        return Example(pixels(values), label)

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        return self._decoded(index, cut or self.framing)[0]

    def labels(self) -> list[int | None]:
        if self._labels is None:
            self._labels = [label for shard in self._shards for label in _labels(shard)]
        return self._labels

    def raw(self, index: int) -> bytes:
        try:
            return identity(*self._row(index))
        except UnreadableImage:
            return identity(None, None)

    def listed(self, index: int) -> bytes:
        position = self._position(index)
        shard, group = self._groups[position]
        size = shard.footer.row_group(group).total_byte_size  # Parquet records no size of a single row
        row = index - self._starts[position]
        return listed(f"{shard.path.name};{group};{row}", size, self.labels()[index])

    def _decoded(self, index: int, cut: Cut) -> tuple[np.ndarray, int | None]:
        content, label = self._row(index)
        if content is None:
            raise UnreadableImage(index, "the row holds no image bytes")
        return decode(index, content, cut, keep_grey=True), label

    def _position(self, index: int) -> int:
        """The position of the row group that holds the row `index`."""
        if not 0 <= index < self._length:
            raise IndexError(f"image {index} of {self._length}")
        # The last group that starts at or before the row: an empty group shares its start with the next one.
        return bisect_right(self._starts, index) - 1

    def _row(self, index: int) -> tuple[bytes | None, int | None]:
        position = self._position(index)
        if position not in self._held:
            while len(self._held) >= HELD_GROUPS:  # before reading, so that there are never more
                self._held.popitem(last=False)
            try:
                rows = _read_group(*self._groups[position])
            except (pa.ArrowException, OSError) as error:
                shard, group = self._groups[position]
                reason = portable_reason(error) if shard.path.exists() else "the file is gone"
                raise UnreadableImage(index, f"row group {group} of {shard.path.name}: {reason}") from None
            self._held[position] = rows
        self._held.move_to_end(position)
        rows, row = self._held[position], index - self._starts[position]
        return rows.content[row].as_py(), rows.labels[row]


def open_parquet(name: str, root: Path, split: str, framing: Framing) -> ParquetDataset:
    """Open one Parquet file, or those of `split` in a folder, without reading images.

    Raises RaysmoothError, naming the file, if no file is of that split, or one is not Parquet, is corrupt, lacks the
    columns, or has row groups too large for memory.
    """
    shards = [_open_shard(name, path) for path in _files(name, root, split)]
    if not sum(shard.footer.num_rows for shard in shards):
        raise RaysmoothError(f"{name}: no rows in {root} for split '{split}'; write another --split or --data-root")
    return ParquetDataset(name, split, shards, framing)


def _files(name: str, root: Path, split: str) -> list[Path]:
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
        f"{name}: no {split}*.parquet in {root} or its data folder (there is {listing}): write --split"
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


def _open_shard(name: str, path: Path) -> _Shard:
    try:
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
        raise RaysmoothError(f"{name}: {path} has no column image (or img) of struct<bytes, path>; it has {columns}")
    labelled = "label" in schema.names
    if labelled and not pa.types.is_integer(schema.field("label").type):
        raise RaysmoothError(f"{name}: the column label of {path} is not of integers; it has {columns}")
    for group in range(footer.num_row_groups):
        size = footer.row_group(group).total_byte_size
        if size > LARGEST_GROUP:
            raise RaysmoothError(
                f"{name}: row group {group} of {path} has {size / 2**30:.1f} GiB, which must fit in memory: "
                "write the file again with pyarrow's row_group_size=1000"
            )
    return _Shard(path, footer, schema, image, labelled)


def _holds_bytes(column: pa.DataType) -> bool:
    if not pa.types.is_struct(column) or column.get_field_index("bytes") < 0:
        return False
    inner = column.field("bytes").type
    return pa.types.is_binary(inner) or pa.types.is_large_binary(inner)


def _read_group(shard: _Shard, group: int) -> _Rows:
    columns = [f"{shard.image}.bytes"] + ["label"] * shard.labelled
    with pq.ParquetFile(shard.path, metadata=shard.footer) as file:
        table = file.read_row_group(group, columns=columns)
    content = pc.struct_field(table[shard.image], "bytes")
    return _Rows(content, _known(table["label"].to_pylist()) if shard.labelled else [None] * len(table))


def _known(labels: list[int | None]) -> list[int | None]:
    return [None if label is None or label < 0 else label for label in labels]


def _num_classes(shards: list[_Shard]) -> int | None:
    """The number of class names in Hugging Face's metadata, or the largest label plus one; None without labels."""
    named = [count for shard in shards if (count := _class_names(shard.schema))]
    if named:
        return max(named)
    largest = max((_largest_label(shard) for shard in shards if shard.labelled), default=-1)
    return largest + 1 if largest >= 0 else None


def _class_names(schema: pa.Schema) -> int:
    """The number of names of the ClassLabel feature `label` in the schema's metadata; 0 if there are none."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return len(features["label"]["names"])
    except (KeyError, TypeError, ValueError, RecursionError):  # none, or in another format
        return 0


def _largest_label(shard: _Shard) -> int:
    """From the footer's statistics if they are complete, otherwise from the column itself; -1 without labels."""
    footer = shard.footer
    column = next(i for i in range(footer.num_columns) if footer.schema.column(i).path == "label")
    groups = [footer.row_group(group).column(column).statistics for group in range(footer.num_row_groups)]
    if all(statistics is not None and statistics.has_min_max for statistics in groups):
        return max((statistics.max for statistics in groups), default=-1)
    largest = pc.max(_label_column(shard)).as_py()
    return -1 if largest is None else largest


def _labels(shard: _Shard) -> list[int | None]:
    return _known(_label_column(shard).to_pylist()) if shard.labelled else [None] * shard.footer.num_rows


def _label_column(shard: _Shard) -> pa.ChunkedArray:
    try:
        with pq.ParquetFile(shard.path, metadata=shard.footer) as file:
            return file.read(columns=["label"])["label"]
    except (pa.ArrowException, OSError) as error:
        raise RaysmoothError(
            f"the column label of {shard.path} is damaged ({portable_reason(error)}): fetch or write it again"
        ) from None
