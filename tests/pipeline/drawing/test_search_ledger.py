"""Searches for noise levels, unit by unit: what is found, resumed, and written of images that fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small_searches import DDRS, opened_search, rows_of_search, searched

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.data.datasets import UnreadableImage
from raysmooth.pipeline.data.known_images import KnownImages
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA
from raysmooth.pipeline.store.image_sigmas import read_image_sigmas

TEN = {"max": 10}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of an undisturbed search of ten digits."""
    out = tmp_path_factory.mktemp("whole")
    return rows_of_search(out, searched(out, **TEN))


def alike(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal to the last bit, but for the seconds."""
    pd.testing.assert_frame_equal(
        found.drop(columns=["seconds", "run_id"]), expected.drop(columns=["seconds", "run_id"]), check_exact=True
    )


def test_a_constant_classifier_gains_the_same_slope_in_every_step(tmp_path: Path, monkeypatch: Any) -> None:
    # Logits 40 times as large: all draws agree, so that the gap is at its clamp, 2 PhiInv(0.98), in every step.
    run = searched(tmp_path, classifier="base_classifiers:Certain", max=2, search="ddrs:steps=250,learning_rate=1e-3")
    rows = rows_of_search(tmp_path, run)
    assert rows["step"].tolist() == [100, 200, 250] * 2
    np.testing.assert_allclose(rows["image_sigma"], 0.25 + 2.0537489106 * 1e-3 * rows["step"], rtol=1e-9)
    assert rows["prediction"].eq(7).all()
    last = read_image_sigmas(tmp_path, run, 200)
    assert last.sigmas == pytest.approx({0: 0.6607497821, 1: 0.6607497821}, rel=1e-9)
    assert last.rule.endswith("learning_rate=0.001,steps=200")


def test_killed_after_a_unit_and_resumed_the_levels_are_equal_and_none_is_searched_twice(
    tmp_path: Path, whole: pd.DataFrame
) -> None:
    units = []
    for stop in (1, None):
        with opened_search(tmp_path, **TEN) as (ledger, step):
            done = 0
            while done != stop and step():
                done += 1
            units.append(done)
            ledger.store.flush()
            if stop is None:
                ledger.conclude()
    assert units == [1, 2]  # of 4, 4 and 2 images
    parts = [pd.read_parquet(part) for part in tmp_path.glob("sigmas/*/part-*")]
    assert sorted(len(part) for part in parts) == [4, 6]
    alike(rows_of_search(tmp_path, ledger.run_id), whole)


def test_images_that_cannot_be_read_leave_their_neighbours_as_they_were(
    tmp_path: Path, whole: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = KnownImages.read

    def failing(self: KnownImages, image_id: int) -> Any:
        if image_id in (1, 8):
            raise UnreadableImage(image_id, "cut short")
        return read(self, image_id)

    monkeypatch.setattr(KnownImages, "read", failing)
    run = searched(tmp_path, **TEN)
    rows = rows_of_search(tmp_path, run)
    failed = rows[rows["status"] == "error"]
    assert failed["image_id"].tolist() == [1, 8]
    assert failed["error"].tolist() == ["cut short"] * 2
    assert failed["label"].notna().all()
    assert failed[["step", "image_sigma", "objective_value", "prediction", "radius"]].isna().all(axis=None)
    good = whole[~whole["image_id"].isin([1, 8])]
    kept = ["image_id", "image_sigma", "objective_value"]
    fine = rows[rows["status"] == "ok"]
    pd.testing.assert_frame_equal(
        fine[kept].reset_index(drop=True), good[kept].reset_index(drop=True), check_exact=True
    )
    assert read_image_sigmas(tmp_path, run).failed == {1: "cut short", 8: "cut short"}


def test_answers_that_are_no_numbers_fail_their_image_alone(tmp_path: Path, picture_file: Callable[..., str]) -> None:
    pictures = picture_file([(0.2, 1), (0.97, 1), (0.5, 1)])
    given = {"dataset": "parquet", "data_root": pictures, "split": None, "sigma": 0.01}
    run = searched(tmp_path / "out", classifier="base_classifiers:Dazzled", **given)
    rows = rows_of_search(tmp_path / "out", run)
    assert rows["status"].tolist() == ["ok", "error", "ok"]
    assert rows["error"][1].startswith("no valid answer (logits NaN or infinite")
    assert "step 1 of the search" in rows["error"][1]


def test_a_classifier_that_raises_is_asked_about_each_image_alone(
    tmp_path: Path, picture_file: Callable[..., str]
) -> None:
    pictures = picture_file([(0.3, 1), (0.06, 1), (0.5, 1)])
    given = {"dataset": "parquet", "data_root": pictures, "split": None, "sigma": 0.01}
    run = searched(tmp_path / "out", classifier="base_classifiers:Fragile", **given)
    rows = rows_of_search(tmp_path / "out", run)
    assert rows["status"].tolist() == ["ok", "error", "ok"]
    assert rows["error"][1] == "ValueError: too dark"


def test_more_failures_than_allowed_stop_the_search(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"stopped: 3 images failed \(--max-errors 2\); the first, image 0: no"):
        searched(tmp_path, **TEN, max_errors=2, classifier="base_classifiers:NotANumber")


def test_uniform_noise_is_searched_in_lambda_and_kept_as_sigma(tmp_path: Path) -> None:
    run = searched(tmp_path, **TEN, noise="uniform:0.5", sigma=None, search="grid:levels=3,draws=4,least=0.25,most=1")
    rows = rows_of_search(tmp_path, run)
    lambdas = rows["image_sigma"] * np.sqrt(3)
    assert set(np.round(lambdas, 12)) <= {0.25, 0.625, 1.0}
    assert rows["noise"].eq("uniform").all()
    np.testing.assert_allclose(rows["sigma"], 0.5 / np.sqrt(3), rtol=1e-14)
    # The objective of uniform noise is at most lambda, where all votes agree.
    assert (rows["objective_value"] <= lambdas + 1e-12).all()


def test_labels_are_enough_for_a_grid(tmp_path: Path) -> None:
    run = searched(tmp_path, **TEN, classifier="base_classifiers:Labels", search="grid:levels=3,draws=4")
    assert rows_of_search(tmp_path, run)["status"].eq("ok").all()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"classifier": "base_classifiers:Labels"}, "this classifier answers labels: write --search grid"),
        ({"classifier": "base_classifiers:cut_off"}, "answers have none: write --search ddrs:gradient=difference"),
        ({"rejector": "confidence:threshold=0.5"}, "--rejector confidence:threshold=0.5: noise levels are sought for"),
        ({"search": "ddrs:step=3"}, "no option 'step'"),
        ({"search": "newton"}, "unknown search 'newton'"),
        ({"search": "grid:least=0.3"}, "write least= and most= around 0.25"),
    ],
)
def test_searches_that_cannot_work_are_refused_before_any_work(
    tmp_path: Path, changes: dict[str, Any], line: str
) -> None:
    given = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "out": str(tmp_path / "out")}
    with pytest.raises(RaysmoothError) as refusal:
        prepare(OPTIMIZE_SIGMA, user_settings(OPTIMIZE_SIGMA.settings, {**given, **changes}))
    assert line in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_what_decides_the_levels_decides_the_id(tmp_path: Path) -> None:
    def run_id(**changes: Any) -> str:
        with opened_search(tmp_path / "-".join(map(str, changes.values())), **TEN, **changes) as (ledger, _):
            return ledger.run_id

    same = run_id()
    written_out = "ddrs:anchor=off,clamp=0.02,draws=1,gradient=backward,learning_rate=0.01,steps=3"
    assert same == run_id(search=written_out) == run_id(max_errors=3)
    others = [{"seed": 1}, {"batch_size": 8}, {"sigma": 0.5}, {"search": "grid"}, {"skip": 2}, {"search": f"{DDRS}1"}]
    ids = {run_id(**other) for other in others}
    assert len(ids | {same}) == len(others) + 1
