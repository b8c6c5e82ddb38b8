"""The certificates of a classifier that remembers its answers, from runs on disk with images of known distances."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command import command
from counted_runs import EASY, HARD, stored_run
from forged import forge

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.sigmas.limits import MEMORY
from raysmooth.pipeline.data.datasets import fingerprint, open_dataset
from raysmooth.pipeline.derived.recertify import recertify

OTHER = [[0, 20, 0], [2, 48, 0], [3, 45, 2], [0, 50, 0], [0, 10, 0]]
"""As EASY, of class 1. At sigma 0.5 and alpha 0.001 both have a radius of RADIUS, and HARD abstains."""

RADIUS = 0.5 * 1.1856
"""Of 153 of 160 draws, rounded down."""

UNKNOWN = ["p_lower", "p_upper", "count_top", "count_rejected", "worst_radius"]


def flat_images(folder: Path, *levels: int) -> Path:
    """A data set of 4 x 4 grey images of one level each, of 255: two are 4 / 255 apart for each level between them."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.stack([np.full((4, 4), level, np.uint8) for level in levels])
    np.savez(folder / "flat.npz", test_images=images, test_labels=np.zeros(len(levels), int))
    return folder / "flat.npz"


def run_on(data: Path, out: Path, images: list[Any], **facts: Any) -> str:
    """A stored run of the data set's images."""
    dataset = open_dataset("numpy", data, "test")
    facts = {"data_fingerprint": fingerprint(dataset, range(len(dataset))), **facts}
    recorded = {"settings": {"data_root": str(data), "skip": 1, "max": None}, "framing": {}, "image_shape": [1, 4, 4]}
    return stored_run(out, images, recorded=recorded, dataset="numpy", sigma=0.5, **facts)


