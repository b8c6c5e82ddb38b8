"""Certificates in words, each against a sentence written by hand."""

from typing import Any

import pytest

from raysmooth.pipeline.pictures.statement import evidence, statement

ROW: dict[str, Any] = {
    "status": "ok",
    "abstain": False,
    "prediction": 7,
    "label": 7,
    "correct": True,
    "radius": 0.41999999,
    "p_lower": 0.79999,
    "count_top": 8123,
    "n_used": 10_000,
    "norm": "l2",
    "noise": "gaussian",
    "sigma": 0.5,
    "sampling": "fixed",
    "decision": None,
    "n0": 100,
    "n": 10_000,
    "alpha": 0.001,
    "error": None,
}
ABSTAINS = {"abstain": True, "prediction": -1, "correct": False, "radius": 0.0, "p_lower": 0.43}
REJECTING = {"rejector": "margin:threshold=0.2", "count_rejected": 1210, "p_upper": 0.01999, "alpha_share": 0.9}
REJECTING |= {"noise_bound": "rejection"}
OWN = {"sigma_rule": "ddrs:steps=900", "image_sigma": 0.61234567}
SELECTED = {"sigma_rule": "selector:levels=0.25+0.5", "image_sigma": 0.25}
WORST: dict[str, Any] = {"sigma_rule": "worst of 0.25, 0.5", "image_sigma": 0.5, "sigma": None}
ENVELOPE: dict[str, Any] = {"sigma_rule": "envelope of 0.25, 0.5", "image_sigma": 0.5, "sigma": None}
ENVELOPE |= {"p_lower": None, "count_top": None, "n_used": None}
MEMORY = {"source": "memory of 0123456789abcdef"}
WITHIN = "with probability at least 0.999 the smoothed classifier predicts 7 everywhere within l2 distance 0.419"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, f"{WITHIN}: right"),
        ({"label": 3, "correct": False}, f"{WITHIN}: wrong, the label is 3"),
        ({"label": None, "correct": None}, f"{WITHIN}: there is no label to compare with"),
        ({"alpha": 0.05}, f"{WITHIN}: right".replace("0.999", "0.95")),
        ({"alpha": 1e-30}, f"{WITHIN}: right".replace("0.999", "1 - 1e-30")),
        (
            {**ABSTAINS, "p_upper": 0.45},
            "the smoothed classifier abstains: it is not shown that the selected class's probability exceeds that of "
            "every "
            "other class",
        ),
        (REJECTING, f"{WITHIN}: right".replace("classifier", "classifier with rejection")),
        (
            {**REJECTING, **ABSTAINS},
            "the smoothed classifier with rejection abstains: it is not shown that the selected class's probability "
            "exceeds that of every other class",
        ),
        ({"norm": "l1"}, f"{WITHIN}: right".replace("l2", "l1")),
        (
            ABSTAINS,
            "the smoothed classifier abstains: it is not shown that the selected class's probability exceeds 1/2",
        ),
        ({"status": "error", "error": "image cannot be read"}, "no certificate: image cannot be read"),
        (
            OWN,
            f"{WITHIN}: right".replace(
                "the smoothed classifier", "the classifier smoothed with this image's own sigma 0.6123"
            ),
        ),
        (
            OWN | ABSTAINS,
            "the classifier smoothed with this image's own sigma 0.6123 abstains: it is not shown that "
            "the selected class's probability exceeds 1/2",
        ),
        (
            SELECTED,
            f"{WITHIN}: right".replace(
                "the smoothed classifier", "the classifier smoothed with the sigma that its selector chooses"
            ),
        ),
        (
            SELECTED | ABSTAINS | {"p_lower": 0.7},
            "the classifier smoothed with the sigma that its selector chooses "
            "abstains: it is not shown which sigma that is",
        ),
        (
            ENVELOPE,
            f"{WITHIN}: right".replace(
                "the smoothed classifier", "the envelope of the classifiers smoothed with sigma 0.25, 0.5"
            ),
        ),
        (
            ENVELOPE | ABSTAINS | {"p_lower": None},
            "the envelope of the classifiers smoothed with sigma 0.25, 0.5 "
            "abstains: it is not shown that the selected class stands above every other",
        ),
        (
            WORST,
            f"{WITHIN}: right".replace(
                "the smoothed classifier", "each of the classifiers smoothed with sigma 0.25, 0.5"
            ),
        ),
        (
            WORST | ABSTAINS | {"p_lower": None},
            "abstains: it is not shown that the classifiers smoothed with sigma 0.25, 0.5 have one class",
        ),
        (MEMORY, "once this image is stored, every later query within l2 distance 0.419 gets 7: right"),
        (MEMORY | ABSTAINS, "the smoothed classifier abstains: the memory keeps nothing of this image"),
        (
            {**ABSTAINS, "sampling": "decide:radius=0.5", "decision": "undecided"},
            "undecided: n=10000 draws do not show whether l2 radius 0.5 is certified",
        ),
        (
            {**ABSTAINS, "sampling": "decide:radius=0.5", "decision": "not certified"},
            "not certified at l2 radius 0.5; other radii were not tested",
        ),
    ],
)
def test_statement(changes: dict[str, Any], expected: str) -> None:
    assert statement(ROW | changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            "8,123 of 10,000 estimation draws in the selected class, p_lower 0.7999, n0=100, n=10000, alpha=0.001, "
            "gaussian noise of sigma 0.5",
        ),
        (
            {**ABSTAINS, "sampling": "adaptive:tolerance=2%,pilot=100", "n_used": 0, "count_top": 0, "p_lower": 0.0},
            "n0=100, n=10000, adaptive:tolerance=2%,pilot=100, alpha=0.001, gaussian noise of sigma 0.5",
        ),
        (
            {"p_upper": 0.10001},
            "8,123 of 10,000 estimation draws in the selected class, p_lower 0.7999, p_upper 0.1001, n0=100, n=10000, "
            "alpha=0.001, gaussian noise of sigma 0.5",
        ),
        (
            REJECTING,
            "8,123 of 10,000 estimation draws in the selected class, 1,210 rejected, p_lower 0.7999, p_upper 0.0200, "
            "n0=100, n=10000, alpha=0.001 (0.9 of it for p_lower), rejector margin:threshold=0.2, rejection bound, "
            "gaussian noise of sigma 0.5",
        ),
        (
            OWN,
            "8,123 of 10,000 estimation draws in the selected class, p_lower 0.7999, n0=100, n=10000, alpha=0.001, "
            "gaussian noise of sigma 0.6123, this image's own (by ddrs, from 0.5)",
        ),
        (
            SELECTED,
            "8,123 of 10,000 estimation draws in the selected class, p_lower 0.7999, n0=100, n=10000, alpha=0.001, "
            "half of it for the choice of sigma, gaussian noise of sigma 0.25, this image's own (by selector, from "
            "0.5)",
        ),
        (ENVELOPE, "n0=100, n=10000, alpha=0.001, gaussian noise of sigma 0.25, 0.5"),
        (
            {"status": "error", "count_top": None, "n_used": None, "p_lower": None},
            "n0=100, n=10000, alpha=0.001, gaussian noise of sigma 0.5",
        ),
    ],
)
def test_evidence(changes: dict[str, Any], expected: str) -> None:
    assert evidence(ROW | changes) == expected


def test_rows_older_than_sampling_and_n_used_are_read() -> None:
    old = {name: value for name, value in ROW.items() if name not in ("sampling", "n_used", "decision")}
    assert statement(old) == f"{WITHIN}: right"
    assert evidence(old) == evidence(ROW)
