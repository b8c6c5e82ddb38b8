"""Top-k certificates of runs: from the first draw on or from stored counts later, the same rows; what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command import command
from counted_runs import EASY, HARD, LOST, stored_run
from own_levels import searched
from scipy.stats import beta, norm
from small_runs import certified, opened

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.analysis.top_k import certified_top_k
from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.pipeline.store.parts import read_rows

RUN: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.5, "max": 6, "n0": 20, "n": 200,
    "alpha": 0.05, "block_size": 50,
}  # fmt: skip
NEW = ["run_id", "source", "seconds"]
KINDS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "linf": {"norm": "linf"},
    "uniform": {"noise": "uniform"},
    "runner-up": {"noise_bound": "runner-up"},
    "rejecting": {"rejector": "margin:threshold=0.1"},
    "rejection bound": {"rejector": "margin:threshold=0.1", "noise_bound": "rejection", "alpha_share": 0.8},
}


def rows_of(out: Path, run: str) -> pd.DataFrame:
    return read_rows(out, "certificates", run)


@pytest.mark.parametrize("kind", KINDS)
def test_stored_counts_give_the_rows_of_a_run_with_them(kind: str, tmp_path: Path) -> None:
    """Of a run before there was a top k: its id and rows are as ever, and `recertify` adds the columns."""
    asked, before = tmp_path / "asked", tmp_path / "before"
    theirs = rows_of(asked, certified(asked, **RUN, **KINDS[kind], top_k=3))
    old = certified(before, **RUN, **KINDS[kind])
    new = recertify(before, top_k=3)
    pd.testing.assert_frame_equal(new.drop(columns=NEW), theirs.drop(columns=NEW))
    without = rows_of(before, old)
    assert without[["top_k", "radius_top_k", "label_radius_top_k", "count_label"]].isna().all(axis=None)
    ordinary = [name for name in without if "top_k" not in name and name != "count_label"]
    pd.testing.assert_frame_equal(new[ordinary].drop(columns=NEW), without[ordinary].drop(columns=NEW))
    assert (new.radius_top_k.notna() & new.abstain).any() or kind == "uniform"
    assert (new.radius_top_k[~new.abstain] > new.radius[~new.abstain]).all()
    assert len(read_certificates(asked)) == 6  # which checks them
    assert len(read_certificates(before)) == 12
    one = recertify(before, top_k=1)
    assert one.prediction_top_k.tolist() == one.prediction.tolist()
    assert one.radius_top_k.fillna(0).tolist() == one.radius.tolist()


def test_a_resumed_run_has_them_too(tmp_path: Path) -> None:
    whole = rows_of(tmp_path / "whole", certified(tmp_path / "whole", **RUN, top_k=2))
    with opened(tmp_path / "part", **RUN, top_k=2) as (_, step):
        step()
    resumed = rows_of(tmp_path / "part", certified(tmp_path / "part", **RUN, top_k=2))
    pd.testing.assert_frame_equal(resumed.drop(columns=NEW), whole.drop(columns=NEW))


def test_images_with_their_own_levels(tmp_path: Path) -> None:
    levels = {image: 0.2 + 0.1 * image for image in range(6)}
    search = searched(tmp_path, RUN, levels, failed={})
    certified(tmp_path, **RUN, sigmas=search[:6])
    new = recertify(tmp_path, top_k=3)
    held = new[new.radius_top_k.notna()]
    assert len(held) > 0
    for row in held.itertuples():
        p_lower = beta.ppf(0.05, row.count_top, 200 - row.count_top + 1)
        expected = levels[int(row.image_id)] * (norm.ppf(p_lower) - norm.ppf(1 / 4))
        assert row.radius_top_k == pytest.approx(expected, rel=1e-9)
    asked = rows_of(tmp_path, certified(tmp_path, **RUN, sigmas=search[:6], top_k=3))
    pd.testing.assert_frame_equal(new.drop(columns=NEW), asked.drop(columns=NEW))


def test_rows_by_hand(tmp_path: Path) -> None:
    """EASY has 153 of 160 draws, HARD 78, 44 and 38, LOST, whose class is 1, 64, 64 and 32; all labels are 0."""
    run = stored_run(tmp_path, [EASY, HARD, LOST, EASY], bad=[3])
    rows = raysmooth.recertify(tmp_path, run=run, top_k=2, alpha=0.01)
    assert rows.prediction_top_k.tolist()[:3] == [0, 0, ABSTAIN]  # 64 of 160 is not surely above 1/3
    assert rows.count_label.tolist()[:3] == [153, 78, 64]
    for row, count in zip(rows.itertuples(), (153, 78, 64), strict=False):
        shift = norm.ppf(beta.ppf(0.01, count, 160 - count + 1)) - norm.ppf(1 / 3)
        expected = 0.5 * shift if shift > 0 else np.nan
        assert row.label_radius_top_k == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert rows.label_radius_top_k.notna().tolist() == [True, True, False, False]
    assert rows.top_k.tolist() == [2, 2, 2, 2]
    # Certified accuracy: at 0 two of four images; HARD's radius is 0.5 * (PhiInv(0.394) + 0.431) = 0.081.
    assert certified_top_k(rows, [0, 0.05, 0.1, 5]).tolist() == [0.5, 0.5, 0.25, 0]
    again = recertify(tmp_path, rows.source[0].split()[-1], top_k=2, alpha=0.01)
    assert again.run_id.tolist() == rows.run_id.tolist()


def test_an_adaptive_run_has_them_where_it_has_draws(tmp_path: Path) -> None:
    stored_run(tmp_path, [EASY, HARD], sampling="adaptive:tolerance=2%,pilot=1")
    assert recertify(tmp_path, top_k=2).radius_top_k.notna().tolist() == [True, True]


def test_other_changes_keep_them(tmp_path: Path) -> None:
    certified(tmp_path, **RUN, top_k=3)
    new = recertify(tmp_path, alpha=0.01)
    assert set(new.top_k) == {3}
    fewer = recertify(tmp_path, n=100, top_k=2)
    assert set(fewer.top_k) == {2}
    assert (fewer.count_label <= 100).all()


REFUSED: list[tuple[dict[str, Any], list[str], str]] = [
    ({}, ["--top-k", "0"], "--top-k 0: write 1 or more, such as 5"),
    ({}, ["--top-k", "3"], "--top-k 3: with 3 classes, every class is always among the 3 most likely: write --top-k 2"),
    ({"sampling": "decide:radius=0.2"}, ["--top-k", "2"],
     "--top-k 2: run RUN has sampling decide:radius=0.2, and an image's draws stopped by the evidence"),
    ({}, ["--top-k", "2", "--envelope", "a,b"], "--envelope certifies one class, by bounds at several levels: leave"),
    ({}, ["--top-k", "2", "--worst-sigma", "a,b"], "--worst-sigma certifies one class, by bounds at several levels"),
    ({}, ["--top-k", "2", "--memory"], "--memory keeps the certificates that runs have: leave --top-k out"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "flags", "expected"), REFUSED, ids=lambda value: " ".join(value))
def test_what_has_no_top_k_certificates_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], flags: list[str], expected: str
) -> None:
    run = stored_run(tmp_path, [EASY, HARD], **facts)
    code, out, err = command(capsys, "recertify", str(tmp_path), *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"raysmooth: {expected.replace('RUN', run)}"), err


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sampling": "decide", "radius": 0.1}, "--top-k 3: --sampling decide stops an image's draws"),
        ({"sampling": "adaptive"}, "--top-k 3: --sampling adaptive gives no draws to an image"),
        ({"classifier": "google"}, "--top-k 3: the labels of a vision API are an open set"),
        ({"top_k": 0}, "--top-k 0: input should be greater than or equal to 1"),
    ],
)
def test_settings_without_top_k_certificates_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(RaysmoothError, match=expected):
        user_settings(CertifySettings, {**RUN, "top_k": 3, **settings})


def test_as_many_as_there_are_classes_are_refused_before_a_draw(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match="--top-k 10: with 10 classes, every class is always among the 10 most"):
        certified(tmp_path, **RUN, top_k=10)
    assert not list(tmp_path.iterdir())
