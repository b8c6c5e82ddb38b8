"""The labels of a Parquet set: in which column they are, and what its values mean."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.data.reading import NO_LABELS

LABEL = "label"

_LIKELY = re.compile(r"label|class|target|categor|species", re.IGNORECASE)


@dataclass(frozen=True)
class LabelColumn:
    """The column `name` of labels: whole numbers, or with `is_text` names. `names` are those of Hugging Face's
    ClassLabel, in the order of the numbers; there are none if one of them, `repeated`, is there twice. `others` could
    be labels as well.
    """

    name: str
    is_text: bool
    names: tuple[str, ...]
    others: tuple[str, ...]
    repeated: str | None = None


def label_column(what: str, schema: pa.Schema, wanted: str | None) -> LabelColumn | None:
    """The column of labels in `schema`: `wanted`, else `label`, else the only one that may be it; None for images
    without labels. `what` names the file in messages. Raises RaysmoothError for a column that is missing or holds
    neither whole numbers nor text, and where there is a choice.
    """
    columns = ", ".join(f"{printable(field.name)}: {field.type}" for field in schema)
    if wanted == NO_LABELS:
        return None
    features = _features(schema)
    likely = [field.name for field in schema if _fits(field.type) and _is_likely(field.name, features)]
    name = wanted if wanted is not None else LABEL
    if name not in schema.names:
        if wanted is not None:
            raise RaysmoothError(f"{what} has no column for --label-column {printable(wanted)}: it has {columns}")
        if not likely:
            return None
        if len(likely) > 1:
            found = ", ".join(map(printable, likely))
            raise RaysmoothError(
                f"{what} has no column label, there are {found}: write --label-column {printable(likely[0])}, say, or "
                f"--label-column {NO_LABELS}"
            )
        name = likely[0]
    if not _fits(schema.field(name).type):
        raise RaysmoothError(
            f"the column {printable(name)} of {what} is neither of whole numbers nor of text; it has {columns}: write "
            f"--label-column with another, or {NO_LABELS}"
        )
    is_text = _is_text(schema.field(name).type)
    names = () if is_text else _names_of(features.get(name))
    repeated = next((one for one, count in Counter(names).items() if count > 1), None)
    others = tuple(other for other in likely if other != name)
    return LabelColumn(name, is_text, names if repeated is None else (), others, repeated)


def one_of_all(what: Sequence[str], found: Sequence[LabelColumn | None]) -> LabelColumn | None:
    """The column that all files of a set have. Raises RaysmoothError, naming a file of `what`, where they differ."""
    first = next((column for column in found if column and column.names), found[0])
    for file, column in zip(what, found, strict=True):
        if (first is None) != (column is None) or (first and column and first.name != column.name):
            names = [printable(one.name) if one else "none" for one in (first, column)]
            raise RaysmoothError(
                f"the label column of {file} is {names[1]}, that of other files {names[0]}: write --label-column"
            )
        if first and column and (first.is_text != column.is_text or column.names not in ((), first.names)):
            raise RaysmoothError(
                f"the column {printable(first.name)} of {file} has other classes than that of other files: they are "
                "not of one data set"
            )
    return first


def label_of(value: int | bool | str | None, places: Mapping[str, int] | None) -> int | None:
    """The label for a `value` of the column: by its name in `places`, if there are any. None for null and for negative
    numbers, which Hugging Face's hidden test sets have.
    """
    if value is None:
        return None
    if places is not None:
        return places.get(str(value))
    return int(value) if int(value) >= 0 else None


def _fits(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_boolean(kind) or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_likely(name: str, features: dict[str, Any]) -> bool:
    feature = features.get(name)
    declared = isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    return declared or _LIKELY.search(name) is not None


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Hugging Face's features in the schema's metadata, by column; empty where there are none."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):  # none, or in another format
        return {}
    return features if isinstance(features, dict) else {}


def _names_of(feature: Any) -> tuple[str, ...]:
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(str(name) for name in names) if isinstance(names, list) else ()
