"""A command says which earlier run it resumes, or in what the run that it begins differs from the nearest one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import DEVICE_KIND, certified, opened

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.weights import save_weights
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.earlier_runs import Announcement, PlannedRun, announcements


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """Settings of a run of two grey images and weights, with results in out/."""
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        picture(tmp_path, number, 50 * number)
    weights(tmp_path, seed=0)
    return {
        "dataset": "folder", "data_root": str(tmp_path / "pictures"), "sigma": [0.25], "out": str(tmp_path / "out"),
        "classifier": "base_classifiers:Linear:pixels=192",
    }  # fmt: skip


def picture(home: Path, number: int, value: int) -> None:
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(home / f"pictures/{number}.png")


def weights(home: Path, seed: int) -> None:
    torch.manual_seed(seed)
    save_weights(home / "w.safetensors", digits_cnn(), {"architecture": "digits_cnn"})


def begun(values: dict[str, Any]) -> str:
    with opened(Path(values["out"]), **{name: value for name, value in values.items() if name != "out"}) as (ledger, _):
        return ledger.run_id


def planned(
    values: dict[str, Any], device: str = DEVICE_KIND, by_timing: bool = False, batch: int = 50, **changes: Any
) -> list[PlannedRun]:
    """The runs that these settings begin or resume, in batches of 50 as those of `small_runs`."""
    procedure = PROCEDURES["certify"]
    here = ReplicaIdentity(device, torch.__version__, np.__version__, "here", 1)
    runs = prepare(procedure, user_settings(procedure.settings, values | changes))
    runs = [replace(run, compute=ComputeConfig("float32", False, batch)) for run in runs]
    return [PlannedRun(run.settings.out, run.identity(here), run.settings, by_timing) for run in runs]


def said(values: dict[str, Any], dry: bool = False, **changes: Any) -> str | None:
    """The one line about the runs of these settings; None if there is none."""
    lines = announced(values, dry, **changes)
    assert len(lines) < 2
    return lines[0].line if lines else None


def announced(values: dict[str, Any], dry: bool = False, **changes: Any) -> list[Announcement]:
    return announcements(planned(values, **changes), dry)


def new(values: dict[str, Any], **changes: Any) -> str:
    (line,) = [one.facts.run_id for one in planned(values, **changes)]
    return line


def test_the_first_run_of_a_folder_is_announced_by_a_dry_run_alone(values: dict[str, Any]) -> None:
    assert said(values) is None
    assert said(values, dry=True) == f"would begin new run {new(values)} in {values['out']}"
    assert said(values, dry=True, by_timing=True) == f"would begin a new run in {values['out']}"
    assert said(values, dry=True, by_timing=True, sigma=[0.25, 0.5]) == f"would begin 2 new runs in {values['out']}"


def test_another_setting_begins_a_new_run_beside_the_old_one(values: dict[str, Any]) -> None:
    old = begun(values)
    line = f"new run {new(values, n=2000)} differs from run {old} in --n (10000 there, 2000 here); "
    assert said(values, n=2000) == line + "to continue that one (0 of 2 images finished), write --n 10000"
    assert said(values, n=2000, dry=True).startswith(f"would begin {line.replace(' differs', ', which differs')}")
    assert said(values, n=2000, dry=True, by_timing=True).startswith("would begin a new run, which differs from run")
    assert said(values, n=2000, seed=3, max=1).endswith(
        "in --max (none there, 1 here), --n (10000 there, 2000 here) and --seed (0 there, 3 here); to continue that "
        "one (0 of 2 images finished), write --n 10000 --seed 0 and leave out --max"
    )
    assert said(values, sigma=[0.5]).endswith("write --sigma 0.25")
    assert "--compile" not in said(values, batch=499, n=2000)  # left to raysmooth: the manifest would decide it
    assert said(values, batch=499, batch_size=499).endswith("(0 of 2 images finished), write --batch-size 50")


def test_differences_that_are_another_study_are_only_named(values: dict[str, Any]) -> None:
    old = begun(values)
    line = said(values, n=2000, n0=50, alpha=0.01, seed=3, block_size=10, sigma=[0.5], norm="linf")
    assert line.endswith(f"from the nearest earlier run {old} in --norm, --sigma, --n0, --n, --alpha and 2 more")


def test_the_nearest_run_is_named_and_of_several_the_last(tmp_path: Path, values: dict[str, Any]) -> None:
    ids = [begun(values | {"n": n}) for n in (1000, 2000)]
    begun(values | {"seed": 3, "n0": 50})
    for run_id, started in zip(ids, ("2099-01-02", "2099-01-01"), strict=True):
        manifest = tmp_path / "out/runs" / run_id / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"started": started}))
    assert f"differs from run {ids[0]} in --n (1000 there" in said(values)
    assert f"differs from run {ids[1]} in --seed" in said(values, n=2000, seed=1)


def test_several_new_runs_that_differ_alike_share_a_line(values: dict[str, Any]) -> None:
    old = [begun(values | {"sigma": [sigma]}) for sigma in (0.25, 0.5)]
    changed = planned(values, sigma=[0.25, 0.5], n=2000)
    assert said(values, sigma=[0.25, 0.5], n=2000) == (
        f"new runs {', '.join(one.facts.run_id for one in changed)} differ from runs {', '.join(old)} in --n (10000 "
        "there, 2000 here); to continue those (0 of 4 images finished), write --n 10000"
    )
    lines = [one.line for one in announced(values, sigma=[0.25, 0.12])]
    assert lines[0] == f"resuming run {old[0]}: 0 of 2 images are finished"
    assert lines[1].endswith("write --sigma 0.5") or lines[1].endswith("write --sigma 0.25")


def test_what_is_resumed_or_finished_is_said(tmp_path: Path, values: dict[str, Any]) -> None:
    small = values | {"n": 200, "n0": 20}
    run_id = begun(small)
    assert said(small) == f"resuming run {run_id}: 0 of 2 images are finished"
    assert said(small, dry=True) == f"would resume run {run_id}: 0 of 2 images are finished"
    certified(tmp_path / "out", **{name: value for name, value in small.items() if name != "out"})
    assert said(small) == said(small, dry=True) == f"run {run_id} is finished: all 2 images have their rows"
    (beside,) = announced(small, seed=1)
    assert beside.line.endswith("; for that one (finished), write --seed 0")
    assert not beside.is_surprising  # a caller who wrote another setting has begun another run
    picture(tmp_path, 1, 7)
    assert announced(small)[0].is_surprising


def test_changed_data_are_named(tmp_path: Path, values: dict[str, Any]) -> None:
    old = begun(values)
    assert said(values).startswith("resuming")
    picture(tmp_path, 1, 7)
    ending = f"from run {old} in the content of the data; to continue that one (0 of 2 images finished), "
    ending += "restore the data"
    assert said(values).endswith(f"differs {ending}")
    assert said(values, replicas=2).endswith(f"differs {ending}")
    assert said(values, seed=1).endswith("write --seed 0 and restore the data")
    assert "the data" not in said(values, start=1)  # other images: that decides the data
    picture(tmp_path, 2, 100)  # the index set is another one, too
    assert said(values).endswith(f"differs {ending}")
    assert said(values, max=2).startswith("new run")
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "pictures").rename(elsewhere)
    line = said(values, data_root=str(elsewhere))
    assert line.endswith(f"write --data-root {tmp_path}/pictures")
    assert "content" not in line


def test_another_device_or_version_is_named(tmp_path: Path, values: dict[str, Any]) -> None:
    begun(values)
    line = said(values, device="cuda H200")
    assert f"in the device ({DEVICE_KIND} there, cuda H200 here); to continue" in line
    assert line.endswith(f"run it on {DEVICE_KIND}")
    (one,) = planned(values)
    (beside,) = announcements([replace(one, identity={**one.identity, "torch": "9.9", "scheme": 6})])
    assert f"in the version of raysmooth and the version of torch ({torch.__version__} there, 9.9 here)" in beside.line
    assert beside.line.endswith(f"use the raysmooth that began it and install torch {torch.__version__}")
    assert beside.is_surprising


def test_manifests_of_earlier_versions_and_damaged_ones(tmp_path: Path, values: dict[str, Any]) -> None:
    manifest = tmp_path / "out/runs" / begun(values) / "manifest.json"
    content = json.loads(manifest.read_text())
    picture(tmp_path, 1, 7)
    del content["settings"]["start"]
    manifest.write_text(json.dumps(content))
    assert "in the content of the data;" in said(values)
    assert "--start (0 there, 1 here)" in said(values, start=1)
    for damaged in ("{ half", json.dumps(content | {"settings": [1]}), json.dumps({"identity": {}})):
        manifest.write_text(damaged)
        assert said(values) is None


def test_a_text_from_a_manifest_cannot_reach_the_terminal(tmp_path: Path, values: dict[str, Any]) -> None:
    manifest = tmp_path / "out/runs" / begun(values) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["settings"]["data_root"] = "a\x1b[2J b"
    manifest.write_text(json.dumps(content))
    picture(tmp_path, 1, 7)
    assert said(values).isprintable()
    assert "\\x1b" in said(values)


def test_changed_weights_are_named(tmp_path: Path, values: dict[str, Any]) -> None:
    values |= {"dataset": "digits", "max": 2, "data_root": None}
    values |= {"classifier": "digits_cnn", "classifier_weights": str(tmp_path / "w.safetensors")}
    begun(values)
    weights(tmp_path, seed=1)
    assert "in the content of the classifier's weights;" in said(values)
    assert said(values).endswith(", restore the classifier's weights")
    (tmp_path / "w.safetensors").rename(tmp_path / "other.safetensors")
    line = said(values, classifier_weights=str(tmp_path / "other.safetensors"))
    assert line.endswith(f"write --classifier-weights {tmp_path}/w.safetensors")
