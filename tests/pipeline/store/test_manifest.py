"""Where a run's files are, and which manifests are refused or passed over."""

import json
import os
from pathlib import Path

import pytest
from manifests import manifest_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.manifest import (
    ManifestError,
    RunFolder,
    manifests,
    read_manifest,
    refuse_no_runs,
    run_folders,
    run_id,
)
from raysmooth.pipeline.store.run_store import RunStore

GOOD = manifest_of()
RUN_ID = GOOD["run_id"]
BAD = {
    "": "not JSON",
    "{half": "not JSON",
    "[]": "holds [], expected an object with keys",
    "3": "holds 3, expected an object with keys",
    f'{{"run_id": "{RUN_ID}"}}': "lacks the key identity",
    '{"identity": [1]}': "identity: holds [1], expected an object with keys",
    '{"identity": "certify"}': 'identity: holds "certify", expected an object with keys',
    "\udcff": "not JSON",
    '{"identity": {}, "identity": {}}': 'has the key "identity" twice',
    '{"identity": NaN}': "holds NaN, which is no number",
    '{"identity": {"sigma": 1e999}}': "holds 1e999, which is no number",
    f'{{"identity": {"7" * 5000}}}': "holds a number of 5,000 digits",
    "[" * 100_000: "not JSON (nested too deep)",
    f"{'[' * 200}{']' * 200}": "not JSON (nested too deep)",
}


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
    run = RunFolder.of(tmp_path, RUN_ID)
    assert run_folders(tmp_path) == [run]
    assert run.manifest.local == tmp_path / f"runs/{RUN_ID}/manifest.json"
    assert run.progress.local == tmp_path / f"runs/{RUN_ID}/progress.json"
    assert len(run.counts.files()) == len(run.rows("certificates").files()) == 1
    assert run.rows("certificates").local == tmp_path / f"certificates/run_id={RUN_ID}"
    assert read_manifest(run, "identity", "num_classes") == MANIFEST


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, RUN_ID, json.dumps(GOOD)), "identity")
    assert dict(manifest) == {**manifest} == GOOD
    assert manifest.identity == GOOD["identity"]
    assert manifest.procedure == "certify"


@pytest.mark.parametrize(("content", "reason"), BAD.items(), ids=map(str, range(len(BAD))))
def test_one_that_is_not_a_manifest_is_one_kind_of_error_in_one_line(tmp_path: Path, content: str, reason: str) -> None:
    run = write(tmp_path, RUN_ID, content)
    with pytest.raises(ManifestError) as refusal:
        read_manifest(run, "identity")
    assert str(refusal.value).startswith(f"{run.manifest} is not a raysmooth manifest: {reason}")
    assert str(refusal.value).isprintable()
    assert not refusal.value.is_missing


def test_a_missing_key_or_file_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path, RUN_ID, json.dumps({key: value for key, value in GOOD.items() if key != "framing"}))
    with pytest.raises(ManifestError, match="is not a raysmooth manifest: lacks the key framing"):
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


def test_an_edited_identity_or_another_runs_manifest_is_refused(tmp_path: Path) -> None:
    """With sigma 1.0 in place of 0.25 the same counts would give four times the radius; fewer images weaken a
    familywise alpha.
    """
    for key, value in {"sigma": 1.0, "images": 1, "alpha": 0.01}.items():
        run = write(tmp_path, RUN_ID, json.dumps({**GOOD, "identity": {**GOOD["identity"], key: value}}))
        with pytest.raises(ManifestError, match=f"identity has the hash [0-9a-f]{{16}}, expected .* {RUN_ID}: it was"):
            read_manifest(run)
    other = manifest_of(sigma=0.5)
    with pytest.raises(ManifestError, match=rf"run_id is \"{other['run_id']}\", expected that of its folder, {RUN_ID}"):
        read_manifest(write(tmp_path, RUN_ID, json.dumps(other)))
    del other["run_id"]
    with pytest.raises(ManifestError, match=f"identity has the hash {run_id(other['identity'])}, expected"):
        read_manifest(write(tmp_path, RUN_ID, json.dumps(other)))


