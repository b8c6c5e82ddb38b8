"""Replicas that die, fail, run short of memory or do not agree, and runs that stop: no row changes by it."""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from digits_runs import Result, counts_of, error_of, neighbours, rows_of, run, same, settings_of
from PIL import Image

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.runs.procedures import PROCEDURES

pytestmark = pytest.mark.usefixtures("ray_cluster")


def begun(out: Path) -> Callable[[], bool]:
    """Whether the run in `out` has its manifest: its replicas are up, and about to draw."""
    return lambda: bool(list(out.glob("runs/*/manifest.json")))


def wait_until(true: Callable[[], bool], over: threading.Event) -> None:
    while not true() and not over.is_set():
        over.wait(0.01)


@contextmanager
def meanwhile(disturb: Callable[[threading.Event], None]) -> Iterator[None]:
    """Disturbs a run from another thread; the event says that the run is over, so that nothing waits for it in vain."""
    over = threading.Event()
    thread = threading.Thread(target=disturb, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, ray_cluster: object) -> dict[int, Result]:
    """Rows and counts of an undisturbed run, by its n; the classifiers of these tests answer as its classifier does."""
    out = tmp_path_factory.mktemp("calm")
    all_settings = [settings_of(out / str(n), n=n) for n in (500, 1000)]
    run_procedure(PROCEDURES["certify"], all_settings, show_progress=False)
    return {n: (rows_of(out / str(n)), counts_of(out / str(n))) for n in (500, 1000)}


def as_calm(rows: pd.DataFrame, out: Path, calm: Result) -> None:
    facts = ["run_id", "classifier", "classifier_fingerprint"]
    same(rows.drop(columns=facts), calm[0].drop(columns=facts))
    pd.testing.assert_frame_equal(counts_of(out), calm[1])


def test_two_replicas_give_the_same_rows_and_counts(tmp_path: Path, calm: dict[int, Result]) -> None:
    as_calm(run(tmp_path, replicas=2), tmp_path, calm[500])


def test_a_replica_killed_in_mid_run_changes_nothing(tmp_path: Path, calm: dict[int, Result]) -> None:
    """SIGKILL of a real replica process, three times: when the flag file is there, whichever computes next dies."""
    flag = tmp_path / "die"
    changes: dict[str, Any] = {"classifier": f"base_classifiers:KillsOnce:flag={flag},seconds=0.02", "n": 1000}
    kills = []

    def kill(over: threading.Event) -> None:
        wait_until(begun(tmp_path / "killed"), over)
        for _ in range(3):
            over.wait(0.3)
            flag.touch()
            wait_until(lambda: not flag.exists(), over)
            kills.append(not flag.exists())

    with meanwhile(kill):
        killed = run(tmp_path / "killed", replicas=2, **changes)
    assert kills[0]
    as_calm(killed, tmp_path / "killed", calm[1000])
    assert not killed.image_id.duplicated().any()


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_image_that_kills_its_replicas_is_blamed_alone(tmp_path: Path, picture_file: Any, replicas: int) -> None:
    """Six images share the unit of selection draws, two a unit of estimation draws, and six what fills no block."""
    values = [0.08 * number for number in range(1, 7)]
    deadly = [(1.0 if number == 3 else value, 1) for number, value in enumerate(values)]
    blank = [(0.0 if number == 3 else value, 1) for number, value in enumerate(values)]
    data = {"dataset": "parquet", "classifier": "base_classifiers:Kills", "max": None, "sigma": 0.02}
    data |= {"n0": 10, "n": 50, "block_size": 40, "replicas": replicas}
    all_settings = [
        settings_of(tmp_path / name, data_root=picture_file(pictures, f"{name}.parquet"), **data)
        for name, pictures in (("deadly", deadly), ("blank", blank))
    ]
    run_procedure(PROCEDURES["certify"], all_settings, show_progress=False)
    rows, whole = (rows_of(tmp_path / name) for name in ("deadly", "blank"))
    assert rows.image_id.tolist() == list(range(6))
    assert re.match(r"the replica died \d times drawing this alone", error_of(rows.to_dict("records")[3]))
    assert (rows.drop(index=3).status == "ok").all()
    left, right = (one.drop(index=3, columns=["error", "run_id", "seconds"]) for one in (rows, whole))
    pd.testing.assert_frame_equal(left, right, check_dtype=False)
    counts, clean = (neighbours(counts_of(tmp_path / name), left) for name in ("deadly", "blank"))
    pd.testing.assert_frame_equal(counts, clean)


