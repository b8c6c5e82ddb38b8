"""Progress of runs, read from their files: worked numbers, made-up times, and drivers that are really killed."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command import command, refused
from conftest import REPOSITORY
from rich.console import Console
from small_runs import certified, opened
from started_runs import rows_on_disk, start, wait_for_rows

from raysmooth.commands.status_table import records, short, status_table
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.drawing import heartbeat
from raysmooth.pipeline.drawing.heartbeat import Heartbeat
from raysmooth.pipeline.drawing.ledger import Ledger
from raysmooth.pipeline.pool.telemetry import Telemetry
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.status.run_status import RunStatus, State, StatusReader
from raysmooth.pipeline.status.throughput import WINDOW, Mark, draws_per_second, seconds_drawn
from raysmooth.pipeline.store.manifest import ROW_FOLDERS, SEARCH, SIGMAS
from raysmooth.pipeline.store.progress_file import SILENCE, Phase, ProgressRecord
from raysmooth.pipeline.store.writer_process import WriterProcess

# An image is a unit of 50 selection draws and four of 50 estimation draws.
TEN: dict[str, Any] = {"dataset": "digits", "max": 10, "classifier": "base_classifiers:Linear", "sigma": 0.25}
TEN |= {"n0": 50, "n": 200, "block_size": 50, "alpha": 0.01}
UNITS, DRAWS = 5, 250
PROGRESS = "progress.json"


def status(out: Path, now: float | None = None) -> RunStatus:
    (run,) = StatusReader(out).read(now)
    return run


def all_parts(out: Path) -> set[Path]:
    return {*out.glob("runs/*/counts/part-*"), *out.glob("certificates/*/part-*")}


def session(out: Path, *flushes: tuple[float, int], **settings: Any) -> None:
    """A session that writes parts: (when, how many more units are in it)."""
    with opened(out, **{**TEN, **settings}) as (ledger, step):
        for when, units in flushes:
            before = all_parts(out)
            for _ in range(units):
                assert step()
            ledger.store.flush()
            for part in all_parts(out) - before:
                os.utime(part, (when, when))


def report(out: Path, when: float, **changes: Any) -> ProgressRecord:
    """A progress record of the run in `out`, written by a living process on another machine."""
    (home,) = out.glob("runs/*")
    known: dict[str, Any] = {"session": "elsewhere", "phase": Phase.DRAWING, "images": 0, "errors": 0, "draws": 0}
    known |= {"seconds": 0.0, "seconds_before": 0.0, "replicas": 3, "deaths": 0, "writer": WriterProcess("far", 1)}
    record = ProgressRecord(**{**known, **changes})
    (home / PROGRESS).write_text(record.text())
    os.utime(home / PROGRESS, (when, when))
    return record


def marks(*pairs: tuple[float, int]) -> Sequence[Mark]:
    return [Mark(*pair) for pair in pairs]


def test_a_pace_counts_no_pauses_and_nothing_that_is_long_ago() -> None:
    assert draws_per_second([]) is None
    assert draws_per_second([marks((7, 100))]) is None
    # What was made by a first mark may have taken any time; order does not matter.
    assert draws_per_second([marks((20, 400), (10, 100))]) == 30
    assert draws_per_second([marks((1000, 0), (1010, 500)), marks((0, 0), (10, 100))]) == 30
    slow, fast = marks((0, 0), (WINDOW, 300)), marks((1000, 0), (1000 + WINDOW / 2, 300), (1000 + WINDOW, 900))
    assert draws_per_second([slow, fast]) == 900 / WINDOW
    assert draws_per_second([marks((0, 10), (60, 10))]) == 0  # stuck
    assert seconds_drawn([slow, fast, marks((5000, 1)), []]) == 2 * WINDOW


def test_rate_and_time_left_by_the_times_of_parts(tmp_path: Path) -> None:
    session(tmp_path, (1000, UNITS), (1010, UNITS), (1020, UNITS))
    session(tmp_path, (5000, UNITS), (5005, UNITS))
    run = status(tmp_path, now=6000)
    assert (run.done, run.images, run.draws) == (5, 10, 5 * DRAWS)
    # 500 draws in 20 s, 250 in 5 s; five images are left.
    assert run.pace == 30
    assert run.seconds_left == pytest.approx(5 * DRAWS / 30)
    assert run.images_per_second == pytest.approx(30 / DRAWS)
    assert run.seconds == 25
    assert (run.state, run.heard, run.age) == (State.STOPPED, 5005, 995)
    # Draws of an unfinished image are not left to do; the third session's time for it is unknown.
    session(tmp_path, (9000, 3))
    run = status(tmp_path, now=9001)
    assert (run.done, run.draws, run.pace) == (5, 5 * DRAWS + 150, 30)
    assert run.seconds_left == pytest.approx((5 * DRAWS - 150) / 30)


def test_images_that_stop_early_are_expected_to_need_what_the_others_needed(tmp_path: Path) -> None:
    adaptive = {"sampling": "adaptive", "pilot": 10, "n": 2000}
    with opened(tmp_path, **{**TEN, **adaptive}) as (ledger, step):
        while ledger.finished < 6:
            step()
    (rows,) = (pd.read_parquet(part) for part in tmp_path.glob("certificates/*/*"))
    (counts,) = (pd.read_parquet(part) for part in tmp_path.glob("runs/*/counts/*"))
    assert len(set(rows.draws)) > 1
    run = status(tmp_path)
    assert run.mean_draws == rows.draws.mean()
    open_draws = counts.draws[~counts.image_id.isin(rows.image_id)].sum()
    assert run.draws_left == pytest.approx(max(0, 4 * rows.draws.mean() - open_draws))
    assert run.seconds_left is None  # one part: its start is unknown


def test_a_progress_record_counts_results_that_are_not_on_disk_yet(tmp_path: Path) -> None:
    session(tmp_path, (1000, UNITS), (1010, UNITS))
    own = next(iter(tmp_path.glob("runs/*/counts/*"))).name.split("-")[1]
    # 10 s after its last part the session has finished two more images, one of them badly.
    about = {"session": own, "images": 4, "errors": 1, "error": "image 7: bad", "draws": 900, "seconds": 30.0}
    report(tmp_path, 1020, **about)
    run = status(tmp_path, now=1022)
    assert (run.state, run.is_alive, run.done, run.errors, run.first_error) == (
        State.DRAWING,
        True,
        4,
        1,
        "image 7: bad",
    )
    assert (run.draws, run.seconds, run.age) == (900, 30, 2)
    assert run.pace == 30  # 900 draws since 990
    # Three images got rows, for 750 draws: 150 belong to open ones.
    assert run.seconds_left == pytest.approx((6 * DRAWS - 150) / 30)
    # The driver dies: its memory with it.
    dead = status(tmp_path, now=1021 + SILENCE)
    assert (dead.state, dead.is_alive, dead.done, dead.errors, dead.draws) == (State.SILENT, False, 2, 0, 500)


def test_the_state_that_a_driver_reports(tmp_path: Path) -> None:
    session(tmp_path, (1000, UNITS))
    for phase in (Phase.STARTING, Phase.WAITING, Phase.DRAWING, Phase.DRAWN):
        report(tmp_path, 2000, phase=phase)
        assert status(tmp_path, now=2000 + SILENCE - 1).state == phase.value
        assert status(tmp_path, now=2000 + SILENCE + 1).state == State.SILENT
    assert status(tmp_path, now=1000).state == State.DRAWN  # by a clock that is behind
    report(tmp_path, 2000, phase=Phase.STOPPED, why="interrupted")
    assert status(tmp_path, now=2001).state == State.STOPPED
    assert records([status(tmp_path, now=2001)])[0]["why"] == "interrupted"
    (home,) = tmp_path.glob("runs/*")
    (home / PROGRESS).write_text('{"session": ')  # of another version, say
    assert status(tmp_path, now=2001).state == State.STOPPED


@pytest.mark.processes
def test_a_run_whose_driver_has_ended_on_this_machine_is_stopped(tmp_path: Path) -> None:
    session(tmp_path, (1000, UNITS))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        here = WriterProcess.with_pid(process.pid)
        report(tmp_path, 2000, writer=here)
        assert status(tmp_path, now=2001).state == State.DRAWING
        process.kill()
    assert status(tmp_path, now=2001).state == State.STOPPED
    for other in (replace(here, host="far"), replace(here, space="pid:[1]"), replace(here, boot="another")):
        report(tmp_path, 2000, writer=other)
        assert status(tmp_path, now=2001).state == State.DRAWING


def test_a_run_that_waits_goes_at_the_pace_of_the_one_that_is_drawn(tmp_path: Path) -> None:
    session(tmp_path, (1000, UNITS), (1010, UNITS))
    (first,) = tmp_path.glob("runs/*")
    record = report(tmp_path, 1011)
    with opened(tmp_path, **{**TEN, "sigma": 0.5}) as (ledger, _):
        ledger.store.write_progress(replace(record, phase=Phase.WAITING))
        (second,) = set(tmp_path.glob("runs/*")) - {first}
        os.utime(second / PROGRESS, (1011, 1011))
    runs = {run.identity["sigma"]: run for run in StatusReader(tmp_path).read(now=1012)}
    assert (runs[0.5].state, runs[0.5].pace, runs[0.5].seconds_left) == (State.WAITING, 25, 10 * DRAWS / 25)
    # Another command's pace is not used.
    ledger.store.write_progress(replace(record, phase=Phase.WAITING, writer=WriterProcess("far", 2)))
    os.utime(second / PROGRESS, (1011, 1011))
    runs = {run.identity["sigma"]: run for run in StatusReader(tmp_path).read(now=1012)}
    assert runs[0.5].pace is None


def wait_for(out: Path, what: Any) -> RunStatus:
    deadline = time.monotonic() + 120
    while not what(run := status(out)):
        assert time.monotonic() < deadline, run
        time.sleep(0.02)
    return run


def test_errors_are_reported_while_their_rows_are_held_back(
    tmp_path: Path, picture_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "_TICK_SECONDS", 0.01)
    pictures = {"dataset": "parquet", "data_root": picture_file([(0.3, 1), (b"no picture", 2), (0.4, 3)])}
    settings = {**TEN, **pictures, "max": 3}
    telemetry = Telemetry()

    def drawn_and_failed(ledger: Ledger, step: Any) -> None:
        with Heartbeat(telemetry, [ledger]):
            drawn(ledger, step)
            raise OSError("no space left on the disk")

    def drawn(ledger: Ledger, step: Any) -> None:
        assert wait_for(tmp_path, lambda run: run.record is not None).state == State.STARTING
        telemetry.up(2)
        while step():
            pass
        run = wait_for(tmp_path, lambda run: run.state == State.DRAWN)
        assert (run.done, run.errors, run.seconds_left) == (3, 1, 0)
        assert run.first_error is not None
        assert run.first_error.startswith("image 1 (1.png): ")
        assert run.record is not None
        assert (run.record.replicas, run.record.draws) == (2, 2 * DRAWS)

    with opened(tmp_path, **settings) as (ledger, step):
        with pytest.raises(OSError, match="disk"):
            drawn_and_failed(ledger, step)
        run = status(tmp_path)
        assert (run.state, run.done) == (State.STOPPED, 2)
        assert run.record is not None
        assert run.record.why == "OSError: no space left on the disk"
    with opened(tmp_path, **settings) as (ledger, step), Heartbeat(telemetry, [ledger]):
        assert not step()
        ledger.conclude()
    run = status(tmp_path)
    assert (run.state, run.done, run.errors) == (State.FINISHED, 3, 1)
    first = run.record
    with opened(tmp_path, **settings) as (ledger, _), Heartbeat(telemetry, [ledger]):
        pass
    assert status(tmp_path).record == first  # a driver without work writes no record


def look(out: Path) -> dict[str, Any]:
    """The status as another process sees it."""
    asked = [sys.executable, "-m", "raysmooth", "status", str(out), "--json"]
    (run,) = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    return dict(run)


def test_a_driver_that_is_frozen_then_killed_then_started_again(tmp_path: Path, ray_cluster: dict[str, str]) -> None:
    process = start(tmp_path, ray_cluster, seconds=0.1)
    wait_for_rows(tmp_path, process)
    wait_for(tmp_path, lambda run: run.state == State.DRAWING and run.record.draws)
    os.kill(process.pid, signal.SIGSTOP)  # so that it does not finish meanwhile
    try:
        (home,) = tmp_path.glob("runs/*")
        soon = time.time() + 60  # the command may need long to start
        os.utime(home / PROGRESS, (soon, soon))
        run = look(tmp_path)
        assert (run["state"], run["images"], run["pid"]) == ("drawing", 60, process.pid)
        assert run["replicas"] in (1, 2)  # as many as are up
        assert 0 < run["done"] < 60
        assert run["draws_per_second"] > 0
        assert run["seconds_left"] == pytest.approx((60 * 540 - run["draws"]) / run["draws_per_second"])
        long_ago = time.time() - SILENCE - 60
        os.utime(home / PROGRESS, (long_ago, long_ago))
        for part in all_parts(tmp_path):
            os.utime(part, (long_ago, long_ago))
        assert look(tmp_path)["state"] == "silent"
    finally:
        os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.wait()
    run = look(tmp_path)
    assert (run["state"], run["done"]) == ("stopped", rows_on_disk(tmp_path))
    drawn = run["seconds"]
    assert drawn > 0
    again = start(tmp_path, ray_cluster, seconds=0.1)
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors
    finished = status(tmp_path)
    assert (finished.state, finished.done) == (State.FINISHED, 60)
    assert finished.record is not None
    assert finished.seconds == drawn + finished.record.seconds  # of both sessions


def test_the_command_prints_for_people_and_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "99")
    certified(tmp_path, **TEN)
    session(tmp_path, (1000, UNITS), (1010, UNITS), sigma=0.5)
    code, printed, _ = command(capsys, "status", str(tmp_path))
    assert code == 0
    # The first line has common facts, the lines below those of each run.
    assert printed.splitlines()[0].startswith("digits, test split, ")
    assert "sigma" not in printed.splitlines()[0]
    words = " ".join(printed.split())
    assert "no denoiser 0.25 10 0 2,500 - - finished in" in words
    assert "no denoiser 0.5 2 of 10 0 500 25 80 s stopped" in words
    assert "the same command" in printed
    code, printed, _ = command(capsys, "status", str(tmp_path), "--json")
    assert code == 0
    found = {run["sigma"]: run for run in json.loads(printed)}
    assert [found[0.25][key] for key in ("state", "done", "images", "draws")] == ["finished", 10, 10, 2500]
    assert [found[0.5][key] for key in ("state", "done", "draws_per_second", "seconds_left")] == ["stopped", 2, 25, 80]


def test_rejectors_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certified(tmp_path, **TEN)
    certified(tmp_path, **TEN, rejector="confidence:threshold=0.6")
    code, printed, _ = command(capsys, "status", str(tmp_path), "--json")
    assert code == 0
    names = {run["name"] for run in json.loads(printed)}
    assert names == {"no denoiser, no rejector", "no denoiser, rejector confidence"}


def test_the_table_names_drivers_silent_runs_and_reasons(tmp_path: Path) -> None:
    session(tmp_path, (1000, UNITS), (1010, UNITS))

    def shown(now: float, **about: Any) -> str:
        report(tmp_path, 1010, **about)
        console = Console(width=100, file=io.StringIO(), record=True)
        console.print(status_table([status(tmp_path, now)], 100))
        return " ".join(console.export_text().split())

    (run_id,) = (home.name[:8] for home in tmp_path.glob("runs/*"))
    about = {"images": 5, "errors": 2, "error": "image 7: bad", "deaths": 1}
    assert "7 of 10 2 500 25 " in (drawing := shown(1012, **about))
    assert f"3 replicas, 1 died sampled by process 1 on far run {run_id}: first error: image 7: bad" in drawing
    silent = shown(1010 + 900, **about)
    assert f"no heartbeat for 15.0 min run {run_id}: last heartbeat at" in silent
    assert "the same command" not in silent  # which would be refused if the driver lived
    stopped = shown(1010 + 7200, phase=Phase.STOPPED, why="all replicas died")
    assert f"2 of 10 0 500 25 80 s stopped 2.0 h ago run {run_id}: stopped: all replicas died rerun" in stopped
    assert "80 s starting sampled by" in shown(1012, phase=Phase.STARTING, replicas=0)
    assert "80 s starting, 1 replica sampled by" in shown(1012, phase=Phase.STARTING, replicas=1)


@pytest.mark.parametrize("width", [110, 96, 80, 75, 60])
def test_the_state_of_a_run_is_there_at_any_width(tmp_path: Path, width: int) -> None:
    session(tmp_path, (1000, UNITS), (1010, UNITS))
    report(tmp_path, 1010, images=5, errors=2, error="image 7: bad", deaths=1)
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(status_table([status(tmp_path, 1012)], width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    below = lines[next(number for number, line in enumerate(lines) if "───" in line) + 1 :]
    assert below[0].split()[0] == next(tmp_path.glob("runs/*")).name[:8]
    words = set(" ".join(below).replace(",", " ").split())
    assert {"denoiser", "0.25", "7", "10", "2", "25", "3", "replicas", "1", "died"} <= words


def test_runs_of_equal_facts_are_distinguished_by_what_decides_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ids = [certified(tmp_path, **TEN | own) for own in ({}, {"seed": 3}, {"sigma": 0.5})]
    code, printed, _ = command(capsys, "status", str(tmp_path))
    assert code == 0
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert all(f"\n{run_id[:8]} " in printed for run_id in ids)
    assert "--seed 3" in " ".join(printed.split())
    named = {one["run_id"]: one["name"] for one in json.loads(command(capsys, "status", str(tmp_path), "--json")[1])}
    assert named == dict(zip(ids, ["no denoiser, --seed 0", "no denoiser, --seed 3", "no denoiser"], strict=True))


def test_what_no_flag_says_distinguishes_runs_too(tmp_path: Path) -> None:
    session(tmp_path, (1000, UNITS))
    one = status(tmp_path)
    gpu = replace(one, run_id="f" * 16, identity={**one.identity, "device": "cuda H200", "data_fingerprint": "other"})
    names = [record["name"] for record in records([one, gpu])]
    assert names[1] == "no denoiser, another content of the data, device cuda H200"
    assert names[0].startswith("no denoiser, another content of the data, device cpu ")
    assert [record["name"] for record in records([one])] == ["no denoiser"]


@pytest.mark.processes
def test_a_watch_waits_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    out = tmp_path / "later"
    asked = [sys.executable, "-m", "raysmooth", "status", str(out), "--json", "--watch", "0.1"]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    waiting = f"raysmooth: waiting for a run to begin (there is no {out}/runs); Ctrl-C ends\n"
    for found in (False, True):
        with subprocess.Popen(
            asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == waiting
            if found:
                certified(out, **TEN)
            else:
                process.send_signal(signal.SIGINT)
            printed, errors = process.communicate(timeout=120)
        if found:
            assert (process.returncode, errors) == (0, "")
            assert json.loads(printed.splitlines()[-1])[0]["state"] == "finished"
        else:
            assert (process.returncode, printed, errors) == (130, "", "raysmooth: interrupted\n")


@pytest.mark.processes
def test_watch_prints_again_until_all_runs_are_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session(tmp_path, (1000, UNITS))
    asked = [sys.executable, "-m", "raysmooth", "status", str(tmp_path), "--json", "--watch", "0.1"]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    with subprocess.Popen(
        asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listening
    ) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())[0]["done"] for _ in range(2)] == [1, 1]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())[0]["done"] == 1
        certified(tmp_path, **TEN)
        *_, last = process.communicate(timeout=120)[0].splitlines()
        assert json.loads(last)[0]["state"] == "finished"
        assert process.returncode == 0


@pytest.mark.parametrize(("there", "expected"), [("", "there is no "), ("runs", "holds no runs: give")], ids=str)
def test_a_folder_without_runs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str, expected: str
) -> None:
    (tmp_path / there).mkdir(exist_ok=True)
    code, printed, errors = command(capsys, "status", str(tmp_path))
    assert (code, printed, errors.count("\n")) == (2, "", 1)
    assert expected in errors


@pytest.mark.parametrize("watch", [(), ("--watch", "1")], ids=["once", "watch"])
def test_a_file_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], watch: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    assert refused(capsys, "status", str(tmp_path / "file"), *watch) == (
        f"{tmp_path}/file is a file: give the results folder (--out) of 'raysmooth certify'"
    )


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (["--watch"], "--watch needs seconds: write --watch 5"),
        (["--watch", "--json"], "--watch --json: write seconds, as in --watch 5"),
        (["--watch", "nan"], "--watch nan: write seconds, 0.1 to 86400"),
    ],
)
def test_a_watch_without_seconds(capsys: pytest.CaptureFixture[str], written: list[str], line: str) -> None:
    assert refused(capsys, "status", "results", *written) == line


def test_an_interrupted_wait_promises_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("raysmooth.commands.status.sleep", interrupt)
    code, printed, errors = command(capsys, "status", str(tmp_path), "--watch", "1")
    assert (code, printed) == (130, "")
    assert errors.splitlines()[1:] == ["raysmooth: interrupted"]


@pytest.mark.parametrize("watch", [(), ("--watch", "1")], ids=["once", "watch"])
def test_where_no_run_was_drawn_imported_and_recertified_runs_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], watch: tuple[str, ...]
) -> None:
    run_id, out = certified(tmp_path, **TEN), tmp_path / "recertified"
    recertify(tmp_path, alpha=0.05)
    derived = next(path.name for path in (tmp_path / "runs").iterdir() if path.name != run_id)
    assert [run.run_id for run in StatusReader(tmp_path).read()] == [run_id]
    for part in ("runs", "certificates/run_id="):
        path = f"{part}{'' if part.endswith('=') else '/'}{derived}"
        shutil.copytree(tmp_path / path, out / path)
    log = tmp_path / "log.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t1\t1\t0.5\t1\t0:00:01\n")
    read = ["--dataset", "mnist", "--classifier", "x", "--sigma", "0.25", "--out", str(out)]
    assert command(capsys, "import", str(log), *read)[0] == 0
    code, printed, errors = command(capsys, "status", str(out), "--json", *watch)
    assert (code, errors) == (0, "")
    runs = {run["procedure"]: run for run in json.loads(printed)}
    assert {name: (run["state"], run["done"]) for name, run in runs.items()} == {
        "recertify": ("finished", 10), "import": ("finished", 1)
    }  # fmt: skip
    table = command(capsys, "status", str(out), *watch)[1]
    assert all(word in table for word in ("imported", "recertified"))


@pytest.mark.processes
def test_the_command_imports_nothing_slow() -> None:
    slow = "'torch', 'ray', 'scipy.stats', 'matplotlib'"
    used = "raysmooth.commands.status, raysmooth.commands.status_table, raysmooth.pipeline.status.run_status"
    script = f"import sys, {used}; print({{{slow}}} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_every_procedure_has_its_folder() -> None:
    folders = {name: procedure.folder for name, procedure in PROCEDURES.items()}
    assert {**folders, SEARCH: SIGMAS} == ROW_FOLDERS


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (0.05, "0.05"),
        (9.96, "10"),
        (1004.4, "1,004"),
        (999_999, "999,999"),
        (3_181_200, "3.18 M"),
        (5e9, "5 G"),
    ],
)
def test_numbers_are_short(number: float, expected: str) -> None:
    assert short(number) == expected
