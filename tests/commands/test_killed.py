"""Drivers that are really killed: finished work stays on disk, and the same command resumes."""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

import pandas as pd
import psutil
import pytest
from conftest import REPOSITORY, SUPPORT
from preloaded import PreloadedCommand
from started_runs import arguments, rows_on_disk, start, wait_for_rows

TOTAL_DRAWS = 60 * 540


def result(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and counts in the order of images, roles and blocks; the counts with the session that wrote them."""
    rows = pd.read_parquet(out / "certificates").sort_values("image_id", ignore_index=True).drop(columns="seconds")
    parts = [pd.read_parquet(part).assign(session=part.name.split("-")[1]) for part in out.glob("runs/*/counts/*")]
    counts = pd.concat(parts).sort_values(["image_id", "role", "block"], ignore_index=True).drop(columns="seconds")
    return rows, counts.assign(labels=counts.labels.map(list), counts=counts.counts.map(list))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file without which replicas pause before a run is finished, however slow this machine is."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, ray_cluster: dict[str, str], gate: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    out = tmp_path_factory.mktemp("undisturbed")
    finish(out, ray_cluster, gate)
    rows, counts = result(out)
    assert counts.draws.sum() == TOTAL_DRAWS
    return rows, counts


def start_paused(out: Path, environment: dict[str, str], gate: Path, *more: str, **options: Any) -> PreloadedCommand:
    """A run of which some rows are on disk and others are not yet sampled."""
    gate.unlink(missing_ok=True)
    process = start(out, environment, *more, gate=gate, **options)
    wait_for_rows(out, process)
    return process


def finish(out: Path, environment: dict[str, str], gate: Path, *more: str, **options: Any) -> None:
    gate.touch()
    process = start(out, environment, *more, gate=gate, **options)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors


def check(out: Path, undisturbed: tuple[pd.DataFrame, pd.DataFrame], sessions: int) -> None:
    """Equal to the undisturbed run, row by row, and no unit is stored twice."""
    rows, counts = result(out)
    pd.testing.assert_frame_equal(rows, undisturbed[0])
    pd.testing.assert_frame_equal(counts.drop(columns="session"), undisturbed[1].drop(columns="session"))
    assert counts.session.nunique() == sessions


def replica_pids() -> set[int]:
    """Replica processes on this machine, except those of tests that run at the same time."""
    mine = os.environ.get("PYTEST_XDIST_WORKER")
    return {
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if (process.info["cmdline"] or [""])[0].startswith("ray::Replica")
        and (process.info["environ"] or {}).get("PYTEST_XDIST_WORKER") == mine
    }


def descendants(path: Path) -> list[int]:
    """The processes that have inherited the environment variable of this test."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("DESCENDANT_OF") == str(path):
                found.append(process.pid)
    return found


def test_sigkill_of_the_driver_then_the_same_command(
    tmp_path: Path, ray_cluster: dict[str, str], undisturbed: tuple[pd.DataFrame, pd.DataFrame], gate: Path
) -> None:
    process = start_paused(tmp_path, ray_cluster, gate)
    process.kill()
    process.wait()
    finished, (_, counts) = rows_on_disk(tmp_path), result(tmp_path)
    assert 0 < finished < 60
    finish(tmp_path, ray_cluster, gate)
    check(tmp_path, undisturbed, sessions=2)
    # Only missing units were sampled: the counts of the first session are there, once.
    (_, after) = result(tmp_path)
    first = after[after.session.isin(counts.session)]
    assert len(first) == len(counts)
    assert 0 < counts.draws.sum() < TOTAL_DRAWS


@pytest.mark.parametrize(("sampling", "seconds"), [("adaptive --pilot 10", 0.08), ("decide --radius 0.2", 0.2)])
def test_sigkill_in_the_middle_of_a_run_whose_images_stop_early(
    tmp_path: Path, ray_cluster: dict[str, str], gate: Path, sampling: str, seconds: float
) -> None:
    flags = ["--sampling", *sampling.split(), "--max", "40", "--precision", "float32"]
    process = start_paused(tmp_path / "killed", ray_cluster, gate, *flags, seconds=seconds)
    process.kill()
    process.wait()
    finished, (_, first) = rows_on_disk(tmp_path / "killed"), result(tmp_path / "killed")
    assert 0 < finished < 40
    # Some images were between two of their rounds.
    assert first.image_id.nunique() > finished
    for out in ("killed", "undisturbed"):
        finish(tmp_path / out, ray_cluster, gate, *flags, seconds=seconds)
    (rows, counts), (same_rows, same_counts) = (result(tmp_path / out) for out in ("killed", "undisturbed"))
    pd.testing.assert_frame_equal(rows, same_rows)
    pd.testing.assert_frame_equal(counts.drop(columns="session"), same_counts.drop(columns="session"))
    assert rows.draws.sum() == counts.draws.sum() < 40 * 540
    assert counts.session.nunique() == 2
    assert len(counts[counts.session.isin(first.session)]) == len(first)


def test_sigkill_after_the_search_that_comes_first(tmp_path: Path, ray_cluster: dict[str, str], gate: Path) -> None:
    """The levels are those that were found; the rows are those of one undisturbed session, on one replica."""
    flags = ["--search", "grid:levels=2,draws=4", "--max", "40"]
    process = start_paused(tmp_path / "killed", ray_cluster, gate, *flags)
    process.kill()
    process.wait()
    finished, (_, first) = rows_on_disk(tmp_path / "killed"), result(tmp_path / "killed")
    assert 0 < finished < 40
    for out, replicas in (("killed", "2"), ("undisturbed", "1")):
        finish(tmp_path / out, ray_cluster, gate, *flags, "--replicas", replicas)
    (rows, counts), (same_rows, same_counts) = (result(tmp_path / out) for out in ("killed", "undisturbed"))
    pd.testing.assert_frame_equal(rows, same_rows)
    pd.testing.assert_frame_equal(counts.drop(columns="session"), same_counts.drop(columns="session"))
    assert counts.session.nunique() == 2
    assert len(counts[counts.session.isin(first.session)]) == len(first)
    assert set(rows.image_sigma) == {0.0625, 1.0}
    searches = [pd.read_parquet(tmp_path / out / "sigmas").sort_values("image_id") for out in ("killed", "undisturbed")]
    assert [len(search) for search in searches] == [40, 40]
    for search in searches:
        assert search.image_sigma.tolist() == rows.image_sigma.tolist()


def draws_known(out: Path) -> int:
    """Draws of the run's only session, by the last record of its driver."""
    (file,) = out.glob("runs/*/progress.json")
    return int(json.loads(file.read_text())["draws"])


@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [
        (signal.SIGINT, False, 130),
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGHUP, False, 129),
    ],
    ids=["Ctrl-C", "Ctrl-C in a terminal", "SIGTERM", "SIGHUP"],
)
def test_interrupted(
    tmp_path: Path,
    ray_cluster: dict[str, str],
    undisturbed: tuple[pd.DataFrame, pd.DataFrame],
    gate: Path,
    number: signal.Signals,
    to_all: bool,
    code: int,
) -> None:
    before = replica_pids()
    process = start_paused(tmp_path, ray_cluster, gate)
    assert replica_pids() - before
    flushed = result(tmp_path)[1].draws.sum()
    deadline = time.monotonic() + 60
    while (drawn := draws_known(tmp_path)) <= flushed:  # replicas have paused: nothing flushes the rest
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (os.killpg if to_all else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "***" not in errors  # Ray's stack dump
    assert errors.splitlines()[-1].startswith("raysmooth: interrupted; finished work is on disk")
    assert 0 < rows_on_disk(tmp_path) < 60
    assert result(tmp_path)[1].draws.sum() >= drawn
    deadline = time.monotonic() + 60
    while left := replica_pids() - before:
        assert time.monotonic() < deadline, f"replicas {left} were not released"
        time.sleep(0.1)
    if number == signal.SIGTERM:
        finish(tmp_path, ray_cluster, gate)
        check(tmp_path, undisturbed, sessions=2)


@pytest.mark.processes
def test_alone_on_a_machine_ray_starts_and_ends_with_the_command(tmp_path: Path) -> None:
    """Also where TMPDIR is that of a batch job, too long for Ray's sockets."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["DESCENDANT_OF"] = str(tmp_path)
    environment["TMPDIR"] = str(tmp_path / "slurm_jobdir/0123456789/people/some_long_account_name")
    Path(environment["TMPDIR"]).mkdir(parents=True)
    process = start(tmp_path, environment, "--address", "local", "--max", "10", seconds=0.0)
    deadline = time.monotonic() + 120
    while len(descendants(tmp_path)) < 4:  # the command, Ray's head, raylet and a replica
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert rows_on_disk(tmp_path) == 10
    deadline = time.monotonic() + 60
    while left := descendants(tmp_path):  # what was asked to end is gone a moment later than the command
        assert time.monotonic() < deadline, [psutil.Process(one).cmdline() for one in left if psutil.pid_exists(one)]
        time.sleep(0.1)


@pytest.mark.processes
def test_the_local_ray_is_killed(tmp_path: Path, gate: Path) -> None:
    """It listens on loopback only, and neither the command nor its replicas import what lies in the folder that one
    stands in instead of Python's own modules and the libraries.
    """
    folder, out = tmp_path / "stood in", tmp_path / "out"
    folder.mkdir()
    for module in ("json", "pandas", "random", "torch", "typing"):
        (folder / f"{module}.py").write_text("raise SystemExit('imported')")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), str(REPOSITORY)])
    gate.unlink(missing_ok=True)
    command = [sys.executable, "-m", "raysmooth", *arguments(out, "--address", "local", gate=gate)]
    process = Popen(command, env=environment, cwd=folder, stdout=DEVNULL, stderr=PIPE, text=True)
    wait_for_rows(out, process)
    own = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    listening = [port.laddr.ip for one in own for port in one.net_connections() if port.status == psutil.CONN_LISTEN]
    assert len(listening) > 4
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    (raylet,) = (one for one in own if one.name() == "raylet")
    raylet.kill()
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("raysmooth: stopped: the local Ray is gone (raylet, process ")
    assert 0 < rows_on_disk(out) < 60


@pytest.mark.processes
def test_more_replicas_than_fit_are_refused_without_autoscaling(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = start(tmp_path, environment, "--address", "local", "--gpus-per-replica", "1")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 2
    assert "do not fit this machine's 0 GPUs and " in errors
    assert errors.endswith("write --gpus-per-replica 0\n")
