"""How far runs are, for a person: a table; for a program: records."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.durations import duration
from pipeline.metrics import COMPLEMENT, FIXED
from pipeline.run_status import RunStatus, State
from pipeline.wording import LABELLED, SETTINGS, brief, run_names

_STYLES = {
    State.FINISHED: "green",
    State.DRAWING: "cyan",
    State.DRAWN: "cyan",
    State.STARTING: "cyan",
    State.WAITING: "",
    State.STOPPED: "yellow",
    State.SILENT: "bold red",
}

_RECENT = 15.0
"""Seconds since the last sign of life up to which nothing is said of them."""


def status_table(runs: Sequence[RunStatus], width: int) -> RenderableType:
    """A line a run, under what all of them share; below it the first errors, and the time that is left in all. In a
    terminal of less than 100 columns there are no bars.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold", min_width=14)
    if width >= 100:
        table.add_column("", width=16)
    for heading in ("images", "errors", "draws", "draws/s", "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold", min_width=18)
    for run, name in zip(runs, _names(runs), strict=True):
        style = _STYLES[run.state]
        bar = [ProgressBar(run.images, run.done, width=16, complete_style=style or "white", finished_style="green")]
        going = run.state != State.FINISHED
        table.add_row(
            Text(name),
            *(bar if width >= 100 else []),
            f"{run.done:,} of {run.images:,}" if going else f"{run.images:,}",
            Text(f"{run.errors:,}", "red" if run.errors else "dim"),
            short(run.draws),
            short(run.pace) if going and run.pace is not None else "-",
            duration(run.seconds_left) if going and run.seconds_left is not None else "-",
            Text(_words(run), style),
        )
    below = [Text(line, "dim") for line in _below(runs)]
    return Group(Text(f"{brief(_described(runs))}\n"), table, *([Text(), *below] if below else []))


def records(runs: Sequence[RunStatus]) -> list[dict[str, Any]]:
    """The same as JSON values, a record a run; null is unknown."""
    return [
        {
            "run_id": run.run_id,
            "name": name,
            "procedure": run.identity["procedure"],
            "sigma": run.identity["sigma"],
            "state": run.state.value,
            "why": run.beat.why if run.beat is not None and run.state == State.STOPPED else None,
            "images": run.images,
            "done": run.done,
            "errors": run.errors,
            "first_error": run.first_error,
            "draws": run.draws,
            "draws_per_second": run.pace,
            "images_per_second": run.images_per_second,
            "seconds": run.seconds,
            "seconds_left": run.seconds_left,
            "replicas": run.beat.replicas if run.beat is not None and run.is_alive else 0,
            "replica_deaths": run.beat.deaths if run.beat is not None else None,
            "host": run.beat.writer.host if run.beat is not None else None,
            "pid": run.beat.writer.pid if run.beat is not None else None,
            "started": run.started,
            "seconds_since_heard": run.age,
        }
        for run, name in zip(runs, _names(runs), strict=True)
    ]


def short(number: float) -> str:
    """Of a large number three digits: '1,004', '81,300', '3.18 M'."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 999.5 * size else f"{number / size:,.0f}{unit}"
    return f"{number:,.0f}" if number >= 10 or number == 0 else f"{number:.2g}"


def _names(runs: Sequence[RunStatus]) -> list[str]:
    names = run_names(_described(runs))
    procedures = {run.identity["procedure"] for run in runs}
    return [
        (f"{run.identity['procedure']}: " if len(procedures) > 1 else "") + f"{name}, sigma {run.identity['sigma']:.6}"
        for run, name in zip(runs, names, strict=True)
    ]


def _described(runs: Sequence[RunStatus]) -> pd.DataFrame:
    """The runs as `pipeline.wording` wants them, by their manifests."""
    told = {"sampling": FIXED, "bound": COMPLEMENT, "source": None, "measure": LABELLED}
    facts = [{**dict.fromkeys(SETTINGS), **told, **run.identity, "objective": run.objective} for run in runs]
    return pd.DataFrame(facts, pd.Index([run.run_id for run in runs], name="run_id"))


def _words(run: RunStatus) -> str:
    """What becomes of the run, in a few words."""
    beat = run.beat
    match run.state:
        case State.FINISHED:
            return f"finished in {duration(run.seconds)}"
        case State.STOPPED:
            when = f"stopped {duration(run.age)} ago" if run.age is not None else "stopped"
            return f"{when} ({beat.why})" if beat is not None and beat.why else when
        case State.SILENT:
            assert beat is not None, "who is silent has spoken"
            return f"no sign of life since {_clock(run)}, process {beat.writer.pid} on {beat.writer.host}"
        case State.WAITING:
            return "waits for its turn"
        case State.DRAWN:
            return "drawn, its last rows are yet to be written"
    assert beat is not None, "who is at work has said so"
    replicas = f"{beat.replicas or 'no'} replica{'s' * (beat.replicas != 1)}"
    doing = f"starting, {replicas} ready" if run.state == State.STARTING else f"{replicas} on {beat.writer.host}"
    deaths = f", {beat.deaths} died" if beat.deaths else ""
    late = f" ({duration(run.age)} ago)" if run.age is not None and run.age > _RECENT else ""
    return doing + deaths + late


def _clock(run: RunStatus) -> str:
    """When it was last heard of, by this machine's clock and time zone."""
    assert run.heard is not None, "there was a last sign"
    heard = datetime.fromtimestamp(run.heard)
    return f"{heard:%H:%M}" if run.age is not None and run.age < 12 * 3600 else f"{heard:%Y-%m-%d %H:%M}"


def _below(runs: Sequence[RunStatus]) -> list[str]:
    lines = []
    failed = [run for run in runs if run.errors]
    if failed:
        several = sum(run.errors for run in failed) > 1
        lines.append(f"{'first error' if several else 'error'}: {failed[0].first_error}")
    alive = [run for run in runs if run.is_alive]
    if len(alive) > 1 and all(run.seconds_left is not None for run in alive):
        lines.append(f"in all {duration(sum(run.seconds_left or 0.0 for run in alive))} left")
    if any(run.state == State.STOPPED for run in runs):
        lines.append("what is stopped goes on, from there, with the same command")
    return lines
