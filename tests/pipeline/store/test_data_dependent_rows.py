"""Rows with a level of their own are checked at that level; those of selectors, envelopes and memories by what these
allow. 100 of 100 draws at alpha 0.001 give pA = 0.001^(1/100) = 0.933254 and PhiInv(pA) = 1.500476.
"""

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import beta, norm

from raysmooth.pipeline.store.count_checks import CountLimits, CountSums
from raysmooth.pipeline.store.manifest_record import check_manifest
from raysmooth.pipeline.store.row_checks import bad_row
from raysmooth.pipeline.store.run_store import COUNTS_SCHEMA
from raysmooth.pipeline.store.sigma_rules import class_share, envelope_levels, envelope_rule
from raysmooth.storage.records import BadRecord

DDRS, SELECTOR, ENVELOPE = "ddrs:steps=900", "selector:levels=0.25+0.5", "envelope of 0.25, 0.5"
ALL_AGREE = 0.001**0.01
ROW: dict[str, Any] = {
    "dataset": "digits", "source": None, "noise": "gaussian", "norm": "l2", "sigma": 0.25, "sampling": "fixed",
    "sigma_rule": DDRS, "n0": 10, "n": 100, "alpha": 0.001, "noise_bound": "complement", "alpha_share": None,
    "image_id": 0, "image_sigma": 0.5, "label": 1, "prediction": 1, "abstain": False, "correct": True,
    "radius": 0.5 * norm.ppf(ALL_AGREE), "worst_radius": None, "p_lower": ALL_AGREE, "p_upper": None,
    "count_top": 100, "n_used": 100, "draws": 110, "seconds": 0.1, "status": "ok", "error": None,
}  # fmt: skip
FAILED = {"status": "error", "error": "NaN", "prediction": None, "radius": None, "p_lower": None, "count_top": None}
NOTHING = {"prediction": -1, "abstain": True, "correct": False, "radius": 0.0}
UNKNOWN = {"p_lower": None, "count_top": None, "n_used": None}


def wrong(**changes: Any) -> str | None:
    """What is wrong with the row after these changes."""
    return bad_row(pa.Table.from_pylist([ROW | changes]))


def test_a_row_is_checked_at_the_level_of_its_image() -> None:
    assert norm.ppf(ALL_AGREE) == pytest.approx(1.500476, abs=1e-6)
    assert wrong() is None
    assert wrong(sigma_rule=None, image_sigma=None, radius=0.25 * norm.ppf(ALL_AGREE)) is None
    assert "radius 0.750238 of image 0, expected 0.375119" in str(wrong(sigma_rule=None, image_sigma=None))
    assert "radius 0.750238 of image 0, expected 0.900285" in str(wrong(image_sigma=0.6))
    assert "radius 0.750238 of image 0, expected 0.60019" in str(wrong(image_sigma=0.4))
    assert wrong(**FAILED) is None
    assert wrong(**FAILED, image_sigma=None) is None


def test_a_rule_and_a_level_belong_together() -> None:
    assert "image_sigma null of image 0, expected a value, as there is a sigma_rule" in str(wrong(image_sigma=None))
    assert "image_sigma 0.5 of image 0, expected none, as there is no sigma_rule" in str(wrong(sigma_rule=None))
    assert "image_sigma 0 of image 0, expected a finite number" in str(wrong(image_sigma=0.0))
    assert "worst_radius 0.1 of image 0, expected none" in str(wrong(worst_radius=0.1))
    assert "has image_sigma of type string, expected numbers" in str(wrong(image_sigma="0.5"))


def test_rules_of_earlier_runs_are_none() -> None:
    assert "sigma_rule" in str(bad_row(pa.Table.from_pylist([ROW]), {"sigma_rule": None}))
    assert bad_row(pa.Table.from_pylist([ROW]), {"sigma_rule": DDRS}) is None


def test_a_selector_has_half_of_alpha_and_may_shorten_radii() -> None:
    half = 0.0005**0.01
    own = {"sigma_rule": SELECTOR, "p_lower": half, "radius": 0.5 * norm.ppf(half)}
    assert wrong(**own) is None
    assert wrong(**own | {"radius": 0.01}) is None
    assert wrong(**own | NOTHING) is None
    assert "p_lower 0.933254" in str(wrong(sigma_rule=SELECTOR))
    assert "radius 0.750238" in str(wrong(**own | {"radius": ROW["radius"]}))
    assert (class_share(SELECTOR), class_share(DDRS), class_share(None), class_share("selectors")) == (0.5, 1, 1, 1)


