"""What a run will cost, estimated before it is started."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from digits_runs import DIGITS, run, settings_of
from rich.console import Console

from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeConfig
from raysmooth.commands.estimate_table import print_estimates
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.dry_run import estimate as estimate_module
from raysmooth.pipeline.dry_run.dry_run import estimate
from raysmooth.pipeline.dry_run.estimate import Estimate
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.part_store import FLUSH_SECONDS

pytestmark = pytest.mark.usefixtures("one_pool")


def estimated(out: Path, **changes: Any) -> list[Estimate]:
    procedure = PROCEDURES["certify"]
    values = {**DIGITS, "replicas": 1, "batch_size": 100, "block_size": 200, "precision": "float32", "out": str(out)}
    return estimate(procedure, user_settings(procedure.settings, values | changes), show_progress=False)


def test_fixed_sampling_is_known_to_the_draw_and_nothing_is_written(tmp_path: Path) -> None:
    small, large = estimated(tmp_path / "out", sigma="0.25,0.5")
    assert (small.images, small.draws, small.most_draws, small.sampled) == (23, 23 * 540, 23 * 540, None)
    assert large.draws == small.draws
    assert small.seconds() == pytest.approx(small.draws / small.draws_per_second)
    assert small.seconds(10 * small.replicas) == pytest.approx(small.seconds() / 10)
    assert not (tmp_path / "out").exists()


def test_what_is_finished_costs_nothing(tmp_path: Path) -> None:
    run(tmp_path, max=20)
    before = sorted(tmp_path.rglob("*"))
    (rest,) = estimated(tmp_path, max=20)
    assert (rest.images, rest.draws) == (0, 0)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_says_which_run_it_would_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(**changes: Any) -> str:
        estimate(PROCEDURES["certify"], settings_of(tmp_path, max=2, n=300, compile="off", **changes))
        (line,) = (line for line in capsys.readouterr().err.splitlines() if " run" in line and "raysmooth: " in line)
        return line

    first = said()
    assert re.fullmatch(rf"raysmooth: would begin new run [0-9a-f]{{16}} in {tmp_path}", first)
    (run_id,) = run(tmp_path, max=2, n=300, compile="off").run_id.unique()
    assert f" {run_id} " in first
    assert said() == f"raysmooth: run {run_id} is finished: all 2 images have their rows"
    assert re.match(rf"raysmooth: would begin new run \w+, which differs from run {run_id} in --seed", said(seed=1))
    for part in tmp_path.glob("certificates/*/*.parquet"):
        part.unlink()
    assert said() == f"raysmooth: would resume run {run_id}: 0 of 2 images are finished"
    assert said(precision="auto").startswith(f"raysmooth: would resume run {run_id}:")


@pytest.mark.parametrize("changes", [{"sampling": "adaptive", "n": 4000}, {"sampling": "decide", "radius": 0.1}])
def test_images_that_stop_early_are_judged_by_some_of_them(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here by all 23, whose draws are those that the run itself then makes. A busy machine gets the time it takes."""
    monkeypatch.setattr(estimate_module, "SAMPLE_SECONDS", 200.0)
    (guess,) = estimated(tmp_path, **changes)
    rows = run(tmp_path, **changes)
    assert guess.sampled == 23
    assert guess.draws == pytest.approx(rows.draws.sum(), rel=0.01)
    assert guess.most_draws == 23 * (40 + changes.get("n", 500))


def test_a_slow_network_is_guessed_from_a_few_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A replica that found no time for more answers so; nothing else is asked of it."""
    guess = ComputeChoice(ComputeConfig("float32", False, 100), 2.0, "guessed", [], guessed_from=4)
    asked: list[Any] = []

    def ask(pool: Pool, question: str, *arguments: Any) -> ComputeChoice:
        asked.append((question, arguments[-1]))
        return guess

    monkeypatch.setattr(Pool, "ask", ask)
    monkeypatch.setattr(Pool, "prepare", None)
    (one,) = estimated(tmp_path / "out", sampling="adaptive", n=4000)
    assert asked == [("choose", True)]
    assert (one.images, one.sampled, one.guessed_from) == (23, 0, 4)
    assert one.draws_per_second == pytest.approx(2.0)
    print_estimates([one], None, Console(stderr=True, width=200))
    assert "draws/s: a guess from 4 draws on one replica" in capsys.readouterr().err


def test_disk_is_of_the_right_size(tmp_path: Path) -> None:
    (guess,) = estimated(tmp_path, max=None, n=200, n0=40)
    run(tmp_path, max=None, n=200, n0=40)
    files = list(tmp_path.rglob("*.parquet"))
    # A run writes what it has every few seconds: as long a one as this was, whatever else the machine did.
    guess = replace(guess, busy_seconds=(len(files) / 2 - 1) * FLUSH_SECONDS, replicas=1)
    on_disk = sum(file.stat().st_size for file in files)
    assert on_disk / 3 < guess.disk_bytes < 3 * on_disk


def test_a_run_writes_every_few_seconds_and_less_often_later() -> None:
    """By hand: every 5 s up to 500 s, then at every hundredth of its age."""
    assert [estimate_module._flushes(seconds) for seconds in (0, 10, 500)] == [1, 3, 101]
    assert estimate_module._flushes(500 * 1.01**50) == pytest.approx(101 + 50, rel=0.01)


def test_what_a_dry_run_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs with 400 and 40 s of work, on the 2 replicas that are here and on 16 like these, by hand."""
    (one,) = estimated(tmp_path / "out")
    judged = Estimate(one.run, 20, 1_000_000.0, 2_000_000, 32, 400.0, 2)
    known = Estimate(one.run, 20, 2_000_000.0, 2_000_000, None, 40.0, 2)
    print_estimates([judged, known], 16, Console(stderr=True, width=100))
    printed, notes = capsys.readouterr()
    rows = {line[:20].strip(): re.split(" {2,}", line[20:].strip()) for line in printed.splitlines()}
    assert rows["images to do"] == ["20", "20"]
    assert rows["draws"] == ["~1,000,000", "2,000,000"]
    assert rows["draws/s, 2 replicas"] == ["5,000", "100,000"]
    assert rows["time, 2 replicas"] == ["3.3 min", "20 s"]
    assert rows["time, 16 replicas"] == ["25 s", "2 s"]
    assert printed.splitlines()[-1] == "total 3.7 min"
    assert "~: measured on 32 images of the run" in notes
    assert "rejector" not in rows
    base = replace(one.run.base, rejector="confidence:threshold=0.6")
    print_estimates([judged, replace(known, run=replace(one.run, base=base))], None, Console(stderr=True, width=100))
    printed, _ = capsys.readouterr()
    assert re.search(r"rejector +none +confidence\n +threshold=0\.6\n", printed)