def test_too_little_memory_changes_no_row_and_is_reported_once(
    tmp_path: Path, calm: dict[int, Result], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    classifier = f"base_classifiers:OutOfMemory:limit=30,log={log}"

    def session() -> tuple[pd.DataFrame, str]:
        log.write_text("")
        settings = settings_of(tmp_path / "out", classifier=classifier)
        return run_procedure(PROCEDURES["certify"], [settings]), capsys.readouterr().err

    rows, printed = session()
    as_calm(rows, tmp_path / "out", calm[500])
    assert printed.count("too small for compute batches of 100: computed in parts of 25, with the same noise") == 1
    (file,) = tmp_path.glob("out/runs/*/manifest.json")
    manifest = json.loads(file.read_text())
    assert manifest["micro_batch"] == 25
    assert manifest["identity"]["batch_size"] == 100
    assert "micro_batch" not in manifest["identity"]
    assert {"100", "50"} <= set(log.read_text().split())
    # Some of the work undone: the next session reads from the manifest what fits, and the compute configuration.
    for part in [*tmp_path.glob("out/runs/*/counts/*.parquet"), *tmp_path.glob("out/certificates/*/*.parquet")]:
        part.unlink()
    monkeypatch.setattr(
        "raysmooth.pipeline.pool.pool.Pool.ask", lambda *_: pytest.fail("a replica was asked how to compute")
    )
    again, printed = session()
    same(again, rows)
    assert log.read_text() == ""
    assert "too small" not in printed
    assert json.loads(file.read_text()) == manifest


def test_memory_that_holds_no_image_stops_the_run_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        RaysmoothError, match=r"is too small for one image in --batch-size 100: write a smaller one"
    ) as refused:
        run(tmp_path, classifier=f"base_classifiers:OutOfMemory:limit=0,spared={os.getpid()}")
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("*.parquet"))


def test_too_many_errors_stop_the_run_with_the_first_and_are_tried_again(tmp_path: Path, picture_file: Any) -> None:
    path = picture_file([(0.5, 5), *[(1.0, 9)] * 8])
    data = {"dataset": "parquet", "data_root": path, "classifier": "base_classifiers:Fragile", "sigma": 0.02}
    with pytest.raises(
        RaysmoothError,
        match=r"stopped: 4 images failed \(--max-errors 3\); the first, image 1 \(1\.png\): no valid answer",
    ):
        run(tmp_path / "out", **data, max=None, max_errors=3)
    # What was finished is on disk; what failed is not: the cause may be gone the next time.
    assert pd.read_parquet(tmp_path / "out/certificates").image_id.tolist() == [0]
    rows = run(tmp_path / "out", **data, max=None, max_errors=8)
    assert (rows.status == "error").tolist() == [False] + [True] * 8


def test_images_that_vanish_during_a_run_are_not_lost_for_good(tmp_path: Path) -> None:
    folder, classifier = tmp_path / "pictures", "base_classifiers:Slow:pixels=192,seconds=0.05"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(np.full((8, 8, 3), 5 * number, np.uint8)).save(folder / f"{number:02}.png")
    data = {"dataset": "folder", "data_root": str(folder), "classifier": classifier, "max": None, "max_errors": 5}

    def take_away(over: threading.Event) -> None:
        wait_until(begun(tmp_path / "out"), over)
        over.wait(0.3)
        folder.rename(tmp_path / "away")

    with meanwhile(take_away), pytest.raises(RaysmoothError, match="No such file or directory"):
        run(tmp_path / "out", **data)
    (tmp_path / "away").rename(folder)
    rows = run(tmp_path / "out", **data)
    assert (rows.status == "ok").all()
    assert rows.image_id.tolist() == list(range(40))


def test_a_replica_that_has_gone_bad_is_replaced_and_its_units_are_drawn_elsewhere(
    tmp_path: Path, calm: dict[int, Result]
) -> None:
    flag = tmp_path / "sick"
    changes: dict[str, Any] = {"classifier": f"base_classifiers:Sick:flag={flag}", "n": 1000}

    def sicken(over: threading.Event) -> None:
        wait_until(begun(tmp_path / "sick-run"), over)
        over.wait(0.3)
        flag.touch()

    with meanwhile(sicken):
        rows = run(tmp_path / "sick-run", replicas=2, **changes)
    assert not flag.exists()
    as_calm(rows, tmp_path / "sick-run", calm[1000])


def test_weights_that_differ_between_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"weights on .* are not those that this run began with"):
        run(tmp_path, classifier="base_classifiers:Random")
