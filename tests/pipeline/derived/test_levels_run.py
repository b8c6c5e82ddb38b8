"""Runs joined from those of the same images at several noise levels: their rows by an independent computation, and what
does not go together.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import command
from counted_runs import EASY, HARD, LOST, stored_run
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.store.manifest import run_id

SURE = [[20, 0, 0], [50, 0, 0], [50, 0, 0], [50, 0, 0], [10, 0, 0]]
"""Of 160 draws SURE has 160, 0, 0; EASY 153, 5, 2; HARD 78, 44, 38; LOST 64, 64, 32, and selects class 1."""


def score(sigma: float, count: int, alpha: float, upper: bool = False) -> float:
    bounds = proportion_confint(count, 160, alpha=2 * alpha, method="beta")
    return float(sigma * norm.ppf(bounds[int(upper)]))


def runs_of(out: Path, *sigmas: float) -> list[str]:
    """Images 0, 1, 2 are SURE, EASY, HARD at the smallest level and worse at each further one."""
    images = [SURE, EASY, HARD, LOST]
    return [stored_run(out, images[place : place + 3], sigma=sigma) for place, sigma in enumerate(sigmas)]


def test_rows_of_an_envelope_by_an_independent_computation(tmp_path: Path) -> None:
    near, far = runs_of(tmp_path, 0.25, 0.5)
    rows = recertify(tmp_path, envelope=f"{far},{near[:6]}", alpha=0.01)
    part = 0.01 / 4
    lows = [
        [score(0.25, 160, part), score(0.5, 153, part)],
        [score(0.25, 153, part), score(0.5, 78, part)],
        [score(0.25, 78, part), score(0.5, 64, part)],
    ]
    highs = [
        [score(0.25, 0, part, True), score(0.5, 5, part, True)],
        [score(0.25, 5, part, True), score(0.5, 44, part, True)],
        [score(0.25, 44, part, True), score(0.5, 64, part, True)],
    ]
    for image in range(2):
        own = [min(high, -low) for high, low in zip(highs[image], lows[image], strict=True)]
        assert rows.radius[image] == pytest.approx((max(lows[image]) - max(own)) / 2, rel=1e-9)
    # Image 2: class 1 at the larger level by selection draws, whose share of 15 of 20 has the larger score.
    assert rows.prediction.tolist() == [0, 0, ABSTAIN]
    assert rows.image_sigma.tolist()[:2] == [[0.25, 0.5][int(np.argmax(own))] for own in lows[:2]]
    assert np.isnan(rows.image_sigma[2])
    worst = [min((low - min(high, -low)) / 2 for low, high in zip(lows[i], highs[i], strict=True)) for i in range(2)]
    assert rows.worst_radius.tolist() == [pytest.approx(worst[0]), pytest.approx(max(worst[1], 0.0)), 0.0]
    assert (rows.worst_radius <= rows.radius).all()
    alone = [recertify(tmp_path, run, alpha=0.01).radius[0] for run in (near, far)]
    assert alone[0] < rows.radius[0] < alone[1]
    assert set(rows.source) == {f"envelope of {near},{far}"}
    assert set(rows.sigma_rule) == {"envelope of 0.25, 0.5"}
    assert rows[["sigma", "p_lower", "p_upper", "count_top"]].isna().all(axis=None)
    assert rows[["n0", "n", "n_used", "draws"]].to_numpy().tolist() == [[40, 320, 320, 360]] * 3
    assert (set(rows.noise_bound), set(rows.alpha_share), set(rows.alpha)) == ({"runner-up"}, {0.5}, {0.01})
    assert rows.seconds.tolist() == [2.5] * 3
    assert rows.correct.tolist() == [True, True, False]


def test_the_order_of_runs_does_not_matter_and_the_same_again_writes_nothing(tmp_path: Path) -> None:
    near, far = runs_of(tmp_path, 0.25, 0.5)
    rows = recertify(tmp_path, envelope=[near, far])
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    pd.testing.assert_frame_equal(recertify(tmp_path, envelope=[far, near, far]), rows)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == files
    manifest = json.loads((tmp_path / "runs" / rows.run_id[0] / "manifest.json").read_text())
    assert run_id(manifest["identity"]) == rows.run_id[0]
    assert manifest["identity"]["sources"] == [near, far]
    assert len(raysmooth.read_certificates(tmp_path)) == 9


def test_the_worst_level_as_a_run_of_its_own(tmp_path: Path) -> None:
    near, far = runs_of(tmp_path, 0.25, 0.5)
    rows = recertify(tmp_path, worst_sigma=[near, far], alpha=0.02)
    each = [recertify(tmp_path, run, alpha=0.01) for run in (near, far)]
    assert rows.radius[0] == min(own.radius[0] for own in each)
    assert rows.prediction.tolist() == [0, ABSTAIN, ABSTAIN]  # at the larger level image 1 has no majority
    assert rows.image_sigma[0] == [0.25, 0.5][int(np.argmin([own.radius[0] for own in each]))]
    assert set(rows.sigma_rule) == {"worst of 0.25, 0.5"}
    assert set(rows.noise_bound) == {"complement"}
    assert rows.worst_radius.isna().all()
    bounded = recertify(tmp_path, worst_sigma=[near, far], alpha=0.02, noise_bound="runner-up")
    envelope = recertify(tmp_path, envelope=[near, far], alpha=0.02)
    assert bounded.radius.tolist() == envelope.worst_radius.tolist()
    assert len(raysmooth.read_certificates(tmp_path)) == 21


def test_runs_may_differ_in_their_networks(tmp_path: Path) -> None:
    near = stored_run(tmp_path, [EASY], sigma=0.25)
    far = stored_run(
        tmp_path, [EASY], sigma=0.5, denoiser="dncnn", denoiser_fingerprint="e", classifier_fingerprint="g"
    )
    rejecting = [[*block, 0, 0, 0] for block in EASY]
    third = stored_run(tmp_path, [rejecting], sigma=1.0, rejector="margin:threshold=0.1", recorded={"num_classes": 3})
    (row,) = recertify(tmp_path, envelope=[near, far], alpha=0.01).to_dict("records")
    assert (row["denoiser"], row["classifier"]) == ("none + dncnn", "c")
    assert pd.isna([row["classifier_fingerprint"], row["denoiser_fingerprint"], row["rejector"]]).all()
    assert row["radius"] > 0
    (row,) = recertify(tmp_path, envelope=[near, third], alpha=0.01).to_dict("records")
    assert row["rejector"] == "none + margin:threshold=0.1"
    assert row["radius"] > 0
    assert len(raysmooth.read_certificates(tmp_path)) == 5


def test_fewer_draws_of_each_level_and_all_images_at_once(tmp_path: Path) -> None:
    near, far = runs_of(tmp_path, 0.25, 0.5)
    rows = recertify(tmp_path, envelope=[near, far], n=100, familywise=0.06)
    assert (set(rows.n), set(rows.n_used), set(rows.alpha)) == ({200}, {200}, {0.02})
    lower = proportion_confint(100, 100, alpha=0.01, method="beta")[0]  # 0.02 / 4, of a two-sided interval
    other = proportion_confint(93, 100, alpha=0.01, method="beta")[0]
    lows = [0.25 * norm.ppf(lower), 0.5 * norm.ppf(other)]
    second = min(0.5 * norm.ppf(proportion_confint(5, 100, alpha=0.01, method="beta")[1]), -lows[1])
    assert rows.radius[0] == pytest.approx((max(lows) - max(second, -lows[0])) / 2, rel=1e-9)


def test_the_python_api_and_runs_whose_draws_were_chosen_for_each_image(tmp_path: Path) -> None:
    near = stored_run(tmp_path, [EASY, HARD], sigma=0.25)
    far = stored_run(tmp_path, [EASY, EASY[:3]], sigma=0.5, sampling="adaptive:tolerance=2%,pilot=1")
    rows = raysmooth.recertify(str(tmp_path), envelope=[near, far], alpha=0.01)
    assert rows.n_used.tolist() == [320, 260]
    assert set(rows.sampling) == {"fixed + adaptive:tolerance=2%,pilot=1"}
    assert rows.radius[0] == recertify(tmp_path, envelope=f"{near},{far}", alpha=0.01).radius[0] > 0
    assert len(raysmooth.recertify(tmp_path, worst_sigma=f"{near},{far}", familywise=0.1)) == 2
    with pytest.raises(RaysmoothError, match=r"^envelope joins runs that differ in sigma: name two or more"):
        raysmooth.recertify(tmp_path, envelope=near)
    with pytest.raises(RaysmoothError, match=r"^memory keeps the certificates that runs have: leave n out"):
        raysmooth.recertify(tmp_path, memory=True, n=100)


def test_failures_are_rows_and_unfinished_images_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near = stored_run(tmp_path, [EASY, EASY, EASY, EASY], of=4, sigma=0.25)
    far = stored_run(tmp_path, [EASY, EASY], bad=[1], of=4, sigma=0.5)
    rows = recertify(tmp_path, envelope=[near, far])
    assert capsys.readouterr().err == (
        "raysmooth: 2 images are not finished in all runs: continue those, then repeat the command\n"
    )
    assert rows.image_id.tolist() == [0, 1]
    assert (rows.status[1], rows.error[1]) == ("error", f"run {far}: NaN")
    assert stored_run(tmp_path, [EASY, EASY, EASY, EASY], of=4, sigma=0.5) == far
    again = recertify(tmp_path, envelope=[near, far])
    pd.testing.assert_frame_equal(again[:2], rows)
    assert again.radius[3] == rows.radius[0]
    stored_run(tmp_path, [EASY], of=4, sigma=1.0)
    with pytest.raises(RaysmoothError, match=r"^--envelope: no image is finished in all runs yet: continue them first"):
        recertify(tmp_path, envelope=[near, _only_image_one(tmp_path)])


def _only_image_one(out: Path) -> str:
    """A run that has finished image 1 and not 0: none other has so far only that."""
    run = stored_run(out, [EASY], of=4, sigma=2.0)
    (part,) = out.glob(f"certificates/run_id={run}/*.parquet")
    table = pq.ParquetFile(part).read()
    place = table.schema.get_field_index("image_id")
    pq.write_table(table.set_column(place, "image_id", pa.array([9])), part)
    return run


Refused = tuple[dict[str, Any], list[str], str]
REFUSED: list[Refused] = [
    ({}, ["--envelope", "NEAR"], "--envelope joins runs that differ in sigma: name two or more, such as RUN,RUN"),
    ({}, ["--envelope", "NEAR,NEAR"], "--envelope joins runs that differ in sigma: name two or more"),
    ({}, ["--envelope", "zz,NEAR"], "--envelope zz: there is no such run"),
    ({}, ["--envelope", "NEAR,FAR", "--run", "NEAR"], "--envelope names its runs: leave --run out"),
    ({}, ["--envelope", "NEAR,FAR", "--worst-sigma", "NEAR,FAR"], "--envelope and --worst-sigma make runs of their"),
    ({}, ["--envelope", "NEAR,FAR", "--memory"], "--envelope and --memory make runs of their own: leave one of them"),
    ({}, ["--envelope", "NEAR,FAR", "--data-root", "x"], "--data-root is where --memory reads images: leave it out"),
    ({}, ["--envelope", "NEAR,FAR", "--noise-bound", "complement"], "--noise-bound: an envelope bounds the likeliest"),
    ({}, ["--envelope", "NEAR,FAR", "--alpha-share", "0.9"], "--alpha-share: an envelope bounds the likeliest other"),
    ({}, ["--envelope", "NEAR,FAR", "--rejection", "off"], "--envelope keeps the rejectors of its runs: leave"),
    ({}, ["--envelope", "NEAR,FAR", "--norm", "l1"], "--norm l1: run NEAR has gaussian noise, which gives radii in l2"),
    ({}, ["--envelope", "NEAR,FAR", "--n", "1000"], "--n 1000: run NEAR has n=160 draws per image: write --n 160 or"),
    ({}, ["--envelope", "NEAR,FAR", "--alpha", "1e-48"],
     "--envelope: n=160 draws at alpha=1e-48, shared by 2 levels, can only abstain: write a larger --alpha"),
    ({}, ["--worst-sigma", "NEAR"], "--worst-sigma joins runs that differ in sigma: name two or more"),
    ({"data_fingerprint": "e"}, ["--envelope", "NEAR,FAR"],
     "--envelope: run FAR has other images or labels than run NEAR: choose runs of the same images and noise"),
    ({"index_set": "others"}, ["--envelope", "NEAR,FAR"],
     "--envelope: run FAR has other images than run NEAR (others, not some): choose runs of the same images"),
    ({"noise": "uniform", "norm": "l1"}, ["--envelope", "NEAR,FAR"],
     "--envelope: run FAR has another noise family than run NEAR (uniform, not gaussian): choose runs of"),
    ({"norm": "linf"}, ["--envelope", "NEAR,FAR"],
     "--envelope: the runs differ in norm (l2, linf): write --norm l2\n"),
    ({"alpha": 0.01}, ["--worst-sigma", "NEAR,FAR"],
     "--worst-sigma: the runs differ in alpha (0.001, 0.01): write --alpha 0.001\n"),
    ({"sampling": "decide:radius=0.2"}, ["--envelope", "NEAR,FAR"],
     "--envelope: run FAR has sampling decide:radius=0.2, and its draws bound no probability: choose other runs\n"),
    ({"sigma_rule": "grid:levels=2", "image_sigma": 0.5}, ["--envelope", "NEAR,FAR"],
     "--envelope: run FAR has a sigma of its own for each image, which is no level of one classifier: choose runs"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "flags", "expected"), REFUSED, ids=lambda value: " ".join(value))
def test_runs_that_do_not_go_together_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], flags: list[str], expected: str
) -> None:
    near, far = stored_run(tmp_path, [EASY], sigma=0.25), stored_run(tmp_path, [EASY], sigma=0.5, **facts)

    def named(text: str) -> str:
        return text.replace("NEAR", near).replace("FAR", far)

    code, out, err = command(capsys, "recertify", str(tmp_path), *map(named, flags))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"raysmooth: {named(expected)}"), err
    assert {path.name for path in tmp_path.glob("runs/*")} == {near, far}


def test_other_classes_derived_runs_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    near = stored_run(tmp_path, [EASY], sigma=0.25)
    two = stored_run(tmp_path, [[[*block, 0] for block in EASY]], sigma=0.75)
    with pytest.raises(RaysmoothError, match=rf"^--envelope: run {two} has 4 classes, and run {near} has 3: choose"):
        recertify(tmp_path, envelope=[near, two])
    (made,) = recertify(tmp_path, near, alpha=0.01).run_id.unique()
    with pytest.raises(
        RaysmoothError, match=rf"^run {made} has no counts, as it was recertified: write --envelope {near}"
    ):
        recertify(tmp_path, envelope=[made, near])
    far = stored_run(tmp_path, [EASY], sigma=0.5)
    (joined,) = recertify(tmp_path, envelope=[near, far]).run_id.unique()
    with pytest.raises(RaysmoothError, match=rf"^run {joined} \(envelope\) has no certificates sampled here: choose"):
        recertify(tmp_path, envelope=[near, joined])
    with pytest.raises(RaysmoothError, match=rf"^run {joined} \(envelope\) has no certificates sampled here: choose"):
        recertify(tmp_path, joined, alpha=0.1)
    manifest = tmp_path / "runs" / joined / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"alpha": 0.001', '"alpha": 0.002'))
    with pytest.raises(RaysmoothError, match=r"is not a raysmooth manifest: identity has the hash"):
        recertify(tmp_path, envelope=[near, far])
    for part in (tmp_path / "runs" / far / "counts").iterdir():
        part.unlink()
    manifest.unlink()
    with pytest.raises(RaysmoothError, match=r"lacks draws of image 0, which has 20 \+ 160: restore its parts"):
        recertify(tmp_path, envelope=[near, far], alpha=0.03)


def test_the_commands_table_report_and_status_know_an_envelope(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near, far = runs_of(tmp_path, 0.25, 0.5)
    code, out, err = command(capsys, "recertify", str(tmp_path), "--envelope", f"{near},{far}")
    assert code == 0, err
    (made,) = {path.name for path in (tmp_path / "runs").iterdir()} - {near, far}
    assert f"envelope of {near},{far}: run {made}\n" in err
    for words in (
        ["report", str(tmp_path), "--no-image"],
        ["status", str(tmp_path)],
        ["status", str(tmp_path), "--json"],
    ):
        code, out, err = command(capsys, *words)
        assert code == 0, (words, err)
    for run in (near, far):
        (tmp_path / "runs" / run / "manifest.json").unlink()
    for words in (["status", str(tmp_path)], ["status", str(tmp_path), "--json"]):
        code, out, err = command(capsys, *words)
        assert code == 0, (words, err)
        assert "envelope" in out