def test_runs_of_every_kind_have_the_hash_of_their_identity_as_id(tmp_path: Path) -> None:
    source = manifest_of()
    recertified = manifest_of(
        procedure="recertify", source_run=source["run_id"], noise_bound="complement", familywise=None, n=5000
    )
    recertified["identity"]["familywise"] = None
    log = {"import": 1, "sha256": "ab" * 32, "dataset": "cifar10", "classifier": "x", "noise": "gaussian", "n": None}
    imported = {"identity": log, "num_classes": None, "imported": {"file": "a.tsv", "sha256": "ab" * 32, "rows": 3}}
    for values in (source, recertified, imported):
        values["run_id"] = run_id(values["identity"])
        assert dict(read_manifest(write(tmp_path, values["run_id"], json.dumps(values)))) == values


ODD = [None, [], {}, "", "x\n\x1b[31m", "y" * 5000, -1, 0, 1.5, True, 10**30, 1e300, [[1]], {"a": [None]}]


def keys_of(value: object, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return []
    return [path for key in value for path in [(*above, key), *keys_of(value[key], (*above, key))]]


@pytest.mark.parametrize("path", keys_of(GOOD), ids=".".join)
def test_whatever_a_key_holds_the_manifest_is_read_right_or_refused_in_one_line(
    tmp_path: Path, path: tuple[str, ...]
) -> None:
    """With the hash that belongs to the identity too, as a manifest by hand could have."""
    for odd in (*ODD, KeyError):
        for consistent in (False, True):
            changed = json.loads(json.dumps(GOOD))
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if odd is KeyError:
                del inner[path[-1]]
            else:
                inner[path[-1]] = odd
            name = RUN_ID
            if consistent and isinstance(changed.get("identity"), dict):
                name = run_id(changed["identity"])
                changed["run_id"] = name if path != ("run_id",) else changed.get("run_id")
            run = write(tmp_path, name, json.dumps(changed))
            try:
                found = read_manifest(run, "identity")
            except ManifestError as error:
                refusal = str(error)
            else:
                refusal = None
            if refusal is not None:
                assert refusal.isprintable(), refusal
                assert len(refusal) < 600
                continue
            used = found.identity
            assert isinstance(used["images"], int)
            assert used["sigma"] > 0
            assert used["n"] >= 1
            assert 0 < used["alpha"] < 1
            assert found.get("num_classes") is None or 2 <= found["num_classes"] <= 10**6
            assert consistent or found.identity == GOOD["identity"]


def test_what_is_no_file_of_sane_size_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    run = write(tmp_path, RUN_ID, "")
    run.manifest.unlink()
    os.mkfifo(run.manifest.local)
    with pytest.raises(ManifestError, match=r"manifest\.json cannot be read \(no regular file\)"):
        read_manifest(run)
    run.manifest.unlink()
    with run.manifest.local.open("wb") as file:
        file.truncate(60 * 2**30)
    with pytest.raises(ManifestError, match=r"manifest\.json cannot be read \(larger than 16 MiB\)"):
        read_manifest(run)
    run.manifest.unlink()
    run.manifest.local.symlink_to("/dev/zero")
    with pytest.raises(ManifestError, match=r"manifest\.json cannot be read \(no regular file\)"):
        read_manifest(run)


def test_of_all_manifests_a_bad_one_is_refused_or_passed_over(tmp_path: Path) -> None:
    assert [*manifests(tmp_path)] == []
    both = [manifest_of(sigma=sigma) for sigma in (0.25, 0.5)]
    for manifest in both:
        write(tmp_path, manifest["run_id"], json.dumps(manifest))
    ids = sorted(manifest["run_id"] for manifest in both)
    RunFolder.of(tmp_path, "b").home.make_folder()  # a run without one
    assert [run.run_id for run, _ in manifests(tmp_path, "identity")] == ids
    write(tmp_path, "b", "{half")
    with pytest.raises(ManifestError, match=r"b/manifest\.json is not"):
        list(manifests(tmp_path, "identity"))
    assert [run.run_id for run, _ in manifests(tmp_path, "identity", skip_bad=True)] == ids


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"there is no .*/runs: give the results folder"):
        refuse_no_runs(tmp_path)
    write(tmp_path, "a", "")
    refuse_no_runs(tmp_path)
