"""Noise as people write it: one convention for its level, whatever the family; what is unclear is refused."""

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command import refused_without_trace
from statsmodels.stats.proportion import proportion_confint

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded
from raysmooth.actors.noise.families import GaussianLinf, Uniform
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked, user_settings
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.pictures.gallery_settings import GallerySettings
from raysmooth.pipeline.runs.noise_mismatch import describe, find_mismatch
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.settings import CertifySettings, PredictSettings
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings

NEEDED: dict[str, Any] = {"dataset": "digits", "classifier": "base_classifiers:Linear", "max": 5}


def settings_of(**changes: Any) -> CertifySettings:
    return user_settings(CertifySettings, {**NEEDED, **changes})


def prepared(**changes: Any) -> Run:
    (run,) = prepare(PROCEDURES["certify"], settings_of(**changes))
    return replace(run, compute=ComputeConfig("float32", False, 100))


def identity_of(**changes: Any) -> dict[str, Any]:
    return prepared(**changes).identity(ReplicaIdentity("cpu of some kind", "2.15", "2.4", "node", 1))


@pytest.mark.parametrize(
    ("written", "family", "sigmas"),
    [
        ({"noise": "uniform:0.5"}, "uniform", [0.5 / sqrt(3)]),
        ({"noise": "uniform:0.25,0.5"}, "uniform", [0.25 / sqrt(3), 0.5 / sqrt(3)]),
        ({"noise": "uniform:0.25, 0.5"}, "uniform", [0.25 / sqrt(3), 0.5 / sqrt(3)]),
        ({"noise": "uniform", "sigma": "0.25,0.5"}, "uniform", [0.25, 0.5]),
        ({"noise": "gaussian:0.5"}, "gaussian", [0.5]),
        ({"sigma": 0.5}, "gaussian", [0.5]),
        ({"sigma": "32/255,64/255"}, "gaussian", [32 / 255, 64 / 255]),
        ({"sigma": ["32/255", 0.25]}, "gaussian", [32 / 255, 0.25]),
        ({"noise": "gaussian:1/4"}, "gaussian", [0.25]),
        ({"noise": "uniform:32/255,64/255"}, "uniform", [32 / 255 / sqrt(3), 64 / 255 / sqrt(3)]),
    ],
)
def test_both_ways_of_writing_are_a_family_and_its_sigma(
    written: dict[str, Any], family: str, sigmas: list[float]
) -> None:
    for model in (CertifySettings, PredictSettings):
        settings = checked(model, {**NEEDED, **written})
        assert (settings.noise, settings.sigma) == (family, sigmas)


def test_noise_and_norm_belong_to_the_run() -> None:
    identities = [
        identity_of(sigma=0.5),
        identity_of(sigma=0.5, norm="linf"),
        identity_of(noise="uniform", sigma=0.5),
        identity_of(noise="uniform:0.5"),
    ]
    assert [(one["noise"], one["norm"]) for one in identities] == [
        ("gaussian", "l2"),
        ("gaussian", "linf"),
        ("uniform", "l1"),
        ("uniform", "l1"),
    ]
    assert len({run_id(one) for one in identities}) == 4
    assert identities[2]["sigma"] == 0.5
    assert identities[3]["sigma"] * sqrt(3) == pytest.approx(0.5, rel=1e-15)
    # However it is written, it is one run.
    assert identity_of(noise="uniform:0.5") == identity_of(noise="uniform", sigma=0.5 / sqrt(3))
    assert identity_of(sigma=0.5, norm="l2", noise="gaussian") == identities[0]


def test_linf_is_of_the_images_as_they_are_classified() -> None:
    assert prepared(sigma=0.5, norm="linf").noise == GaussianLinf(0.5, 8 * 8)
    larger = {"resize": 16, "crop": 12, "classifier": "base_classifiers:Linear:pixels=144"}
    assert prepared(sigma=0.5, norm="linf", **larger).noise == GaussianLinf(0.5, 12 * 12)


