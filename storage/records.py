"""Records: small JSON files that raysmooth wrote, read as if anything could be in them.

Each kind is a model whose fields have types and ranges. Facts of other versions are kept, and checked by no one.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.storage.location import Location

MOST_BYTES = 16 * 2**20
"""The largest record that is read."""

MOST_DIGITS, MOST_LEVELS = 1000, 100
"""The longest number in a record, and how deep its values may be nested."""

AnyRecord = TypeVar("AnyRecord", bound="Record")


class BadRecord(RaysmoothError):
    """A file is not the record that it should be. The message names it and, if there is one, the key."""


class UnreadableRecord(BadRecord):
    """The file cannot be read at all."""


class Record(BaseModel):
    """Base of records: values are not converted, and unknown keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


def _of_length(most: int) -> AfterValidator:
    def check(text: str) -> str:
        if len(text) > most:
            raise ValueError(f"a text of at most {most:,} characters")
        return text

    return AfterValidator(check)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text without control characters")
    return text


Name = Annotated[str, _of_length(1000), AfterValidator(_printable)]
"""A text that is shown, such as a network with its options, which may be paths."""

ShortName = Annotated[str, _of_length(200), AfterValidator(_printable)]
"""One that becomes part of rows and tables."""

PathText = Annotated[str, _of_length(20_000)]
"""A path or URL, which may hold any character; it is shown through `printable`."""

RunId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=10**15)]
Number = Annotated[int, Field(ge=1, le=10**15)]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, lt=1e9)]
Seconds = Annotated[float, Field(ge=0, lt=1e12)]


def read_json(file: Location | Path, most: int = MOST_BYTES, where: str | None = None) -> Any:
    """The JSON value in a file. Raises FileNotFoundError, UnreadableRecord for what is no regular file of at most
    `most` bytes, and BadRecord as `parsed`, whose `where` is by default the file.
    """
    place = file if isinstance(file, Location) else Location(str(file))
    try:
        content = place.read_bytes(most=most)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableRecord(f"{shown_path(file)} cannot be read ({error.strerror or one_line(error)})") from None
    return parsed(content, where or shown_path(file))


def parsed(content: bytes | str, where: str) -> Any:
    """The JSON value in `content`. Raises BadRecord, naming `where`, for other text, for keys that are there twice, and
    for numbers and depths that no record has.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refused, parse_int=_whole, parse_float=_finite
        )
        _refuse_deep(value)
    except BadRecord as refusal:
        raise BadRecord(f"{where}: {refusal}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else printable(one_line(error))
        raise BadRecord(f"{where}: not JSON ({reason})") from None
    return value


def validated(model: type[AnyRecord], value: Any, where: str) -> AnyRecord:
    """`value` as a `model`. Raises BadRecord, in one line: `where`, the key, what is expected, what is there."""
    if not isinstance(value, Mapping):
        raise BadRecord(f"{where}: holds {shown(value)}, expected an object with keys")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    key = ".".join(printable(str(part)) for part in first["loc"])
    if first["type"] == "missing":
        raise BadRecord(f"{where}: lacks the key {key}")
    raise BadRecord(f"{where}: {key} is {shown(first['input'])}, expected {_expected(first)}")


_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object with keys",
    "model_type": "an object with keys",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "{ge} or more",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "at most {le}",
    "string_too_long": "a text of at most {max_length} characters",
    "too_long": "at most {max_length} of them",
    "too_short": "at least {min_length} of them",
    "string_pattern_mismatch": "a text like {pattern}",
}


def _expected(error: Any) -> str:
    """What pydantic expected, in plain words."""
    if (words := _EXPECTED.get(error["type"])) is not None:
        return words.format(**error.get("ctx", {}))
    return printable(str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be "))


def read_record(model: type[AnyRecord], file: Location | Path, most: int = MOST_BYTES) -> AnyRecord:
    """The record in a file. Raises as `read_json` and `validated`."""
    return validated(model, read_json(file, most), shown_path(file))


def shown(value: Any) -> str:
    """A value of a record, short and printable."""
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 3:
        return f"a list of {len(value)}"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return printable(text if len(text) <= 60 else f"{text[:57]}...")


def shown_path(path: Location | Path | str) -> str:
    """A path in messages, whatever characters it has."""
    text = str(path)
    return text if text.isprintable() else printable(text)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        twice = next(key for key in times if times[key] > 1)
        raise BadRecord(f"has the key {shown(twice)} twice")
    return found


def _refused(name: str) -> float:
    raise BadRecord(f"holds {name}, which is no number")


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise BadRecord(f"holds a number of {len(text):,} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadRecord(f"holds {printable(text[:40])}, which is no number")
    return number


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecursionError
