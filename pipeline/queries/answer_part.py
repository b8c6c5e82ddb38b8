"""The rows of logged answers in Parquet parts: their columns, and a part's file from answers and back."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer, checked, to_row
from raysmooth.pipeline.store.parts import content_of, write_part
from raysmooth.storage.location import Location

_TAG = pa.struct([("name", pa.string()), ("score", pa.float64()), ("parents", pa.list_(pa.string()))])
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("role", pa.int8()),
        ("draw", pa.int64()),
        ("image_id", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("tags", pa.list_(_TAG)),
        ("version", pa.string()),
        ("price", pa.int64()),
        ("attempts", pa.int64()),
        ("sent", pa.timestamp("us", "UTC")),
        ("answered", pa.timestamp("us", "UTC")),
        ("seconds", pa.float64()),
        ("pixels_sha256", pa.string()),
        ("picture_bytes", pa.int64()),
        ("raw", pa.string()),
        ("checksum", pa.int64()),
    ]
)
"""The columns of a part, by which its rows are sorted first. `price` is in billionths of a dollar."""

_COLUMNS = {"refused": "reason", "pixels": "pixels_sha256"}
_ALWAYS = ("image", "role", "draw", "status", "tags", "price", "attempts", "seconds", "raw", "checksum")
"""Columns without nulls."""

_OTHERS = ("status", *(_COLUMNS.get(field.name, field.name) for field in fields(LoggedAnswer)[2:]))
"""The status, then the columns of an answer's values after key and tags."""

GROUP = 1000
"""Rows that are read together: one image has a few groups."""

_NAME = re.compile(r"part-(\d{8})\.parquet")
_ORIGIN = b"raysmooth"


class AnswerPart:
    """The part of answers that were in the journal `number` of a query identity."""

    def __init__(self, file: Location, identity: str) -> None:
        """Raises RaysmoothError for a file that is no part of this identity."""
        self.file, self._identity = file, identity
        found = _NAME.fullmatch(file.name)
        if found is None:
            raise self.refusal("is no part of a query log by its name")
        self.number = int(found[1])

    @classmethod
    def of(cls, folder: Location, identity: str, number: int) -> "AnswerPart":
        return cls(folder / f"part-{number:08d}.parquet", identity)

    def write(self, answers: Iterable[LoggedAnswer]) -> None:
        """Replace the file, if there is one, by these answers. Raises as `write_part`."""
        rows = [to_row(answer) for answer in sorted(answers, key=lambda answer: answer.key)]
        write_part(self.file, pa.Table.from_pylist(rows, SCHEMA), self._origin, group=GROUP)

    def check(self) -> None:
        """Raises RaysmoothError if the file is corrupt, or was not written for this identity and number."""
        with self._corrupt_is_refused():
            schema = pq.read_schema(content_of(self.file))
            origin = json.loads((schema.metadata or {}).get(_ORIGIN, b"null"))
        if origin != self._origin:
            raise self.refusal("was not written by this query log")
        if not schema.remove_metadata().equals(SCHEMA):
            raise self.refusal("has other columns than this version of raysmooth writes")

    def columns(self, *names: str) -> pa.Table:
        """Some columns of all its rows."""
        with self._corrupt_is_refused():
            file = pq.ParquetFile(content_of(self.file), page_checksum_verification=True)
            return self._complete(file.read(columns=[*names]))

    def answers(self, image: str) -> list[LoggedAnswer]:
        """The answers to one image."""
        with self._corrupt_is_refused():
            file = pq.ParquetFile(content_of(self.file), page_checksum_verification=True)
            table = file.read_row_groups(
                [group for group in range(file.num_row_groups) if _may_hold(file, group, image)]
            )
            table = self._complete(table)
            return _answers(table.filter(pc.equal(table["image"], image)))

    def refusal(self, reason: str) -> RaysmoothError:
        return RaysmoothError(
            f"{self.file} {reason}: move it out of that folder and run the command again (answers in it are then asked "
            "for again)"
        )

    @property
    def _origin(self) -> dict[str, Any]:
        return {"kind": "queries", "identity": self._identity, "journal": self.number}

    def _complete(self, table: pa.Table) -> pa.Table:
        if empty := [name for name in _ALWAYS if name in table.column_names and table[name].null_count]:
            raise self.refusal(f"has rows without {empty[0]}")
        return table

    @contextmanager
    def _corrupt_is_refused(self) -> Iterator[None]:
        try:
            yield
        except PermissionError:
            raise self.refusal("cannot be read (permission denied)") from None
        except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
            raise self.refusal(f"is corrupt ({one_line(error, whole=True)})") from None


def _answers(table: pa.Table) -> list[LoggedAnswer]:
    """The answers in a table's rows, column by column: by rows it takes five times as long."""
    keys = zip(*(_listed(table[name]) for name in ("image", "role", "draw")), strict=True)
    others = zip(*(_listed(table[name]) for name in _OTHERS), strict=True)
    rows = zip(keys, _tags(table["tags"].combine_chunks()), others, _listed(table["checksum"]), strict=True)
    return [
        checked(LoggedAnswer(DrawKey(image, Role(role), draw), tags, *values), status, checksum)
        for (image, role, draw), tags, (status, *values), checksum in rows
    ]


def _tags(column: pa.ListArray) -> Iterator[tuple[Tag, ...]]:
    """The tags of each row."""
    tags = column.flatten()
    names, scores, parents = (tags.field(place) for place in range(3))
    if names.null_count or scores.null_count or parents.null_count:
        raise ValueError("a tag without name or score")
    each = map(Tag, _listed(names), _listed(scores), _lists(parents, _listed(parents.flatten())))
    yield from _lists(column, [*each])


def _lists(column: pa.ListArray, values: list[Any]) -> Iterator[tuple[Any, ...]]:
    ends = column.value_lengths().to_numpy(zero_copy_only=False).cumsum().tolist()
    return (tuple(values[start:end]) for start, end in zip([0, *ends], ends, strict=False))


def _listed(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """The values of a column, None where it has none."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if column.null_count and pa.types.is_integer(column.type):
        return column.to_pylist()  # as numbers of NumPy they would become floats
    array = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return array.tolist()


def _may_hold(file: pq.ParquetFile, group: int, image: str) -> bool:
    found = file.metadata.row_group(group).column(0).statistics
    return found is None or not found.has_min_max or found.min <= image <= found.max
