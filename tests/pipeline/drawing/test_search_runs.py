"""optimize-sigma on real Ray: the same levels on any number of replicas, and what the commands say of a search."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command import command, refused
from small_searches import DDRS, SEARCH, rows_of_search, searched

import raysmooth
from raysmooth.pipeline.drawing import driver
from raysmooth.pipeline.drawing.found_levels import found_levels
from raysmooth.pipeline.store.manifest import run_folders

pytestmark = pytest.mark.processes


def optimized(out: Path, **settings: Any) -> pd.DataFrame:
    asked = {**SEARCH, "search": DDRS, "max": 12, "out": out, **settings}
    return raysmooth.optimize_sigma(progress=False, **asked)


@pytest.fixture(scope="module")
def one_replica(ray_cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("one")
    return out, optimized(out, replicas=1)


def test_two_replicas_find_the_levels_of_one(one_replica: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    rows = optimized(tmp_path, replicas=2)
    pd.testing.assert_frame_equal(
        rows.drop(columns="seconds"), one_replica[1].drop(columns="seconds"), check_exact=True
    )
    assert [*rows][:6] == ["image_id", "label", "step", "prediction", "radius", "image_sigma"]
    assert rows["image_id"].tolist() == [*range(12)]
    assert rows["step"].eq(3).all()
    assert rows["status"].eq("ok").all()


@pytest.mark.usefixtures("ray_cluster")
def test_a_grid_needs_labels_alone(tmp_path: Path) -> None:
    rows = optimized(
        tmp_path, classifier="base_classifiers:Labels", search="grid:levels=3,draws=5,least=0.125,most=0.375", max=4
    )
    assert set(rows["image_sigma"]) <= {0.125, 0.25, 0.375}


def test_what_commands_make_of_a_search(
    one_replica: tuple[Path, pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    no_ray: None,
) -> None:
    out, rows = one_replica
    monkeypatch.setattr(driver, "will_be_local", lambda address: True)  # as in a process of its own
    (run,) = (folder.run_id for folder in run_folders(str(out)))
    given = ["--dataset", "digits", "--classifier", "base_classifiers:Linear", "--sigma", "0.25", "--batch-size", "4"]
    given += ["--search", DDRS, "--max", "12", "--out", str(out)]
    code, printed, said = command(capsys, "optimize-sigma", *given)
    assert code == 0
    assert "nothing to draw, so Ray was not started" in said
    levels = rows["image_sigma"]
    assert printed.splitlines()[0].startswith("sigma 0.25: levels of 12 images after 3 steps, ")
    assert printed.splitlines()[0].endswith(f"run {run}")
    quartiles = ", ".join(f"{levels.quantile(part):.4g}" for part in (0.25, 0.5, 0.75))
    assert printed.splitlines()[1] == f"  from {levels.min():.4g} to {levels.max():.4g}, quartiles {quartiles}"
    assert printed.splitlines()[2] == "  at the least, 0.0625: 0; at the most, 1: 0"
    assert f"certify at these levels: raysmooth certify, with the same flags and --sigmas {run}" in said
    for name in ("report", "show"):
        line = refused(capsys, name, str(out), *(["3"] if name == "show" else []))
        assert "holds only noise levels, found by optimize-sigma: 'raysmooth certify --sigmas RUN' certifies" in line
    (status,) = raysmooth.status(out).to_dict("records")
    assert (status["procedure"], status["state"], status["done"]) == ("optimize-sigma", "finished", 12)
    assert status["draws"] == 12 * 9  # three steps of a forward and a backward pass
    code, printed, _ = command(capsys, "status", str(out))
    assert code == 0
    assert "n unknown" not in printed


def test_images_at_a_bound_are_counted(tmp_path: Path) -> None:
    run = searched(
        tmp_path, max=5, search="ddrs:steps=4,learning_rate=1,most=0.3", classifier="base_classifiers:Certain"
    )
    (found,) = found_levels(rows_of_search(tmp_path, run))
    assert (found.images, found.failed, found.at_bounds, found.bounds) == (5, 0, (0, 5), (0.0625, 0.3))
    assert found.quartiles == (0.3,) * 5
