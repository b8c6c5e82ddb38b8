"""Certification logs as the scripts of this field write them: tab-separated text, one line per image.

The columns are those of certify.py of Cohen et al. 2019, `idx label predict radius correct time`, in any order, with or
without others; certify.py prints radii with three digits, rounded up as often as down. Runs that were killed, or
started again on the same file, leave truncated lines, repeated headers and duplicate images. Tools differ in how they
write an abstention: `predict` -1 or -2, radius 0, none or negative.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from raysmooth.common.errors import RaysmoothError, nearest, printable
from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.storage.paths import refuse_no_path

RADIUS = "radius"
NEEDED = ("idx", "label", "predict", RADIUS)
USED = (*NEEDED, "correct", "time", "sigma")

REJECTED = -2
"""A second label for abstentions, by which some tools distinguish images that they rejected from close counts."""

LARGEST_WHOLE = 2**53 - 1
"""Largest image id and label that rows can have."""

LARGEST = 2**29
"""Bytes of the largest log that is read, some 20 million lines."""

# What was left out of a log, and why.
TRUNCATED = "left out, cut off by the end of the file or of the run that wrote it"
HEADER = "left out, the header again, from a run that was started again"
DUPLICATE = "left out, a duplicate image; the first certificate counts, so that none was chosen by its result"
NO_END = "last field left out, as no line end follows and it may be cut off"
NO_TIME = "time left out, as it is neither seconds nor h:mm:ss"

# What was read otherwise than it is written.
OTHER_ABSTENTION = f"predict {REJECTED}, counted as an abstention"
NEGATIVE = "a class with a negative radius, counted as an abstention"
NO_RADIUS = "an abstention whose radius is negative or no number, taken as 0"

_WANTED = f"write the path of a tab-separated log with the columns {', '.join(NEEDED)}"
_REMEDY = "nothing was imported; correct the line, or ask the log's author"
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CLOCK = re.compile(r"(?:([0-9]+) days?, )?([0-9]+):([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]*)?)")
_TRUTH = {"0": False, "1": True, "false": False, "true": True}
_MOST_NAMES = 20
_NOTHING = ("", "-", "nan", "none", "null", "-inf")


class NoCertificates(RaysmoothError):
    """A log that its run has not written a certificate to yet."""


@dataclass(frozen=True)
class LogLine:
    """One image's certificate. `number` is its line in the file, from 1; `prediction` is a class, or ABSTAIN with
    `radius` 0; `seconds` and `sigma` are None where the log does not record them.
    """

    number: int
    image_id: int
    label: int
    prediction: int
    radius: float
    seconds: float | None
    sigma: float | None


@dataclass(frozen=True)
class CertificationLog:
    """The content of a log. `lines` are in its order, each image once; `left_out` maps a description to the numbers of
    the lines that were left out wholly or in part for that reason, `reread` to those that count otherwise than they are
    written; `ignored` are columns irrelevant to certificates; `sigma` is that of the column `sigma`, if there is one;
    `sha256` is the hash of the file, `radius_column` the name of the column that holds the radius. With `own_levels`
    the lines have a sigma each, and the log has none.
    """

    path: Path
    sha256: str
    lines: list[LogLine]
    left_out: dict[str, list[int]]
    ignored: list[str]
    sigma: float | None
    reread: dict[str, list[int]] = field(default_factory=dict)
    radius_column: str = RADIUS
    own_levels: bool = False

    @property
    def shown(self) -> str:
        """The path for messages."""
        return printable(str(self.path))


def read_log(path: str | Path, radius_column: str = RADIUS, own_levels: bool = False) -> CertificationLog:
    """Read one log, its radii from the column `radius_column`. With `own_levels` its column sigma has the level of each
    image. A last line without a line end, as a killed run leaves
    it, is left out if a field is missing or the last is one that is needed; otherwise only its last field is. Of an
    image listed twice the first line counts. A class with a negative radius counts as an abstention.

    Raises NoCertificates for a log without a complete line; RaysmoothError, naming file and line, for a file that is
    not such a log, and for an impossible line: marked correct, but not of the label's class; an abstention with a
    radius; a class with a radius that is not a number; a second label for the same image; a second sigma, without
    `own_levels`, and a log without sigmas with it.
    """
    if not os.path.exists(path):
        refuse_no_path(str(path))
    file, radius_column = Path(path), radius_column.strip().lower()
    path = printable(str(file))
    if radius_column in ("idx", "label", "predict", "correct", "time", "sigma"):
        raise RaysmoothError(f"--radius-column {radius_column}: that column is no radius: name the one that is")
    content = _content(file, path)
    lines = _lines(path, content)
    begin, header = _header(path, lines, radius_column)
    # A column called radius beside the one that was asked for is one more that is ignored.
    columns = [RADIUS if name == radius_column else f"{name} " if name == RADIUS else name for name in header]
    left_out: dict[str, list[int]] = defaultdict(list)
    reread: dict[str, list[int]] = defaultdict(list)
    found: dict[int, LogLine] = {}
    for number, fields in _whole_fields(path, lines, begin, columns, left_out):
        line = _parsed(f"{path}, line {number}", number, fields, reread)
        first = found.setdefault(line.image_id, line)
        one = next(iter(found.values()))
        if line.label != first.label:
            raise RaysmoothError(
                f"{path}, line {number}: image {line.image_id} has label {line.label}, but {first.label} on line "
                f"{first.number}: these are runs on different data; split the file"
            )
        if not own_levels and None not in (line.sigma, one.sigma) and line.sigma != one.sigma:
            raise RaysmoothError(
                f"{path}, line {number}: sigma is {line.sigma}, but {one.sigma} on line {one.number}: one run has "
                "one smoothed classifier; split the file by sigma, or write --image-sigmas if each image has its own"
            )
        if own_levels and not (line.sigma or 0) > 0:
            wrong = "has no column sigma" if line.sigma is None else f"has sigma {line.sigma:g}"
            raise RaysmoothError(
                f"{path}, line {number} {wrong}: leave --image-sigmas out, or name a log with each image's sigma"
            )
        if line is not first:
            left_out[DUPLICATE].append(number)
        if line.seconds is None and fields.get("time") is not None:
            left_out[NO_TIME].append(number)
    if not found:
        raise NoCertificates(
            f"{path} has no complete line below its header: import it after the first image is certified"
        )
    ignored = [printable(column.strip()) for column in columns if column not in USED]
    return CertificationLog(
        file,
        hashlib.sha256(content).hexdigest(),
        list(found.values()),
        dict(left_out),
        ignored,
        None if own_levels else next(iter(found.values())).sigma,
        _of_lines(reread, {line.number for line in found.values()}),
        radius_column,
        own_levels,
    )


def _of_lines(numbers: dict[str, list[int]], kept: set[int]) -> dict[str, list[int]]:
    """`numbers` without the lines of duplicate images, which count for nothing."""
    return {what: own for what, all_lines in numbers.items() if (own := [line for line in all_lines if line in kept])}


def _content(file: Path, path: str) -> bytes:
    try:
        if file.is_dir():
            raise RaysmoothError(f"{path} is a folder: name the logs in it, such as {path}/*.tsv")
        if file.exists() and not file.is_file():
            raise RaysmoothError(f"{path} is not a regular file: {_WANTED}")
        if (size := file.stat().st_size) > LARGEST:
            raise RaysmoothError(f"{path} has {size:,} bytes, which no log has ({LARGEST:,} at most): {_WANTED}")
        return file.read_bytes()
    except PermissionError:
        raise RaysmoothError(f"{path} cannot be read (permission denied): make it readable") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise RaysmoothError(f"{path}: {getattr(error, 'strerror', None) or error}: {_WANTED}") from None


def _lines(path: str, content: bytes) -> list[str]:
    """The lines without their ends; the last is the rest after the last line end, usually ""."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RaysmoothError(f"{path} is not text: {_WANTED}") from None
    if not text.strip():
        raise NoCertificates(f"{path} is empty: {_WANTED}")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _header(path: str, lines: list[str], radius_column: str) -> tuple[int, list[str]]:
    """The index of the header line, and its columns in lower case."""
    begin = next(index for index, line in enumerate(lines) if line.strip())
    columns = [name.strip().lower() for name in lines[begin].split("\t")]
    needed = (*NEEDED[:-1], radius_column)
    missing = [name for name in needed if name not in columns]
    if missing and (separator := _separator(lines[begin], needed)) is not None:
        raise RaysmoothError(
            f"{path}, line {begin + 1}: the columns are separated by {separator}: logs are tab-separated, so "
            f"write tabs in place of the {separator}"
        )
    if missing == [radius_column]:
        raise _no_radius(path, columns, radius_column)
    if missing:
        raise RaysmoothError(
            f"{path}, line {begin + 1}: the header lacks {', '.join(map(printable, missing))}: {_WANTED}"
        )
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise RaysmoothError(f"{path}, line {begin + 1} has the column '{printable(twice)}' twice: rename one")
    return begin, columns


