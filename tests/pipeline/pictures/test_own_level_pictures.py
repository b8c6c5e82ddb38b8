"""An image as it was certified at its own level: its noise, its heading, and what its certificate does not say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noise_by_hand import normals
from own_levels import searched
from small_runs import certified

from raysmooth.actors.noise.role import Role
from raysmooth.pipeline.analysis.sigmas.limits import MEMORY, PER_IMAGE, is_per_image, limits_of
from raysmooth.pipeline.pictures.image_replay import replay
from raysmooth.pipeline.pictures.show import ShowSettings, find_rows, records, show
from raysmooth.pipeline.runs.stored_run import StoredRun

RUN: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 2, "n0": 10, "n": 60,
    "alpha": 0.05,
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pictures")
    certified(out, **RUN, sigmas=searched(out, RUN, {0: 0.5, 1: 0.02}))
    return out


def test_the_noise_is_that_of_the_images_level(out: Path) -> None:
    (row,) = records(find_rows(out, 1))
    run = StoredRun.read(out, row["run_id"])
    copies = replay(run, row, run.open_dataset(), 2, trust_code=True).copies
    assert copies is not None
    assert copies.own
    clean = run.open_dataset().read(1).image
    drawn = normals(0, int(Role.ESTIMATION), 1, 0, 2 * clean.size).reshape(2, *clean.shape)
    np.testing.assert_allclose(copies.noisy - clean, 0.02 * drawn, atol=1e-6)


def test_show_says_the_level_and_the_limits(out: Path, tmp_path: Path) -> None:
    shown = show(ShowSettings(results=str(out), image_id=1, trust_code=True, out=str(tmp_path / "one.png")))
    certificate, limits = shown.lines
    assert "sigma 0.02, this image's own (by ddrs, from 0.25): " in certificate
    assert "the classifier smoothed with this image's own sigma 0.02 predicts" in certificate
    assert limits == PER_IMAGE


def test_only_rows_with_a_classifier_each_have_that_limit() -> None:
    about_each = {None: False, "ddrs:steps=1": True, "grid:draws=2": True}
    about_each |= {"selector:n=3": False, "envelope of 1, 2": False}
    assert {rule: is_per_image(rule) for rule in about_each} == about_each
    assert limits_of("ddrs:steps=1", None) == PER_IMAGE
    assert limits_of(None, None) is None
    assert limits_of("ddrs:steps=1", "memory of 0123456789abcdef") == MEMORY
