"""Whether rows can be a run's: types, ranges, and columns that agree with each other. One pass over whole columns."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysmooth.pipeline.certification.array_bounds import AT_MOST, RADII, lower_bounds, shares_of, upper_bounds
from raysmooth.pipeline.certification.certificate import ABSTAIN, NOISE_BOUNDS, REJECTION
from raysmooth.pipeline.store.sigma_rules import MEMORY_OF, class_share, envelope_levels, is_certified_rule
from raysmooth.storage.records import shown

_WHOLE = ("n0", "n", "images", "image_id", "label", "prediction", "count_top", "count_rejected", "n_used", "draws")
_REAL = (
    *("sigma", "image_sigma", "alpha", "alpha_share"),
    *("radius", "worst_radius", "p_lower", "p_upper", "p_value", "seconds"),
)
_FLAGS = ("abstain", "correct", "reference")
_CONCLUDED = (
    *("prediction", "radius", "worst_radius", "p_lower", "p_upper"),
    *("count_top", "count_rejected", "p_value"),
)
TEXTS = ("file", "label_name", "prediction_name")
"""Columns that name an image and its classes; rows of earlier versions lack them."""

LATER = (
    *TEXTS,
    *("rejector", "rejector_fingerprint", "noise_bound", "alpha_share", "count_rejected"),
    *("sigma_rule", "image_sigma", "worst_radius", "reference"),
)
"""Columns that rows of earlier versions lack."""

_LONGEST = 4096
"""Characters of such a name (`stored_text`)."""

_INDEX_SET = re.compile(
    r"all (?P<all>\d{1,15})|"
    r"every (?:image|(?P<skip>\d{1,15})(?:st|nd|rd|th)) of (?P<length>\d{1,15})(?:, (?P<first>\d{1,15}) to "
    r"(?P<last>\d{1,15}))? \((?P<number>\d{1,15}) images?\)"
)
_DECIDE = re.compile(r"decide:radius=([0-9.eE+-]{1,40})")

_CLOSE = 1e-6
"""Relative difference of radii and bounds that rounding, and other versions of SciPy, may make."""

_OPEN = ("sigma", "image_sigma", "alpha", "alpha_share")
"""Columns whose range does not hold its ends."""

_Rule = tuple[str, np.ndarray, Any]
"""A column, the rows in which it is wrong, and what is expected: a text, or the values that it should have."""


def index_set_of(text: str | None) -> range | None:
    """The image ids of an index set by its description (`IndexSet.describe`); None for another text."""
    found = _INDEX_SET.fullmatch(text or "")
    if found is None:
        return None
    if found["all"] is not None:
        return range(int(found["all"]))
    step, number = int(found["skip"] or 1), int(found["number"])
    ids = range(int(found["first"] or 0), int(found["last"] or int(found["length"]) - 1) + 1, step or 1)
    return ids if len(ids) == number else None


def row_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that have the same value in all rows of a run, by its manifest."""
    facts = {"rejector": None, "rejector_fingerprint": None, "sigma_rule": None, **manifest["identity"]}
    if "noise_bound" not in facts:  # then it is 1 - pA
        facts |= {"alpha_share": None, "p_upper": None}
    return {**facts, "objective": manifest["objective"]} if "objective" in manifest else facts


def bad_row(rows: pa.Table, facts: Mapping[str, Any] | None = None, num_classes: int | None = None) -> str | None:
    """What is wrong with the first wrong one of `rows`, which are those of one run, in one line; None if all can be
    what a run wrote. Columns that are not there are not checked.

    `facts`, if known, are columns that have the same value in all rows; `num_classes` is K, where labels are 0..K-1.
    """
    columns = _Columns(rows)
    if (wrong := columns.wrong_type()) is not None:
        return wrong
    if rows.num_rows == 0:
        return None
    for checks in (_ranges, _agreement, _names, _bounds):
        for name, bad, expected in checks(columns, num_classes):
            if bad.any():
                return columns.describe(name, int(np.argmax(bad)), expected)
    for name, value in (facts or {}).items():
        if name in rows.column_names and (bad := columns.differs(name, value)).any():
            return columns.describe(name, int(np.argmax(bad)), f"{shown(value)}, as in its manifest")
    return None


