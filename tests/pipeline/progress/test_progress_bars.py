"""The pace of a run and the time left, on a clock of our own, and how they are shown."""

import io

import pytest
from rich.console import Console

from raysmooth.pipeline.progress.progress_bars import _KEPT, Progress, _Pace


class Run:
    """Updates a pace once a second, with the draws of that second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, expected: float) -> None:
        self.now, self.draws, self._expected, self.pace = 0.0, 0.0, expected, _Pace(None)
        monkeypatch.setattr("raysmooth.pipeline.progress.progress_bars.monotonic", lambda: self.now)
        self.go_on(0, 1)

    def go_on(self, draws_per_second: float, seconds: int) -> None:
        for _ in range(seconds):
            self.draws += draws_per_second
            self.pace.update(0, self.draws, self._expected)
            self.now += 1


def test_the_time_left_of_a_steady_run_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, 100_000)
    run.go_on(100, 400)
    assert run.pace.draws == pytest.approx(100)
    assert run.pace.seconds_left == pytest.approx(600)


def test_a_pause_of_a_run_is_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas died: half a minute at 1 draw a second after a minute at 100."""
    run = Run(monkeypatch, 100_000)
    run.go_on(100, 60)
    run.go_on(1, 30)
    assert run.pace.draws == pytest.approx(1)
    # Of the last 45 seconds, 15 had 100 draws and 30 had 1.
    assert run.pace.seconds_left == pytest.approx((100_000 - run.draws) / ((15 * 100 + 30) / 45), rel=0.1)


def test_a_run_that_has_become_slow_is_known_to_be_slow_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, 100_000)
    run.go_on(100, 60)
    run.go_on(1, 120)
    assert run.pace.seconds_left == pytest.approx(100_000 - run.draws, rel=0.01)


def test_a_pace_keeps_little_of_a_long_past(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, 1e9)
    run.go_on(100, 20_000)
    assert run.pace.seconds_left == pytest.approx((1e9 - run.draws) / 100)
    assert len(run.pace._past) < 2 * _KEPT
    assert len(run.pace._seen) < 30


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (60, "none, sigma 0.25"),
        (80, "none, sigma 0.25"),
        (80, "stab+mse, sigma 0.25"),
        (80, "…, sigma 0.25, own by ddrs"),
        (120, "…pth=5,width=16, sigma 0.25, own by ddrs"),
    ],
)
def test_a_bar_is_one_line(columns: int, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = shown if "…" not in shown else "dncnn:channels=1,depth=5,width=16, sigma 0.25, own by ddrs"
    progress = Progress()
    printed = io.StringIO()
    console = Console(file=printed, width=columns)
    monkeypatch.setattr(progress, "_console", console)
    bar = progress.add(name, 10_000, 100, 120_000, 12.0)
    task = progress._bars.tasks[bar]
    task.fields["pace"].known, task.fields["pace"].draws = True, 1_200.0
    console.print(progress._bars.get_renderable())
    (line,) = printed.getvalue().splitlines()
    assert line.startswith(shown)
    assert "1,200 draws/s" in line
    assert ("images/s" in line) == (columns >= 100)