def _separator(header: str, needed: Sequence[str]) -> str | None:
    """What stands between the columns in place of tabs, if they are all there then."""
    for separator, name in ((",", "commas"), (";", "semicolons"), ("|", "bars"), (None, "spaces")):
        columns = [column.strip().strip('"').lower() for column in header.split(separator)]
        if set(needed) <= set(columns):
            return name
    return None


def _no_radius(path: str, columns: list[str], radius_column: str) -> RaysmoothError:
    others = [printable(name) for name in columns if name == RADIUS or (name and name not in USED)][:_MOST_NAMES]
    if not others:
        lacks = f"{path} has no column {printable(radius_column)}"
        return RaysmoothError(f"{lacks}: it is a log of predictions, not of certificates; {_WANTED}")
    known = nearest(radius_column, others)
    if radius_column != RADIUS:
        return RaysmoothError(f"--radius-column {printable(radius_column)}: {path} has no such column: {known}")
    return RaysmoothError(f"{path} has no column radius: if another holds it, write --radius-column NAME: {known}")


def _whole_fields(
    path: str, lines: list[str], begin: int, columns: list[str], left_out: dict[str, list[int]]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and fields, by column, of every complete line below the header; adds to `left_out`."""
    header = lines[begin]
    for number, line in enumerate(lines[begin + 1 :], begin + 2):
        fields, ended = line.split("\t"), number < len(lines)
        if not line.strip():
            continue
        if line.endswith(header):  # perhaps after the beginning of a line that the previous run did not finish
            left_out[HEADER].append(number)
            if line != header:
                left_out[TRUNCATED].append(number)
        elif len(fields) > len(columns) or (ended and len(fields) < len(columns)):
            raise RaysmoothError(
                f"{path}, line {number}: {len(fields)} fields, but {len(columns)} in the header: delete the line if a "
                "killed run left it, then import again"
            )
        elif ended:
            yield number, dict(zip(columns, fields, strict=True))
        elif len(fields) < len(columns) or columns[-1] in NEEDED or header.startswith(line):
            left_out[TRUNCATED].append(number)
        else:
            left_out[NO_END].append(number)
            yield number, dict(zip(columns[:-1], fields[:-1], strict=True))


def _parsed(place: str, number: int, fields: dict[str, str], reread: dict[str, list[int]]) -> LogLine:
    """The parsed line; adds to `reread`. Raises RaysmoothError for a field that cannot be read, and for contradictory
    fields.
    """
    image_id = _whole(place, fields, "idx", least=0)
    label = _whole(place, fields, "label", least=0)
    predicted = _whole(place, fields, "predict", least=REJECTED)
    radius, no_certificate = _radius(place, fields, abstains=predicted < 0)
    if predicted < 0 and radius > 0:
        raise RaysmoothError(
            f"{place}: an abstention (predict {predicted}) with radius {printable(fields[RADIUS])}: {_REMEDY}"
        )
    if no_certificate:
        reread[NO_RADIUS if predicted < 0 else NEGATIVE].append(number)
    if predicted == REJECTED:
        reread[OTHER_ABSTENTION].append(number)
    if "correct" in fields:
        correct = _TRUTH.get(fields["correct"].strip().lower())
        if correct is None:
            raise RaysmoothError(f"{place}: correct is '{printable(fields['correct'])}', neither 0 nor 1: {_REMEDY}")
        # Of a class with a negative radius the tool may have marked either: the class, or the abstention.
        if correct != (predicted == label) and (correct or not no_certificate):
            raise RaysmoothError(
                f"{place}: correct is {correct:d}, but label {label} and predict {predicted}: {_REMEDY}"
            )
    seconds = _seconds(fields["time"].strip()) if "time" in fields else None
    sigma = _real(place, fields, "sigma") if "sigma" in fields else None
    prediction = ABSTAIN if predicted < 0 or no_certificate else predicted
    return LogLine(number, image_id, label, prediction, radius, seconds, sigma)


def _radius(place: str, fields: dict[str, str], abstains: bool) -> tuple[float, bool]:
    """The radius, 0 or more, and whether the log has none here: a negative number or, for an abstention, no number."""
    if abstains and fields[RADIUS].strip().lower() in _NOTHING:
        return 0.0, True
    radius = _real(place, fields, RADIUS)
    return max(radius, 0.0), radius < 0


def _whole(place: str, fields: dict[str, str], column: str, least: int) -> int:
    text = fields[column].strip()
    if not _WHOLE.fullmatch(text) or int(text) < least:
        raise RaysmoothError(f"{place}: {column} is '{printable(text)}', not an integer >= {least}: {_REMEDY}")
    if int(text) > LARGEST_WHOLE:  # results with it would not be read again
        raise RaysmoothError(f"{place}: {column} is {text}, more than {LARGEST_WHOLE}: {_REMEDY}")
    return int(text)


def _real(place: str, fields: dict[str, str], column: str) -> float:
    text = fields[column].strip()
    if not _NUMBER.fullmatch(text) or not isfinite(float(text)):
        raise RaysmoothError(f"{place}: {column} is '{printable(text)}', not a number: {_REMEDY}")
    return float(text)


def _seconds(text: str) -> float | None:
    """'15.4', '0:02:31.238689' and '1 day, 0:00:13' (Python's timedelta) as seconds; None for anything else."""
    if _NUMBER.fullmatch(text) and 0 <= float(text) < float("inf"):
        return float(text)
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return 86_400 * days + 3600 * hours + 60 * minutes + seconds
    return None
