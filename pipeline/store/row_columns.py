"""The columns of rows as arrays, whatever their nulls, and how a wrong one is described."""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.storage.records import shown

WHOLE = (
    *("n0", "n", "images", "image_id", "label", "prediction", "count_top", "count_rejected", "n_used", "draws"),
    *("top_k", "prediction_top_k", "count_label"),
)
_REAL = (
    *("sigma", "image_sigma", "alpha", "alpha_share"),
    *("radius", "worst_radius", "p_lower", "p_upper", "p_value", "seconds"),
    *("radius_top_k", "label_radius_top_k"),
)
_FLAGS = ("abstain", "correct", "reference")
TEXTS = ("file", "label_name", "prediction_name")
"""Columns that name an image and its classes; rows of earlier versions lack them."""

LONGEST = 4096
"""Characters of such a name (`stored_text`)."""

Rule = tuple[str, np.ndarray, Any]
"""A column, the rows in which it is wrong, and what is expected: a text, or the values that it should have."""


DECIDE = re.compile(r"decide:radius=([0-9.eE+-]{1,40})")


class Columns:
    """Columns as arrays, whatever their nulls."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows, self._names = rows, {*rows.column_names}
        self._numbers: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def has(self, *names: str) -> bool:
        return self._names.issuperset(names)

    def wrong_type(self) -> str | None:
        kinds: tuple[tuple[tuple[str, ...], str, Callable[[pa.DataType], bool]], ...] = (
            (WHOLE, "whole numbers", lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind)),
            (_REAL, "numbers", lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind)),
            (_FLAGS, "true or false", pa.types.is_boolean),
            (TEXTS, "text", lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind)),
        )
        for names, expected, fits in kinds:
            for name in names:
                if self.has(name) and not (fits(kind := self._rows.schema.field(name).type) or pa.types.is_null(kind)):
                    return f"has {name} of type {kind}, expected {expected}"
        return None

    def numbers(self, name: str) -> np.ndarray:
        """Float64 (N,), NaN for null; all NaN for a column that is not there."""
        if name not in self._numbers:
            if not self.has(name) or pa.types.is_null(self._rows.schema.field(name).type):
                self._numbers[name] = np.full(len(self), np.nan)
            else:
                self._numbers[name] = self._rows[name].to_numpy().astype(float, copy=False)
        return self._numbers[name]

    def known(self, name: str) -> np.ndarray:
        """Which values are not null; bool (N,)."""
        if not self.has(name):
            return np.zeros(len(self), bool)
        column = self._rows[name]
        return np.ones(len(self), bool) if column.null_count == 0 else column.is_valid().to_numpy()

    def flags(self, name: str) -> np.ndarray:
        """Bool (N,), false for null."""
        if pa.types.is_null(self._rows.schema.field(name).type):
            return np.zeros(len(self), bool)
        return np.asarray(pc.fill_null(self._rows[name], False).to_numpy())

    def odd_texts(self, name: str) -> np.ndarray:
        """Where a column of TEXTS is empty, too long, or would not stay one line; bool (N,), false for null."""
        if pa.types.is_null(self._rows.schema.field(name).type):
            return np.zeros(len(self), bool)
        column = self._rows[name]
        length = pc.utf8_length(column)
        odd = pc.or_(pc.equal(length, 0), pc.greater(length, LONGEST))
        odd = pc.or_(odd, pc.match_substring_regex(column, r"[\x00-\x1f\x7f]"))
        return np.asarray(pc.fill_null(odd, False).to_numpy())

    def codes(self, name: str) -> tuple[np.ndarray, list[Any]]:
        """The values that a column has, and which of them each row has, -1 for null; int (N,)."""
        column = self._rows[name].combine_chunks().dictionary_encode()
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        codes = pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False)
        return np.asarray(codes), column.dictionary.to_pylist()

    @cached_property
    def levels(self) -> np.ndarray:
        """Sigma of each row: the image's own where it has one, else the run's; float64 (N,), NaN where unknown."""
        own = self.numbers("image_sigma")
        return np.where(np.isnan(own), self.numbers("sigma"), own)

    @cached_property
    def sigma_rule(self) -> str | None:
        """The rule of all rows, as they are one run's."""
        rule = self.fact("sigma_rule")
        return rule if isinstance(rule, str) else None

    def fact(self, name: str) -> Any:
        """The value of the first row."""
        return self._rows[name][0].as_py() if self.has(name) else None

    @cached_property
    def failed(self) -> np.ndarray:
        return self.equals("status", "error")

    def equals(self, name: str, text: str) -> np.ndarray:
        """Where a column of texts has this one; bool (N,)."""
        if not self.has(name) or pa.types.is_null(self._rows.schema.field(name).type):
            return np.zeros(len(self), bool)
        column = self._rows[name]
        column = column if not pa.types.is_dictionary(column.type) else column.cast(pa.string())
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return np.zeros(len(self), bool)
        return np.asarray(pc.fill_null(pc.equal(column, text), False).to_numpy())

    def differs(self, name: str, value: Any) -> np.ndarray:
        if isinstance(value, str):
            return ~self.equals(name, value)
        if value is None:
            return self.known(name)
        return self.numbers(name) != value

    def describe(self, name: str, row: int, expected: Any) -> str:
        """One line: the column, the image, what is there, what is expected."""
        image = self._rows["image_id"][row].as_py() if self.has("image_id") else None
        of = "" if name == "image_id" or image is None else f" of image {shown(image)}"
        if isinstance(expected, np.ndarray):
            expected = f"{expected[row]:.6g}"
        found = self._rows[name][row].as_py() if self.has(name) else None
        return f"has {name} {_short(found)}{of}, expected {expected}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shown(value)
