"""The files of a run after kills, second writers, and with foreign files among them."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from manifests import manifest_of

from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.part_store import refuse_unwritable
from raysmooth.pipeline.store.parts import read_rows, refuse_foreign_parts
from raysmooth.pipeline.store.run_store import CountedBlock, RunStore

SCHEMA = pa.schema([("image_id", pa.int64()), ("radius", pa.float64())])
MANIFEST = manifest_of()
RUN_ID = MANIFEST["run_id"]


def open_store(out: Path, **changes: object) -> RunStore:
    return RunStore(out, "certificates", SCHEMA, {**MANIFEST, **changes})


def block(image_id: int, number: int, counts: list[int], role: Role = Role.ESTIMATION) -> CountedBlock:
    return CountedBlock(image_id, role, number, sum(counts), np.array(counts), 0, 0.5)


def kill(store: RunStore) -> None:
    """As after a SIGKILL: the system releases the lock, and nothing is flushed."""
    store._lock.close()


def test_what_was_flushed_comes_back_sparse_and_whole(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.add_block(block(3, 0, [0, 5, 0, 0, 95, 0], Role.SELECTION))
    store.add_block(block(3, 1, [100, 0, 0, 0, 0, 0]))
    store.add_block(block(8, 0, [1, 2, 3, 4, 5, 6]))
    store.add_row({"image_id": 8, "radius": 0.25})
    store.close()
    (part,) = (tmp_path / f"runs/{RUN_ID}/counts").glob("*.parquet")
    stored = pq.read_table(part).to_pylist()
    assert stored[0]["labels"] == [1, 4]
    assert stored[0]["counts"] == [5, 95]
    assert stored[0]["role"] == "selection"
    with open_store(tmp_path) as again:
        assert again.finished == {8}
        blocks = list(again.unfinished_blocks())
    assert [(b.image_id, b.role, b.block, b.draws) for b in blocks] == [
        (3, Role.SELECTION, 0, 100),
        (3, Role.ESTIMATION, 1, 100),
    ]
    assert blocks[0].counts.tolist() == [0, 5, 0, 0, 95, 0]
    assert read_rows(tmp_path, "certificates", RUN_ID).radius.tolist() == [0.25]


actions = st.lists(st.sampled_from(["draw", "finish", "flush", "kill"]), max_size=40)


@examples(40)
@given(actions)
def test_nothing_flushed_is_lost_or_doubled_whatever_the_order(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out, image = Path(folder), 0
        store = open_store(out)
        safe, waiting = (set(), set()), (set(), set())  # (finished, drawn) on disk and in memory
        for step in steps:
            if step == "draw":
                store.add_block(block(image, 0, [image % 7 + 1, 0, 0, 0, 0, 0]))
                waiting[1].add(image)
                image += 1
            elif step == "finish" and (todo := (safe[1] | waiting[1]) - safe[0] - waiting[0]):
                store.add_row({"image_id": min(todo), "radius": 0.5})
                waiting[0].add(min(todo))
            elif step == "flush":
                store.flush()
                safe, waiting = (safe[0] | waiting[0], safe[1] | waiting[1]), (set(), set())
            elif step == "kill":
                kill(store)
                waiting = (set(), set())
                store = open_store(out)
                image = max(safe[1], default=-1) + 1
                assert store.finished == safe[0]
                left = list(store.unfinished_blocks())
                assert sorted(b.image_id for b in left) == sorted(safe[1] - safe[0])
                assert all(b.counts[0] == b.image_id % 7 + 1 for b in left)
        store.close()
        rows = read_rows(out, "certificates", RUN_ID)
        assert sorted(rows.get("image_id", [])) == sorted(safe[0] | waiting[0])


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with open_store(tmp_path), pytest.raises(RaysmoothError, match=r"is being written by process \d+"):
        open_store(tmp_path)
    open_store(tmp_path).close()


@pytest.mark.parametrize("step", ["write", "replace", "after"])
def test_an_interrupt_in_the_middle_of_a_flush_neither_loses_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = open_store(tmp_path)
    store.add_block(block(3, 1, [100, 0, 0, 0, 0, 0]))
    store.add_row({"image_id": 8, "radius": 0.25})
    replace, interrupts = os.replace, iter([True, False, False])

    def interrupted(path: Path, target: Path) -> None:
        if next(interrupts):
            if step == "after":
                replace(path, target)
            raise KeyboardInterrupt
        replace(path, target)

    def written(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", written) if step == "write" else patch.setattr(
            os, "replace", interrupted
        )
        with pytest.raises(KeyboardInterrupt):
            store.flush()
        patch.undo()
        store.close()
    with open_store(tmp_path) as again:
        assert [b.image_id for b in again.unfinished_blocks()] == [3]
        assert again.finished == {8}
    assert len(read_rows(tmp_path, "certificates", RUN_ID)) == 1


def test_a_copied_part_of_rows_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.add_row({"image_id": 8, "radius": 0.25})
    (part,) = (tmp_path / "certificates").glob("*/part-*.parquet")
    part.with_name("part-zz-copy.parquet").write_bytes(part.read_bytes())
    with pytest.raises(RaysmoothError, match=r"part-zz-copy\.parquet holds images that another part holds too"):
        open_store(tmp_path)


def test_a_flipped_byte_is_found_and_named(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for number in range(50):
            store.add_block(block(3, number, [number, 1, 0, 0, 0, 2]))
    (part,) = (tmp_path / "runs").glob("*/counts/part-*.parquet")
    whole = part.read_bytes()
    with open_store(tmp_path) as again:
        right = [(b.block, b.counts.tolist()) for b in again.unfinished_blocks()]
    end = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # where the footer begins
    refused = 0
    for position in range(4, end, 5):
        part.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with open_store(tmp_path) as again:
            try:
                found = [(b.block, b.counts.tolist()) for b in again.unfinished_blocks()]
            except RaysmoothError as refusal:
                assert f"{part.name} is corrupt" in str(refusal)  # noqa: PT017 -- some flips, as in `seconds`, do no harm
                refused += 1
            else:
                assert found == right, position
    assert refused > 100


@pytest.mark.parametrize("kind", ["counts", "certificates"])
def test_a_corrupt_part_is_refused_by_name_and_left_alone(tmp_path: Path, kind: str) -> None:
    store = open_store(tmp_path)
    store.add_block(block(1, 0, [9, 1, 0, 0, 0, 0]))
    store.add_row({"image_id": 1, "radius": 0.1})
    store.close()
    (part,) = tmp_path.rglob(f"{kind}/**/part-*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    refusal = f"{part.name} is corrupt or not a Parquet file"
    with pytest.raises(RaysmoothError, match=refusal), open_store(tmp_path) as again:
        list(again.unfinished_blocks())
    assert part.read_bytes() == whole[: len(whole) // 2]
    assert list(tmp_path.rglob("*.parquet")) != []


def test_a_foreign_part_is_refused_by_name_and_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    foreign = tmp_path / f"certificates/run_id={RUN_ID}/part-x.parquet"
    pd.DataFrame({"image_id": [1], "radius": [99.0]}).to_parquet(foreign)
    before = foreign.read_bytes()
    for check in (lambda: open_store(tmp_path), lambda: refuse_foreign_parts(tmp_path, "certificates")):
        with pytest.raises(RaysmoothError, match=r"part-x\.parquet was not written by"):
            check()
    assert foreign.read_bytes() == before
    foreign.rename(tmp_path / "elsewhere.parquet")
    open_store(tmp_path).close()


def test_another_runs_part_is_refused(tmp_path: Path) -> None:
    other_manifest = manifest_of(sigma=0.5)
    other = open_store(tmp_path, **other_manifest)
    other.add_row({"image_id": 1, "radius": 0.1})
    other.close()
    (part,) = (tmp_path / "certificates" / f"run_id={other_manifest['run_id']}").glob("*.parquet")
    open_store(tmp_path).close()
    (tmp_path / f"certificates/run_id={RUN_ID}" / part.name).write_bytes(part.read_bytes())
    with pytest.raises(RaysmoothError, match="was not written by this run"):
        open_store(tmp_path)


def test_leftovers_of_a_kill_while_writing_are_swept_and_no_part_is_ever_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / f"certificates/run_id={RUN_ID}"
    folder.mkdir(parents=True)
    (folder / ".part-dead-00000.parquet.77.part").write_bytes(b"half a file")
    (folder / ".keep").write_text("another program's")
    for image in range(3):
        with open_store(tmp_path) as store:
            store.add_row({"image_id": image, "radius": 0.1})
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == [".keep"]
    assert len(list(folder.glob("part-*.parquet"))) == 3
    assert pd.read_parquet(tmp_path / "certificates").image_id.tolist() != []


def test_the_manifest_must_be_this_runs(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    path = tmp_path / f"runs/{RUN_ID}/manifest.json"
    assert json.loads(path.read_text())["identity"] == MANIFEST["identity"]
    with pytest.raises(RaysmoothError, match="describes another run"):
        open_store(tmp_path, identity={**MANIFEST["identity"], "sigma": 0.5})
    path.write_text("{ half")
    with pytest.raises(RaysmoothError, match="is not a raysmooth manifest"):
        open_store(tmp_path)


def test_results_removed_under_a_writer_stop_it_and_a_second_one_has_them_alone(tmp_path: Path) -> None:
    first = open_store(tmp_path / "out")
    first.add_row({"image_id": 1, "radius": 0.25})
    first.flush()
    shutil.rmtree(tmp_path / "out")
    with open_store(tmp_path / "out") as second:
        second.add_row({"image_id": 1, "radius": 0.25})
        first.add_row({"image_id": 2, "radius": 0.5})
        for write in (first.flush, lambda: first.amend(micro_batch=8), first.close):
            with pytest.raises(RaysmoothError, match=r"^stopped: .* was removed while this process wrote the run"):
                write()
    with open_store(tmp_path / "out") as third:
        assert third.finished == {1}
        assert "micro_batch" not in third.manifest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.processes
def test_a_full_disk_is_a_clear_stop_and_the_run_resumes_when_there_is_space(small_disk: Path) -> None:
    out, filler = small_disk / "out", small_disk / "filler"
    store = open_store(out)
    store.add_block(block(1, 0, [9, 1, 0, 0, 0, 0]))
    store.add_row({"image_id": 1, "radius": 0.25})
    store.flush()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(10**6))  # as much of it as fits
    store.add_block(block(2, 0, [9, 1, 0, 0, 0, 0]))
    store.add_row({"image_id": 2, "radius": 0.5})
    stopped = (
        r"^stopped: no space is left for .*/out/.*: make some; finished work is saved: rerun the same command to resume"
    )
    for write in (store.flush, lambda: store.amend(micro_batch=8), store.close):
        with pytest.raises(RaysmoothError, match=stopped):
            write()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with open_store(out) as again:  # reading needs no space
        assert again.finished == {1}
    with pytest.raises(RaysmoothError, match=r"--out .*: No space left on device"):
        refuse_unwritable(out)
    filler.unlink()
    refuse_unwritable(out)
    with open_store(out) as again:
        again.add_row({"image_id": 2, "radius": 0.5})
    assert read_rows(out, "certificates", RUN_ID).image_id.tolist() == [1, 2]


@pytest.mark.processes
def test_rows_that_a_full_disk_refused_are_still_there_for_the_next_flush(small_disk: Path) -> None:
    store, filler = open_store(small_disk / "out"), small_disk / "filler"
    store.add_row({"image_id": 1, "radius": 0.25})
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(10**6))
    with pytest.raises(RaysmoothError, match="no space is left"):
        store.flush()
    filler.unlink()
    store.close()
    assert read_rows(small_disk / "out", "certificates", RUN_ID).image_id.tolist() == [1]


def test_trying_to_write_leaves_no_new_folder(tmp_path: Path) -> None:
    refuse_unwritable(tmp_path / "new" / "results")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    refuse_unwritable(tmp_path / "old")
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]