def test_an_envelope_has_at_most_the_radius_of_its_largest_level() -> None:
    """Where all draws of each agree, at alpha / 2: 0.0005^(1/100) = 0.926808."""
    most = 0.5 * norm.ppf(0.0005**0.01)
    own = {"sigma": None, "sigma_rule": ENVELOPE, "source": "envelope of 0123456789abcdef", **UNKNOWN}
    assert wrong(**own, radius=most * 0.999, worst_radius=0.3) is None
    assert wrong(**own | NOTHING, image_sigma=None) is None
    assert "expected 0.72" in str(wrong(**own, radius=most * 1.001))
    assert "worst_radius" in str(wrong(**own, radius=0.1, worst_radius=most * 1.001))
    bounded = {"noise_bound": "runner-up", "alpha_share": 0.5}
    assert wrong(**own | bounded, radius=most * 0.9) is None
    assert "p_upper null" in str(wrong(**bounded))


def test_levels_of_envelopes_are_read_from_their_rule() -> None:
    assert envelope_rule([1.0, 0.25, 0.5]) == "envelope of 0.25, 0.5, 1"
    assert envelope_levels(envelope_rule([0.1 + 0.2, 1 / 3])) == (0.3, 0.333333333333333)
    for text in (None, DDRS, "envelope of ", "envelope of 0.25, x", "envelope of 0.25, nan", "envelope of -1, 0.5"):
        assert envelope_levels(text) == ()


def test_a_memory_keeps_untouched_rows_and_shortens_others() -> None:
    own = {"source": "memory of 0123456789abcdef"}
    assert wrong(**own) is None
    assert "expected 0.750238" in str(wrong(**own, radius=0.5))
    touched = {**own, **UNKNOWN, "prediction": 2, "correct": False}
    assert wrong(**touched, radius=0.01) is None
    assert "radius 0.9" in str(wrong(**touched, radius=0.9))
    assert wrong(**touched, radius=0.01, noise_bound="runner-up", alpha_share=0.5) is None


def test_the_other_classes_bound_of_a_selector_has_its_share_of_half_of_alpha() -> None:
    """97 and 3 of 100 draws; the upper bound of 3 is at a quarter of alpha."""
    blocks = [
        {"image_id": 0, "role": role, "block": 0, "draws": draws, "labels": [1, 2], "counts": counts, "invalid": 0,
         "seconds": 0.1}
        for role, draws, counts in (("selection", 10, [9, 1]), ("estimation", 100, [97, 3]))
    ]  # fmt: skip
    own = {"sigma_rule": SELECTOR, "noise_bound": "runner-up", "alpha_share": 0.5, "count_top": 97}
    for alpha, expected in ((0.00025, None), (0.0005, "by its counts")):
        sums = CountSums(CountLimits(10))
        sums.add(pa.Table.from_pylist(blocks, COUNTS_SCHEMA))
        upper = float(beta.isf(alpha, 4, 97))
        found = sums.contradiction(pd.DataFrame([ROW | own | {"p_upper": upper}]))
        assert found is None if expected is None else expected in str(found)


IDENTITY = {
    "scheme": 5, "dataset": "digits", "split": "test", "classifier": "a", "noise": "gaussian", "norm": "l2",
    "alpha": 0.001,
}  # fmt: skip
RUN, OTHER = "0123456789abcdef", "fedcba9876543210"


def refusal(**identity: Any) -> str | None:
    try:
        check_manifest({"identity": {**IDENTITY, **identity}}, "here")
    except BadRecord as bad:
        return str(bad)
    return None


def test_manifests_of_envelopes_and_memories() -> None:
    envelope = {"procedure": "envelope", "source": f"envelope of {RUN},{OTHER}", "sources": [RUN, OTHER]}
    assert refusal(**envelope, sigma_rule=ENVELOPE) is None
    assert "sigma_rule" in str(refusal(**envelope))
    assert "sources" in str(refusal(**envelope | {"sources": [RUN]}, sigma_rule=ENVELOPE))
    assert refusal(procedure="memory", source=f"memory of {RUN}", source_run=RUN) is None
    assert "source_run" in str(refusal(procedure="memory", source=f"memory of {RUN}"))
    assert "source_run" in str(refusal(procedure="memory", source="memory of x", source_run="../x"))