class _Columns:
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
            (_WHOLE, "whole numbers", lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind)),
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
        odd = pc.or_(pc.equal(length, 0), pc.greater(length, _LONGEST))
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


def _ranges(columns: _Columns, num_classes: int | None) -> Iterator[_Rule]:
    """Each column by itself."""
    fine = ~columns.failed
    if columns.has("status"):
        yield "status", fine & ~columns.equals("status", "ok"), "ok or error"
    least: dict[str, float] = {"n0": 1, "n": 1, "images": 1, "image_id": 0, "label": 0, "prediction": ABSTAIN}
    for name in _WHOLE:
        if columns.has(name):
            values, known = columns.numbers(name), columns.known(name)
            low = least.get(name, 0)
            yield name, known & ~((values >= low) & (values < 2**53) & (np.floor(values) == values)), f"{low:g} or more"
    for name in ("image_id", "prediction", "abstain", "radius"):
        if columns.has(name):
            yield name, ~columns.known(name) & (fine if name != "image_id" else True), "a value"
    for name, (low, high) in {
        "sigma": (0, inf),
        "image_sigma": (0, inf),
        "alpha": (0, 1),
        "alpha_share": (0, 1),
        "radius": (0, inf),
        "worst_radius": (0, inf),
        "p_lower": (0, 1),
        "p_upper": (0, 1),
        "p_value": (0, 1 + 1e-9),
        "seconds": (0, inf),
    }.items():
        if columns.has(name):
            values, known = columns.numbers(name), columns.known(name)
            inside = (values > low) & (values < high) if name in _OPEN else (values >= low)
            inside &= values <= high if high < inf else values < high
            yield name, known & ~inside, f"{low:g} to {high:g}" if high < inf else f"a finite number from {low:g} up"
    if columns.has("noise_bound"):
        known_bound = np.logical_or.reduce([columns.equals("noise_bound", bound) for bound in NOISE_BOUNDS])
        yield "noise_bound", columns.known("noise_bound") & ~known_bound, f"one of {', '.join(NOISE_BOUNDS)}"
    if num_classes is not None:
        for name in ("label", "prediction"):
            if columns.has(name):
                wrong = columns.known(name) & (columns.numbers(name) >= num_classes) & fine
                yield name, wrong, f"a class, 0 to {num_classes - 1}"


