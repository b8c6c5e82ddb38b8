"""Where a run's files are, and which manifests are refused or passed over."""

import json
from pathlib import Path

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.manifest import (
    ManifestError,
    RunFolder,
    manifests,
    read_manifest,
    refuse_no_runs,
    run_folders,
)
from raysmooth.pipeline.store.run_store import RunStore

GOOD = {"run_id": "b", "identity": {"procedure": "certify", "sigma": 0.25}, "started": "2026"}
BAD = ["", "{half", "[]", "3", '{"run_id": "b"}', '{"identity": [1]}', '{"identity": "certify"}', "\udcff"]


def write(out: Path, run_id: str, content: str) -> RunFolder:
    run = RunFolder.of(out, run_id)
    run.home.make_folder()
    run.manifest.local.write_bytes(content.encode(errors="surrogateescape"))
    return run


def test_the_layout_is_that_of_the_store(tmp_path: Path) -> None:
    from test_run_store import MANIFEST, SCHEMA, block

    with RunStore(tmp_path, "certificates", SCHEMA, MANIFEST) as store:
        store.add_block(block(1, 0, [9, 1, 0, 0, 0, 0]))
        store.add_row({"image_id": 1, "radius": 0.1})
    run = RunFolder.of(tmp_path, "0123456789abcdef")
    assert run_folders(tmp_path) == [run]
    assert run.manifest.local == tmp_path / "runs/0123456789abcdef/manifest.json"
    assert run.progress.local == tmp_path / "runs/0123456789abcdef/progress.json"
    assert len(run.counts.files()) == len(run.rows("certificates").files()) == 1
    assert run.rows("certificates").local == tmp_path / "certificates/run_id=0123456789abcdef"
    assert read_manifest(run, "identity", "num_classes") == MANIFEST


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, "b", json.dumps(GOOD)), "identity")
    assert dict(manifest) == {**manifest} == GOOD
    assert manifest.identity == GOOD["identity"]
    assert manifest.procedure == "certify"


@pytest.mark.parametrize("content", BAD)
def test_one_that_is_not_a_manifest_is_one_kind_of_error_in_one_line(tmp_path: Path, content: str) -> None:
    run = write(tmp_path, "b", content)
    with pytest.raises(ManifestError) as refusal:
        read_manifest(run, "identity")
    assert str(refusal.value) == f"{run.manifest} is not a raysmooth manifest"
    assert not refusal.value.is_missing


def test_a_missing_key_or_file_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path, "b", json.dumps(GOOD))
    with pytest.raises(ManifestError, match="is not a raysmooth manifest"):
        read_manifest(run, "identity", "framing")
    assert dict(read_manifest(write(tmp_path, "c", '{"a": 1}'))) == {"a": 1}  # where nothing is needed
    run.manifest.unlink()
    with pytest.raises(ManifestError, match="there is no ") as refusal:
        read_manifest(run)
    assert refusal.value.is_missing
    run.manifest.make_folder()
    with pytest.raises(ManifestError, match="cannot be read") as refusal:
        read_manifest(run)
    assert not refusal.value.is_missing


def test_of_all_manifests_a_bad_one_is_refused_or_passed_over(tmp_path: Path) -> None:
    assert [*manifests(tmp_path)] == []
    for run_id in ("c", "a"):
        write(tmp_path, run_id, json.dumps(GOOD))
    RunFolder.of(tmp_path, "b").home.make_folder()  # a run without one
    assert [run.run_id for run, _ in manifests(tmp_path, "identity")] == ["a", "c"]
    write(tmp_path, "b", "{half")
    with pytest.raises(ManifestError, match=r"b/manifest\.json is not"):
        list(manifests(tmp_path, "identity"))
    assert [run.run_id for run, _ in manifests(tmp_path, "identity", skip_bad=True)] == ["a", "c"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"there is no .*/runs: give the results folder"):
        refuse_no_runs(tmp_path)
    write(tmp_path, "a", "")
    refuse_no_runs(tmp_path)