def test_weights_trained_for_the_noise_that_is_drawn_are_no_mismatch() -> None:
    def mismatch(card: dict[str, Any], **written: Any) -> list[str]:
        loaded = Loaded(None, BaseClassifierSpec("lenet", "c.safetensors", None, "none", None), card, {})
        return describe([find_mismatch(loaded, prepared(**written).noise)])

    quarter, half = {"noise": "uniform", "sigma": 0.25}, {"noise": "uniform", "sigma": 0.5 / sqrt(3)}
    assert mismatch(quarter, noise="uniform", sigma=0.25) == mismatch(half, noise="uniform:0.5") == []
    ((warning),) = mismatch(half, noise="uniform", sigma=0.5)
    assert warning.endswith("uniform noise of sigma 0.288675134595, this run draws uniform noise of sigma 0.5")
    ((warning),) = mismatch({"noise": "gaussian", "sigma": 0.5}, noise="uniform", sigma=0.5)
    assert warning.endswith("gaussian noise of sigma 0.5, this run draws uniform noise of sigma 0.5")


REFUSED = [
    ({"noise": "uniform:0.5", "sigma": "0.25"}, "--noise uniform:0.5 and --sigma 0.25 both give a level: write one"),
    ({"noise": "uniform"}, "--sigma is missing: Noise level"),
    ({"noise": "unifrm:0.5"}, "unknown noise family 'unifrm': did you mean 'uniform'?"),
    ({"noise": "unifrm", "sigma": "0.5"}, "unknown noise family 'unifrm': did you mean 'uniform'?"),
    ({"noise": "uniform:much"}, "--noise uniform:much: write its lambda after the colon, as in uniform:0.5"),
    ({"noise": "gaussian:"}, "--noise gaussian:: write its sigma after the colon, as in gaussian:0.5"),
    ({"noise": "gaussian:,"}, "--noise gaussian:,: write its sigma after the colon, as in gaussian:0.5"),
    ({"noise": "uniform:0"}, "sigma must be a positive number, not 0"),
    ({"noise": "uniform:0.5,0.5"}, "--sigma names a level twice"),
    ({"noise": "uniform:0.5", "norm": "l2"}, "--norm l2: uniform noise gives radii in l1: write --norm l1, or --noise"),
    ({"sigma": "0.5", "norm": "l1"}, "--norm l1: gaussian noise gives radii in l2 or linf: write"),
    ({"noise": "uniform:0.5", "n": "9"}, "n=9 draws at alpha=0.001 can only abstain: write --n 10 or more"),
    # Beyond lambda there is nothing to decide; in linf it depends on the images, 64 pixels: sigma * 3 / 8.
    (
        {"noise": "uniform:0.5", "sampling": "decide", "radius": "0.6"},
        "--radius 0.6 at sigma 0.288675 is beyond n=10000 draws at alpha=0.001, even if all of them agree: write "
        "--radius 0.499 or less",
    ),
    (
        {"sigma": "0.5", "norm": "linf", "sampling": "decide", "radius": "0.3"},
        "--radius 0.3 at sigma 0.5 is beyond n=10000 draws at alpha=0.001",
    ),
    ({"sigma": "0.5", "norm": "linf", "n": "9"}, "n=9 draws at alpha=0.001 can only abstain"),
    ({"sigma": "0.5", "norm": "linf", "sampling": "decide"}, "--sampling decide needs --radius"),
    ({"sigma": "0.5", "norm": "linf", "radius": "0.1"}, "--radius belongs to --sampling decide"),
]


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(("changes", "expected"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_unclear_is_refused_in_one_line_before_ray_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    line = refused_without_trace(capsys, "certify", tmp_path / "out", {**NEEDED, **changes})
    assert line.startswith(expected)


def test_a_radius_in_linf_that_the_images_allow_is_decided() -> None:
    assert prepared(sigma=0.5, norm="linf", sampling="decide", radius=0.19).rule.first
    with pytest.raises(RaysmoothError, match=r"write --n \d+ or more, or --radius 0\.197 or less"):
        prepared(sigma=0.5, norm="linf", sampling="decide", radius=0.2)


def test_uniform_noise_on_real_ray(ray_cluster: object, tmp_path: Path) -> None:
    """Every way of sampling, and predictions: rows follow from stored counts by the l1 radius."""
    procedure = PROCEDURES["certify"]
    common = {**NEEDED, "max": 12, "noise": "uniform:0.5", "n": 600, "n0": 40, "block_size": 200, "batch_size": 100}
    common |= {"replicas": 2, "precision": "float32", "compile": "off", "out": str(tmp_path)}
    ways: list[dict[str, Any]] = [{}, {"sampling": "adaptive"}, {"sampling": "decide", "radius": 0.1}]
    all_settings = [user_settings(procedure.settings, {**common, **way}) for way in ways]
    rows = run_procedure(procedure, all_settings, show_progress=False)
    assert len(rows) == 36
    assert set(rows.noise) == {"uniform"}
    assert set(rows.norm) == {"l1"}
    assert set(rows.sigma) == {0.5 / sqrt(3)}
    fixed = rows[rows.sampling == "fixed"]
    assert (fixed.radius > 0).sum() >= 3
    counts = pd.concat(pd.read_parquet(part) for part in tmp_path.glob(f"runs/{fixed.run_id.iloc[0]}/counts/*"))
    for row in fixed.itertuples():
        selected, estimated = np.zeros(10, int), np.zeros(10, int)
        for block in counts[counts.image_id == row.image_id].itertuples():
            (selected if block.role == "selection" else estimated)[block.labels] += block.counts
        p_lower = proportion_confint(estimated[selected.argmax()], 600, alpha=0.002, method="beta")[0]
        assert row.radius == pytest.approx(max(0.0, p_lower - 0.5), rel=1e-8, abs=1e-12)
        assert row.prediction == (selected.argmax() if p_lower > 0.5 else -1)
    # Decisions agree with radii wherever these are far enough from the one asked about.
    decided = rows[rows.sampling == "decide:radius=0.1"]
    both = fixed[["image_id", "radius"]].merge(decided[["image_id", "decision"]], on="image_id")
    assert (both.loc[both.radius > 0.15, "decision"] == "certified").all()
    assert (both.loc[both.radius == 0, "decision"] != "certified").all()
    assert set(rows.loc[rows.decision == "certified", "radius"]) == {0.1}
    manifest = json.loads(next(tmp_path.glob(f"runs/{fixed.run_id.iloc[0]}/manifest.json")).read_text())
    assert Uniform(manifest["identity"]["sigma"]).half_width == 0.5


def test_a_fraction_is_the_run_of_its_number() -> None:
    assert run_id(identity_of(sigma="1/4")) == run_id(identity_of(sigma=0.25))
    assert run_id(identity_of(sigma="64/255")) == run_id(identity_of(sigma=64 / 255))
    assert run_id(identity_of(sigma="64/255")) != run_id(identity_of(sigma=0.251))


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ({"sigma": 64}, "--sigma 64: sigma is at most 10: .* for 64 of 255 grey levels write --sigma 64/255 .0.251.$"),
        ({"sigma": "0.25,12"}, "--sigma 12: .* write --sigma 12/255 .0.0471.$"),
        ({"noise": "gaussian:16"}, "--noise gaussian:16: .* write gaussian:16/255 .0.0627.$"),
        ({"noise": "uniform:32"}, "--noise uniform:32: .* write uniform:32/255 .0.125.$"),
    ],
)
def test_levels_for_pixels_up_to_255_are_refused_with_what_to_write(written: dict[str, Any], instead: str) -> None:
    common = {"dataset": "digits", "sigma": None, **written}
    train = {"objective": "mse", "denoiser": "dncnn", "out": "w.safetensors"}
    every = [(CertifySettings, NEEDED | written), (PredictSettings, NEEDED | written)]
    if not isinstance(written.get("sigma"), str):
        every.append((TrainDenoiserSettings, common | train))
        every.append((TrainClassifierSettings, common | {"classifier": "lenet", "out": "w.safetensors"}))
    if "noise" not in written:
        every.append((GallerySettings, common | {"denoiser_weights": "w"}))
    for model, values in every:
        with pytest.raises(RaysmoothError, match=instead):
            checked(model, values)


def test_levels_above_all_that_papers_use_are_taken_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    (note,) = prepared(sigma=8).notes
    assert note.endswith("pixels are in [0, 1]: for 8 of 255 grey levels write --sigma 8/255 (0.0314)")
    assert prepared(sigma=3.5).notes == ()
    settings_of(sigma=10)
    settings_of(noise=f"uniform:{10 * sqrt(3) - 1e-9}")


def test_a_radius_for_pixels_up_to_255_is_out_of_reach_and_said() -> None:
    with pytest.raises(RaysmoothError, match=r"write --radius .* or less; for 64 of 255 grey levels --radius 64/255"):
        settings_of(sigma=0.25, sampling="decide", radius=64)
    assert settings_of(sigma=0.25, sampling="decide", radius="64/255").radius == 64 / 255
