"""Whether rows can be a run's: types, ranges, and columns that agree with each other. One pass over whole columns."""

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

import numpy as np
import pyarrow as pa

from raysmooth.pipeline.certification.certificate import ABSTAIN, NOISE_BOUNDS
from raysmooth.pipeline.store.checks.top_k import TOP_K_COLUMNS, top_k_agreement, top_k_bounds
from raysmooth.pipeline.store.row_bounds import bounds_of_rows
from raysmooth.pipeline.store.row_columns import DECIDE, LONGEST, TEXTS, WHOLE, Columns, Rule
from raysmooth.pipeline.store.sigma_rules import MEMORY_OF, envelope_levels
from raysmooth.storage.records import shown

_CONCLUDED = (
    *("prediction", "radius", "worst_radius", "p_lower", "p_upper"),
    *("count_top", "count_rejected", "p_value"),
    *TOP_K_COLUMNS,
)
LATER = (
    *TEXTS,
    *("rejector", "rejector_fingerprint", "noise_bound", "alpha_share", "count_rejected"),
    *("sigma_rule", "image_sigma", "worst_radius", "reference"),
    *("top_k", *TOP_K_COLUMNS),
)
"""Columns that rows of earlier versions lack."""

_INDEX_SET = re.compile(
    r"all (?P<all>\d{1,15})|"
    r"every (?:image|(?P<skip>\d{1,15})(?:st|nd|rd|th)) of (?P<length>\d{1,15})(?:, (?P<first>\d{1,15}) to "
    r"(?P<last>\d{1,15}))? \((?P<number>\d{1,15}) images?\)"
)
_OPEN = ("sigma", "image_sigma", "alpha", "alpha_share")
"""Columns whose range does not hold its ends."""


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
    facts = {**dict.fromkeys(("rejector", "rejector_fingerprint", "sigma_rule", "top_k")), **manifest["identity"]}
    if "queries" in manifest:  # rows say more of a vision API: what the label rule is, and how pictures are sent
        del facts["classifier"]
    if "noise_bound" not in facts:  # then it is 1 - pA
        facts |= {"alpha_share": None, "p_upper": None}
    return {**facts, "objective": manifest["objective"]} if "objective" in manifest else facts


def bad_row(rows: pa.Table, facts: Mapping[str, Any] | None = None, num_classes: int | None = None) -> str | None:
    """What is wrong with the first wrong one of `rows`, which are those of one run, in one line; None if all can be
    what a run wrote. Columns that are not there are not checked.

    `facts`, if known, are columns that have the same value in all rows; `num_classes` is K, where labels are 0..K-1.
    """
    columns = Columns(rows)
    if (wrong := columns.wrong_type()) is not None:
        return wrong
    if rows.num_rows == 0:
        return None
    for checks in (_ranges, _agreement, _names, top_k_agreement, bounds_of_rows, top_k_bounds):
        for name, bad, expected in checks(columns, num_classes):
            if bad.any():
                return columns.describe(name, int(np.argmax(bad)), expected)
    for name, value in (facts or {}).items():
        if name in rows.column_names and (bad := columns.differs(name, value)).any():
            return columns.describe(name, int(np.argmax(bad)), f"{shown(value)}, as in its manifest")
    return None


def _ranges(columns: Columns, num_classes: int | None) -> Iterator[Rule]:
    """Each column by itself."""
    fine = ~columns.failed
    if columns.has("status"):
        yield "status", fine & ~columns.equals("status", "ok"), "ok or error"
    least: dict[str, float] = {"n0": 1, "n": 1, "images": 1, "image_id": 0, "label": 0, "top_k": 1}
    least |= {"prediction": ABSTAIN, "prediction_top_k": ABSTAIN}
    for name in WHOLE:
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
        "radius_top_k": (0, inf),
        "label_radius_top_k": (0, inf),
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
        for name in ("label", "prediction", "prediction_top_k"):
            if columns.has(name):
                wrong = columns.known(name) & (columns.numbers(name) >= num_classes) & fine
                yield name, wrong, f"a class, 0 to {num_classes - 1}"


def _agreement(columns: Columns, _: int | None) -> Iterator[Rule]:
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
    decides = DECIDE.fullmatch(str(columns.fact("sampling"))) is not None  # a radius, by no bounds
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


def _names(columns: Columns, _: int | None) -> Iterator[Rule]:
    """What images and classes are called: a class has one name in a run."""
    known: dict[int, str] = {}
    for name in TEXTS:
        if not columns.has(name):
            continue
        yield name, columns.odd_texts(name), f"a name of 1 to {LONGEST:,} printable characters"
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