def _agreement(columns: _Columns, _: int | None) -> Iterator[_Rule]:
    """Columns that say the same thing, and image ids that are the run's."""
    failed, fine = columns.failed, ~columns.failed
    for name in _CONCLUDED:
        if columns.has(name):
            yield name, failed & columns.known(name), "none, as the image failed"
    if columns.has("prediction", "abstain"):
        abstains = columns.numbers("prediction") == ABSTAIN
        yield "abstain", fine & (columns.flags("abstain") != abstains), "true exactly where prediction is -1"
        if columns.has("radius"):
            yield "radius", fine & abstains & (columns.numbers("radius") > 0), "0, as it abstains"
    if columns.has("prediction", "label", "correct"):
        right = columns.numbers("prediction") == columns.numbers("label")
        labelled = columns.known("label") & columns.known("correct")
        yield "correct", fine & labelled & (columns.flags("correct") != right), "whether prediction is label"
        yield "correct", fine & ~columns.known("label") & columns.known("correct"), "none, as there is no label"
    for smaller, larger in (("count_top", "n_used"), ("n_used", "n"), ("n_used", "draws")):
        if columns.has(smaller, larger):
            yield smaller, columns.numbers(smaller) > columns.numbers(larger), f"at most {larger}"
    if columns.has("count_top", "count_rejected", "n_used"):
        left = columns.numbers("n_used") - columns.numbers("count_top")
        yield "count_rejected", columns.numbers("count_rejected") > left, "at most n_used - count_top"
    envelope = bool(envelope_levels(columns.sigma_rule))
    # Rows that join several rows, or were changed by others, have no counts of their own.
    joined = envelope or str(columns.fact("source")).startswith(MEMORY_OF)
    own_counts = fine & (columns.known("count_top") if joined else True)
    if columns.has("rejector", "count_rejected"):
        rejecting, counted = columns.known("rejector"), columns.known("count_rejected")
        yield "count_rejected", own_counts & rejecting & ~counted, "a number, as there is a rejector"
        yield "count_rejected", fine & ~rejecting & counted, "none, as there is no rejector"
    if columns.has("sigma_rule", "image_sigma"):
        own, ruled = columns.known("image_sigma"), columns.known("sigma_rule")
        yield "image_sigma", ~ruled & own, "none, as there is no sigma_rule"
        yield "image_sigma", fine & ruled & ~own & (not envelope), "a value, as there is a sigma_rule"
    if columns.has("worst_radius") and not envelope:
        yield "worst_radius", columns.known("worst_radius"), "none, as the row is no envelope's"
    decides = _DECIDE.fullmatch(str(columns.fact("sampling"))) is not None  # a radius, by no bounds
    if columns.has("noise_bound", "alpha_share", "p_upper") and not decides:
        splits = np.logical_or.reduce(
            [columns.equals("noise_bound", name) for name, bound in NOISE_BOUNDS.items() if bound.splits]
        )
        whole = columns.known("noise_bound") & ~splits
        for name, of in (("alpha_share", np.ones(len(columns), bool)), ("p_upper", own_counts)):
            yield name, splits & of & ~columns.known(name), "a value, as the other classes have a bound of their own"
            yield name, whole & of & columns.known(name), "none, as the other classes have no bound of their own"
    if columns.has("draws", "n0", "n"):
        yield "draws", columns.numbers("draws") > columns.numbers("n0") + columns.numbers("n"), "at most n0 + n"
    if columns.has("image_id"):
        ids = columns.numbers("image_id")
        known = index_set_of(columns.fact("index_set")) if isinstance(columns.fact("index_set"), str) else None
        if known is not None:
            if columns.has("images"):
                others = columns.known("images") & (columns.numbers("images") != len(known))
                yield "images", others, f"{len(known)}, as in '{columns.fact('index_set')}'"
            outside = (ids < known.start) | (ids >= known.stop) | ((ids - known.start) % known.step != 0)
            yield "image_id", outside, f"one of '{columns.fact('index_set')}'"


def _names(columns: _Columns, _: int | None) -> Iterator[_Rule]:
    """What images and classes are called: a class has one name in a run."""
    known: dict[int, str] = {}
    for name in TEXTS:
        if not columns.has(name):
            continue
        yield name, columns.odd_texts(name), f"a name of 1 to {_LONGEST:,} printable characters"
        number = name.removesuffix("_name")
        if number == name or not columns.has(number):
            continue
        numbers, named = columns.numbers(number), columns.known(name)
        yield name, named & ~(numbers >= 0), f"none, as there is no {number}"
        codes, names = columns.codes(name)
        labels, first, which = np.unique(numbers[named], return_index=True, return_inverse=True)
        firsts = zip(labels.tolist(), codes[named][first], strict=True)
        texts = [known.setdefault(int(label), names[code]) for label, code in firsts]
        places = {text: place for place, text in enumerate(names)}
        other = np.zeros(len(columns), bool)
        other[named] = codes[named] != np.array([places.get(text, -1) for text in texts], int)[which]
        if other.any():
            label = int(numbers[np.argmax(other)])
            yield name, other, f"{shown(known[label])}, the name of class {label} in other rows"


