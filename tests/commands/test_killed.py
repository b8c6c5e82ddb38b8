"""Drivers that are really killed: what is on disk stays, and the same command goes on from there."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
from started_runs import rows_on_disk, start, wait_for_rows

TOTAL_DRAWS = 60 * 540


def result(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and counts, in the order of what they are; the counts with the session that wrote them."""
    rows = pd.read_parquet(out / "certificates").sort_values("image_id", ignore_index=True).drop(columns="seconds")
    parts = [pd.read_parquet(part).assign(session=part.name.split("-")[1]) for part in out.glob("runs/*/counts/*")]
    counts = pd.concat(parts).sort_values(["image_id", "role", "block"], ignore_index=True).drop(columns="seconds")
    return rows, counts.assign(labels=counts.labels.map(list), counts=counts.counts.map(list))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, ray_cluster: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    out = tmp_path_factory.mktemp("undisturbed")
    process = start(out, ray_cluster)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    rows, counts = result(out)
    assert counts.draws.sum() == TOTAL_DRAWS
    return rows, counts


def check(out: Path, undisturbed: tuple[pd.DataFrame, pd.DataFrame], sessions: int) -> None:
    """Equal to the undisturbed run, row for row, and no unit was stored twice."""
    rows, counts = result(out)
    pd.testing.assert_frame_equal(rows, undisturbed[0])
    pd.testing.assert_frame_equal(counts.drop(columns="session"), undisturbed[1].drop(columns="session"))
    assert counts.session.nunique() == sessions


def replica_pids() -> set[int]:
    """Replica processes on this machine, but for those of tests that run beside these."""
    mine = os.environ.get("PYTEST_XDIST_WORKER")
    return {
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["cmdline"] or [""])[0].startswith("ray::Replica")
        and (process.info["environ"] or {}).get("PYTEST_XDIST_WORKER") == mine
    }


def begotten_by(path: Path) -> list[int]:
    """The processes that have inherited this mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("BEGOTTEN_BY") == str(path):
                found.append(process.pid)
    return found


def test_sigkill_of_the_driver_then_the_same_command(
    tmp_path: Path, ray_cluster: dict[str, str], undisturbed: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    process = start(tmp_path, ray_cluster)
    wait_for_rows(tmp_path, process)
    process.kill()
    process.wait()
    finished, (_, counts) = rows_on_disk(tmp_path), result(tmp_path)
    assert 0 < finished < 60
    again = start(tmp_path, ray_cluster)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    check(tmp_path, undisturbed, sessions=2)
    # Only what was missing was drawn: the first session's counts still stand, unrepeated.
    (_, after) = result(tmp_path)
    first = after[after.session.isin(counts.session)]
    assert len(first) == len(counts)
    assert 0 < counts.draws.sum() < TOTAL_DRAWS


@pytest.mark.parametrize(("sampling", "seconds"), [("adaptive --pilot 10", 0.08), ("decide --radius 0.2", 0.2)])
def test_sigkill_in_the_middle_of_a_run_whose_images_stop_early(
    tmp_path: Path, ray_cluster: dict[str, str], sampling: str, seconds: float
) -> None:
    flags = ["--sampling", *sampling.split(), "--max", "40", "--precision", "float32"]
    process = start(tmp_path / "killed", ray_cluster, *flags, seconds=seconds)
    wait_for_rows(tmp_path / "killed", process)
    process.kill()
    process.wait()
    finished, (_, first) = rows_on_disk(tmp_path / "killed"), result(tmp_path / "killed")
    assert 0 < finished < 40
    # Some images were killed between two of their stages.
    assert first.image_id.nunique() > finished
    for out, each in (("killed", seconds), ("calm", 0.0)):
        again = start(tmp_path / out, ray_cluster, *flags, seconds=each)
        _, errors = again.communicate(timeout=200)
        assert again.returncode == 0, errors
    (rows, counts), (calm_rows, calm_counts) = result(tmp_path / "killed"), result(tmp_path / "calm")
    facts = ["run_id", "classifier"]
    pd.testing.assert_frame_equal(rows.drop(columns=facts), calm_rows.drop(columns=facts))
    pd.testing.assert_frame_equal(counts.drop(columns="session"), calm_counts.drop(columns="session"))
    assert rows.draws.sum() == counts.draws.sum() < 40 * 540
    assert counts.session.nunique() == 2
    assert len(counts[counts.session.isin(first.session)]) == len(first)


@pytest.mark.parametrize("to_all", [False, True], ids=["to the driver", "to the whole process group"])
def test_ctrl_c(
    tmp_path: Path, ray_cluster: dict[str, str], undisturbed: tuple[pd.DataFrame, pd.DataFrame], to_all: bool
) -> None:
    before = replica_pids()
    process = start(tmp_path, ray_cluster)
    wait_for_rows(tmp_path, process)
    assert replica_pids() - before
    (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("raysmooth: interrupted; what was finished is on disk")
    assert 0 < rows_on_disk(tmp_path) < 60
    deadline = time.monotonic() + 20
    while left := replica_pids() - before:
        assert time.monotonic() < deadline, f"replicas {left} were not released"
        time.sleep(0.1)
    again = start(tmp_path, ray_cluster)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    check(tmp_path, undisturbed, sessions=2)


def test_sigterm_leaves_what_was_finished(tmp_path: Path, ray_cluster: dict[str, str]) -> None:
    process = start(tmp_path, ray_cluster)
    wait_for_rows(tmp_path, process)
    drawn = len(result(tmp_path)[1])
    time.sleep(1)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, None), errors
    assert len(result(tmp_path)[1]) > drawn  # what had not been flushed yet was, on the way out


@pytest.mark.processes
def test_alone_on_a_machine_ray_starts_and_ends_with_the_command(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["BEGOTTEN_BY"] = str(tmp_path)
    process = start(tmp_path, environment, "--address", "local", "--max", "10", seconds=0.0)
    deadline = time.monotonic() + 60
    while len(begotten_by(tmp_path)) < 4:  # the command, Ray's head, raylet and a replica, at the least
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert rows_on_disk(tmp_path) == 10
    assert not begotten_by(tmp_path)


@pytest.mark.processes
def test_more_replicas_than_fit_are_refused_where_nobody_adds_nodes(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = start(tmp_path, environment, "--address", "local", "--gpus-per-replica", "1")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 2
    assert "do not fit this machine's 0 GPUs and " in errors
    assert errors.endswith("write --gpus-per-replica 0\n")