def test_rows_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images 0, 10, 50, 52, 120 and 200: inside the ball of another class; 40 levels, 0.627 apart, so that balls of
    0.593 meet; an abstention inside a ball; alone.
    """
    data = flat_images(tmp_path / "out", 0, 10, 50, 52, 120, 200)
    run = run_on(data, tmp_path / "out", [EASY, OTHER, OTHER, HARD, EASY, OTHER])
    old, new = (
        frame.set_index("image_id")
        for frame in (rows_of(tmp_path / "out", run), recertify(tmp_path / "out", run, memory=True))
    )
    radius = float(old.radius[0])
    assert radius == pytest.approx(RADIUS, abs=1e-4)
    assert new.prediction.tolist() == [0, 0, 1, 1, 0, 1]
    expected = [radius, radius - 40 / 255, 160 / 255 - (radius - 40 / 255), 0.0, radius, radius]
    assert new.radius.tolist() == pytest.approx(expected, rel=1e-6)  # pixels are in float32
    assert (new.radius <= old.radius).all()
    assert new.correct.tolist() == [True, True, False, False, True, False]
    assert new.abstain.tolist() == [False] * 6
    touched = [1, 2, 3]
    assert new.loc[touched, UNKNOWN].isna().all(axis=None)
    same = [0, 4, 5]
    but = ["source", "run_id"]
    kept, were = new.loc[same].drop(columns=but), old.loc[same].drop(columns=but)
    pd.testing.assert_frame_equal(kept, were, check_dtype=False, check_like=True)
    assert set(new.source) == {f"memory of {run}"}
    assert capsys.readouterr().err.splitlines() == [
        f"raysmooth: memory of {run}: of 6 images, 2 got another class, and 1 a smaller radius",
        f"raysmooth: {MEMORY}",
    ]
    assert len(raysmooth.read_certificates(tmp_path / "out")) == 12


def rows_of(out: Path, run: str) -> pd.DataFrame:
    rows = raysmooth.read_certificates(out)
    return rows[rows.run_id == run].sort_values("image_id", ignore_index=True)


def test_the_order_of_the_data_set_decides(tmp_path: Path) -> None:
    for name, levels, images in (("ab", (0, 10), [EASY, OTHER]), ("ba", (10, 0), [OTHER, EASY])):
        data = flat_images(tmp_path / name, *levels)
        run = run_on(data, tmp_path / name, images)
        (first, second), classes = (
            recertify(tmp_path / name, run, memory=True).radius,
            [0, 0] if name == "ab" else [1, 1],
        )
        assert recertify(tmp_path / name, run, memory=True).prediction.tolist() == classes
        assert second == pytest.approx(first - 40 / 255)


def test_errors_stay_errors_and_the_same_again_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = flat_images(tmp_path / "out", 0, 10, 20)
    run = run_on(data, tmp_path / "out", [EASY, OTHER, OTHER], bad=[1])
    rows = recertify(tmp_path / "out", memory=True)
    assert (rows.status.tolist(), rows.error[1]) == (["ok", "error", "ok"], "NaN")
    assert rows.prediction[2] == 0
    said = capsys.readouterr().err
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    data.unlink()  # the rows that are there need no image
    files.pop(data)
    pd.testing.assert_frame_equal(recertify(tmp_path / "out", run, memory=True), rows)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files
    assert capsys.readouterr().err == said
    assert said.startswith(f"raysmooth: memory of {run}: of 2 images, 1 got another class, and 0 a smaller radius\n")


def test_recertified_and_joined_runs_and_those_with_a_level_for_each_image(tmp_path: Path) -> None:
    data = flat_images(tmp_path / "out", 0, 10)
    out = tmp_path / "out"
    run = run_on(data, out, [EASY, OTHER])
    (again,) = recertify(out, run, alpha=0.01).run_id.unique()
    other = run_on(data, out, [EASY, OTHER], seed=1)
    (joined,) = recertify(out, envelope=[run, other]).run_id.unique()
    own = run_on(data, out, [EASY, OTHER], sigma_rule="grid:levels=2", image_sigma=0.5)
    for source in (again, joined, own):
        rows = recertify(out, source, memory=True)
        assert rows.prediction.tolist() == [0, 0]
        assert rows.radius[1] == pytest.approx(rows.radius[0] - 40 / 255)
        assert set(rows.source) == {f"memory of {source}"}
        assert set(rows.sigma_rule.dropna()) == set(rows_of(out, source).sigma_rule.dropna())
    assert len(raysmooth.read_certificates(out)) == 2 * 8


def test_images_are_read_where_they_are_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = flat_images(tmp_path / "old", 0, 10), tmp_path / "out"
    run = run_on(data, out, [EASY, OTHER])
    moved, wrong = tmp_path / "moved", flat_images(tmp_path / "wrong", 0, 11)
    shutil.move(tmp_path / "old", moved)
    code, printed, err = command(capsys, "recertify", str(out), "--memory")
    assert (code, printed, err.count("\n")) == (2, "", 2)
    assert err.startswith(f"raysmooth: run {run}: its data are read from {data}, as its manifest says\n")
    code, printed, err = command(capsys, "recertify", str(out), "--memory", "--data-root", str(wrong))
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert f"is not the data that run {run} certified" in err
    code, _, err = command(capsys, "recertify", str(out), "--memory", "--data-root", str(moved / "flat.npz"))
    assert code == 0, err
    assert "its data are read from" not in err
    assert MEMORY in err


Refused = tuple[list[str], str]
REFUSED: list[Refused] = [
    (["--alpha", "0.1"], "--memory keeps the certificates that runs have: leave --alpha out, or recertify first and"),
    (["--noise-bound", "runner-up"], "--memory keeps the certificates that runs have: leave --noise-bound out"),
    (["--run", "zz"], "--run zz: there is no such run"),
    (["--run", "DECIDED"], "--memory: run DECIDED has sampling decide:radius=0.2, and no radius but that"),
    (
        ["--run", "BEGUN"],
        "--memory: run BEGUN has finished 1 of 2 images, and the order of all decides: finish it first",
    ),
    (["--run", "MEMORY"], "--memory: run MEMORY (memory) has no certificates of known images: choose another --run"),
]


@pytest.mark.parametrize(("flags", "expected"), REFUSED, ids=lambda value: " ".join(value))
def test_what_cannot_be_remembered_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], expected: str
) -> None:
    data, out = flat_images(tmp_path / "out", 0, 10), tmp_path / "out"
    runs = {"RUN": run_on(data, out, [EASY, OTHER])}
    (runs["MEMORY"],) = recertify(out, memory=True).run_id.unique()
    runs["DECIDED"] = run_on(data, out, [EASY, OTHER], sampling="decide:radius=0.2")
    runs["BEGUN"] = run_on(data, out, [EASY], of=2, seed=3)
    capsys.readouterr()

    def named(text: str) -> str:
        for name, run in runs.items():
            text = text.replace(name, run)
        return text

    code, printed, err = command(capsys, "recertify", str(out), "--memory", *map(named, flags))
    assert (code, printed, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"raysmooth: {named(expected)}"), err


def test_manifests_made_to_harm(tmp_path: Path) -> None:
    data, out = flat_images(tmp_path / "out", 0, 10), tmp_path / "out"
    run = run_on(data, out, [EASY, OTHER])
    (again,) = recertify(out, run, alpha=0.01).run_id.unique()
    forged = forge(out, again, data_fingerprint="e" * 64)
    with pytest.raises(RaysmoothError, match=rf"^run {forged} has other images than run {run}, its source: move its"):
        recertify(out, forged, memory=True)
    lost = forge(out, forged, source_run="ab" * 8)
    with pytest.raises(RaysmoothError, match=r"^there is no .*abababababababab/manifest\.json"):
        recertify(out, lost, memory=True)
    assert sorted(path.name for path in out.glob("runs/*")) == sorted([run, lost])