def _bounds(columns: _Columns, num_classes: int | None) -> Iterator[_Rule]:
    """Bounds and radii by what their counts, n, alpha and sigma give."""
    if not columns.has("radius", "noise", "norm", "sigma"):
        return
    if levels := envelope_levels(columns.sigma_rule):
        yield from _envelope_bounds(columns, levels)
        return
    radius, sigma, alpha = columns.numbers("radius"), columns.levels, columns.numbers("alpha")
    if np.isnan(sigma[~columns.failed]).any():
        return
    # Half of it is the level's where that was certified too, and the smaller of the two radii is the row's.
    alpha, both = alpha * class_share(columns.sigma_rule), is_certified_rule(columns.sigma_rule)
    count, used = columns.numbers("count_top"), columns.numbers("n_used")
    place = (str(columns.fact("noise")), str(columns.fact("norm")))
    decided = _DECIDE.fullmatch(str(columns.fact("sampling")))
    certified = ~columns.failed & ~columns.flags("abstain") if columns.has("abstain") else ~columns.failed
    if decided is not None:
        asked = float(decided[1])
        yield "radius", certified & (radius != asked), f"{asked:g}, the radius that the run decides"
        return
    own_bound = columns.known("p_upper")
    counted = ~np.isnan(count) & ~np.isnan(used) & ~np.isnan(alpha)
    of_top, of_others = shares_of(columns.numbers("alpha_share"), own_bound)
    level = alpha * of_top
    p_top = np.ones(len(columns))
    p_top[counted] = lower_bounds(count[counted].astype(int), used[counted].astype(int), level[counted])
    n = columns.numbers("n")
    planned = ~counted & ~np.isnan(n) & ~np.isnan(alpha)
    p_top[planned] = level[planned] ** (1 / n[planned])
    p_upper = columns.numbers("p_upper")
    if own_bound.any():
        exact = columns.equals("noise_bound", REJECTION)
        rejected = np.nan_to_num(columns.numbers("count_rejected"))
        for high, count_other in enumerate(_other_counts(count, used - count - rejected, exact, num_classes)):
            bound = np.ones(len(columns)) if high else np.zeros(len(columns))
            here = own_bound & counted & (used > 0)
            others = upper_bounds(count_other[here].astype(int), used[here].astype(int), (alpha * of_others)[here])
            bound[here] = np.minimum(others, 1 - p_top[here])
            wrong = p_upper > bound * (1 + _CLOSE) if high else p_upper < bound * (1 - _CLOSE)
            yield "p_upper", own_bound & wrong, bound
    p_other = np.where(own_bound, np.minimum(p_upper, 1 - p_top), 1 - p_top)
    if columns.has("p_lower"):
        known = counted & ~columns.failed
        yield "p_lower", known & ~_close(columns.numbers("p_lower"), p_top), p_top
    if columns.has("abstain"):
        unsure = (p_top < p_other - _CLOSE) & counted
        yield "abstain", certified & unsure, "true, as its counts show no class"
        sure = counted & ~columns.failed & ~certified & (p_top > p_other + _CLOSE)
        yield "abstain", sure & (not both), "false, by its counts"
    if place not in AT_MOST:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.maximum(AT_MOST[place](sigma, p_top, p_other), 0.0)
    most[~np.isfinite(most)] = 1e300  # any radius is below it
    # Rows of logs and of other tools have radii that were rounded, up as often as down.
    slack = np.where(counted, most * _CLOSE + 1e-12, 0.005 * most + 0.005)
    yield "radius", certified & (radius > most + slack), most
    if place in RADII and not both:
        yield "radius", certified & counted & (radius < most - slack), most


def _envelope_bounds(columns: _Columns, levels: tuple[float, ...]) -> Iterator[_Rule]:
    """Radii of an envelope of `levels`, and the worst of them: at most that of the largest level if all draws agreed,
    since a mean of radii of bounds that share alpha / len(levels) is no larger than the radius at all of it.
    """
    n, alpha = columns.numbers("n"), columns.numbers("alpha")
    place = (str(columns.fact("noise")), str(columns.fact("norm")))
    if place not in AT_MOST:
        return
    with np.errstate(invalid="ignore"):
        p_top = (alpha / len(levels)) ** (1 / n)
    most = np.maximum(AT_MOST[place](np.full(len(columns), max(levels)), p_top, 1 - p_top), 0.0)
    for name in ("radius", "worst_radius"):
        if columns.has(name):
            yield name, ~columns.failed & (columns.numbers(name) > most * (1 + _CLOSE) + 1e-12), most


def _other_counts(
    top: np.ndarray, others: np.ndarray, exact: np.ndarray, num_classes: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most draws from which the other classes were bounded: where `exact` all `others`, elsewhere
    those of the most frequent one of the classes that share them.
    """
    # Where no selection draw was kept, all classes share them, and the count of the class is 0.
    sharing = np.inf if num_classes is None else np.where(top > 0, num_classes - 1, num_classes)
    return np.where(exact, others, np.ceil(others / sharing)), others


def _close(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(values - expected) <= _CLOSE * np.abs(expected) + 1e-12)
