"""Data sets in Parquet files, as Hugging Face lays them out, read a row group at a time."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysmooth.common.errors import RaysmoothError, counted, printable, stored_text
from raysmooth.pipeline.data.facts import Facts
from raysmooth.pipeline.data.images import (
    GREY,
    RGB,
    Cut,
    Example,
    UnreadableImage,
    decode,
    header_of,
    identity,
    listed,
    pixels,
    portable_reason,
)
from raysmooth.pipeline.data.label_column import LABEL, label_of, one_of_all
from raysmooth.pipeline.data.parquet_files import Shard, files_of, label_chunks, label_values, largest_label, open_shard
from raysmooth.pipeline.data.reading import Reading

HELD_GROUPS = 2  # row groups in memory: the current one, and its neighbour for readers that go back and forth


@dataclass(frozen=True)
class _Rows:
    """A row group in memory: encoded images, the values of the label column (None for images without), and the names
    of files that images were made of, where the file keeps them.
    """

    content: pa.ChunkedArray
    values: list[Any]
    files: list[str | None]


class ParquetDataset:
    """The rows of some Parquet files, one after the other. Memory stays at `HELD_GROUPS` row groups.

    All images have the same number of channels: 3 where any of them has, unless the user says otherwise. EXIF
    orientation is applied, as Hugging Face's library does. A null or negative label (Hugging Face's -1 in hidden test
    sets) counts as none; text labels are numbered in the order of the sorted names. No file stays open, so that there
    may be thousands.
    """

    def __init__(self, name: str, split: str, shards: list[Shard], reading: Reading) -> None:
        self.name = name
        self.split = split
        self.framing = reading.framing
        self.recoloured = reading.channels
        self._shards = shards
        self._column = one_of_all([str(shard.path) for shard in shards], [shard.labels for shard in shards])
        self._column_named = reading.label_column is not None
        self._labels: list[int | None] | None = None  # read on request
        self._groups: list[tuple[Shard, int]] = []
        self._starts: list[int] = []  # of each row group, its first row's index in the data set
        self._first_rows: list[int] = []  # of each row group, its first row's number in its file
        self._length = 0
        for shard in shards:
            row = 0
            for group in range(shard.footer.num_row_groups):
                self._groups.append((shard, group))
                self._starts.append(self._length)
                self._first_rows.append(row)
                self._length += shard.footer.row_group(group).num_rows
                row += shard.footer.row_group(group).num_rows
        self._held: OrderedDict[int, _Rows] = OrderedDict()

    @cached_property
    def num_classes(self) -> int | None:
        """The number of class names, or the largest label plus one; None without labels."""
        if self._column is None:
            return None
        if self._places is not None:
            return len(self._places) or None
        return max(len(self._column.names), self._largest + 1) or None

    @cached_property
    def _largest(self) -> int:
        """The largest label of a column of numbers; -1 if there is none."""
        return max((largest_label(shard, self._column) for shard in self._shards if self._column), default=-1)

    @cached_property
    def channels(self) -> int:
        """Of all images: as the user says, else 3 unless all are grey, for which all their headers are read."""
        if self.recoloured is not None:
            return self.recoloured
        headers = (header_of(content) for index in range(self._length) if (content := self._content(index)))
        found = {RGB: 0, GREY: 0}
        for header in headers:
            if header is not None:
                found[header.channels] += 1
                if header.channels == RGB:
                    return RGB
        return GREY if found[GREY] else RGB

    @property
    def facts(self) -> Facts:
        column, exif = self._column, "EXIF orientation applied, as Hugging Face's datasets does"
        if column is None:
            return Facts(None, exif=exif, notes=self._unused())
        order = None
        if self._places is not None:
            order = "sorted names"
        elif column.names:
            order = "ClassLabel of Hugging Face"
        names = dict(enumerate(map(printable, self._places or column.names)))
        notes: tuple[str, ...] = ()
        if not self._column_named and column.name != LABEL:
            notes = (f"no column is named label: labels are those of the column {printable(column.name)}",)
        elif not self._column_named and column.others:
            others = ", ".join(map(printable, column.others))
            notes = (f"labels are those of the column label: write --label-column if you mean {others}",)
        if column.names and self._largest >= len(column.names):
            notes += (
                f"the column {printable(column.name)} has labels up to {self._largest}, but ClassLabel of Hugging Face "
                f"names only {counted(len(column.names), 'class')}: the names may be those of other labels",
            )
        if column.repeated is not None:
            notes += (
                f"the names that ClassLabel of Hugging Face has for the column {printable(column.name)} are left out, "
                f"since '{printable(column.repeated)}' is there twice: write --classes FILE for others",
            )
        return Facts(f"column {printable(column.name)}", order, names, self._places is not None, exif=exif, notes=notes)

    def _unused(self) -> tuple[str, ...]:
        """What to say of a set without labels: its other columns."""
        others = [name for name in self._shards[0].schema.names if name != self._shards[0].image]
        if not others or self._column_named:
            return ()
        found = ", ".join(map(printable, others[:8]))
        return (f"no column is named label, there are {found}: the images have no labels",)

    def place(self, index: int) -> str:
        """The file that the image was made of, if the set keeps its name; otherwise its part and row."""
        position = self._position(index)
        held = self._held.get(position)  # not read for its name: a group may be large
        if held is not None and (file := held.files[index - self._starts[position]]):
            return stored_text(file)
        row = index - self._starts[position] + self._first_rows[position]
        return stored_text(f"{self._groups[position][0].path.name}, row {row}")

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> Example:
        values, label = self._decoded(index, self.framing)
        return Example(pixels(values), label)

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        return self._decoded(index, cut or self.framing)[0]

    def labels(self) -> list[int | None]:
        if self._labels is None:
            values = (label_values(shard, self._column) for shard in self._shards)
            labels = [label_of(value, self._places) for of_shard in values for value in of_shard]
            classes = self.num_classes or 0
            if (largest := max((label for label in labels if label is not None), default=-1)) >= classes > 0:
                raise self._unnamed(largest, classes)  # the footer's statistics say something else
            self._labels = labels
        return self._labels

    def _unnamed(self, label: int, classes: int) -> RaysmoothError:
        column = printable(self._column.name) if self._column else "none"
        return RaysmoothError(
            f"{self.name}: a label in the column {column} is {label}, but there {'is' if classes == 1 else 'are'} "
            f"{counted(classes, 'class')}: fetch or write the files again, or write another --label-column"
        )

    def raw(self, index: int) -> bytes:
        try:
            content, label = self._row(index)
        except UnreadableImage:
            return identity(None, None)
        return self._changed(content) + identity(content, label)

    def listed(self, index: int) -> bytes:
        position = self._position(index)
        shard, group = self._groups[position]
        size = shard.footer.row_group(group).total_byte_size  # Parquet records no size of a single row
        row = index - self._starts[position]
        return listed(f"{shard.path.name};{group};{row}", size, self.labels()[index])

    def _changed(self, content: bytes | None) -> bytes:
        """A mark, for the fingerprint, of an image whose pixels are not those of the file: turned, or recoloured."""
        header = header_of(content) if content else None
        if header is None:
            return b""
        turned = b"upright;" if header.turned else b""
        # `recoloured` is in the fingerprint already, and one image with 3 channels is enough for all to have 3.
        same = self.recoloured is not None or header.channels == RGB or self.channels == GREY
        return turned if same else turned + b"channels=3;"

    def _decoded(self, index: int, cut: Cut) -> tuple[np.ndarray, int | None]:
        try:
            content, label = self._row(index)
            if content is None:
                raise UnreadableImage(index, "no image bytes")
            return decode(index, content, cut, self.channels, upright=True), label
        except UnreadableImage as error:
            raise UnreadableImage(index, error.reason, self.place(index)) from None

    def _content(self, index: int) -> bytes | None:
        try:
            return self._row(index)[0]
        except UnreadableImage:
            return None

    @cached_property
    def _places(self) -> Mapping[str, int] | None:
        """Text labels by name: their places among the sorted names. None for labels that are numbers."""
        if self._column is None or not self._column.is_text:
            return None
        found = set().union(*(label_chunks(shard, self._column).unique().to_pylist() for shard in self._shards))
        return {name: place for place, name in enumerate(sorted(name for name in found if name is not None))}

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
                raise UnreadableImage(index, f"row group {group}: {reason}") from None
            self._held[position] = rows
        self._held.move_to_end(position)
        rows, row = self._held[position], index - self._starts[position]
        label = label_of(rows.values[row], self._places)
        if label is not None and label >= (self.num_classes or 0):
            raise UnreadableImage(index, f"label {label} of {self.num_classes or 0} classes")
        return rows.content[row].as_py(), label


def open_parquet(name: str, root: Path, split: str, reading: Reading) -> ParquetDataset:
    """Open one Parquet file, or those of `split` in a folder, without reading images.

    Raises RaysmoothError, naming the file, if no file is of that split, or one is not Parquet, is corrupt, lacks the
    columns, or has row groups too large for memory.
    """
    shards = [open_shard(name, path, reading.label_column) for path in files_of(name, root, split)]
    if not sum(shard.footer.num_rows for shard in shards):
        raise RaysmoothError(f"{name}: no rows in {root} for split '{split}'; write another --split or --data-root")
    return ParquetDataset(name, split, shards, reading)


def _read_group(shard: Shard, group: int) -> _Rows:
    columns = [f"{shard.image}.bytes"] + ([shard.labels.name] if shard.labels else [])
    table = None
    if shard.has_paths:
        with suppress(pa.ArrowException, OSError):  # images can do without
            table = _read(shard, group, [*columns, f"{shard.image}.path"])
    has_paths = table is not None
    table = table if table is not None else _read(shard, group, columns)
    content = pc.struct_field(table[shard.image], "bytes")
    unknown: list[Any] = [None] * len(table)
    files, labels = unknown, table[shard.labels.name].to_pylist() if shard.labels else unknown
    if has_paths:
        with suppress(ValueError):  # bytes that are not UTF-8
            files = pc.struct_field(table[shard.image], "path").to_pylist()
    return _Rows(content, labels, files)


def _read(shard: Shard, group: int, columns: list[str]) -> pa.Table:
    with pq.ParquetFile(shard.path, metadata=shard.footer) as file:
        return file.read_row_group(group, columns=columns)
