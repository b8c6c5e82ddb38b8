"""Progress of runs: a table for people, records for programs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raysmooth.commands.durations import duration
from raysmooth.pipeline.analysis.metrics import FIXED
from raysmooth.pipeline.analysis.run_facts import LABELLED, SETTINGS, derived
from raysmooth.pipeline.queries.amounts import in_dollars, queries
from raysmooth.pipeline.queries.query_progress import QueryProgress
from raysmooth.pipeline.report.captions import images_caption, run_names, short_caption
from raysmooth.pipeline.status.run_status import IMPORT, RunStatus, State
from raysmooth.pipeline.store.manifest import SEARCH
from raysmooth.pipeline.store.run_differences import RunFacts, differences

_STYLES = {
    State.FINISHED: "green",
    State.DRAWING: "cyan",
    State.DRAWN: "cyan",
    State.STARTING: "cyan",
    State.WAITING: "",
    State.STOPPED: "yellow",
    State.SILENT: "bold red",
}

_DERIVED = {IMPORT: "imported", "recertify": "recertified", "envelope": "envelope", "memory": "memory"}
"""In place of the state of runs that were not drawn, by procedure."""

_WIDE = 96
"""Columns of a terminal with room for the number of draws."""

_NARROW = 76
"""Columns of a terminal below which a run's state stands below its name."""

_SHOWN_DIGITS = 8
"""Of a run id, which has 16; JSON has all."""


def status_table(runs: Sequence[RunStatus], width: int) -> RenderableType:
    """One line per run, below a line of what all runs share, followed by notes. No bars below 110 columns, no speed
    where all runs are finished; in a narrow terminal the state stands below the name.
    """
    bars, wide, narrow, names = width >= 110, width >= _WIDE, width < _NARROW, _names(runs)
    moving = any(run.state != State.FINISHED for run in runs)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0 if narrow else 1, 0, 0))
    table.add_column("run", no_wrap=True)
    table.add_column("", overflow="fold", min_width=10)
    table.add_column("sigma", justify="right", no_wrap=True)
    if bars:
        table.add_column("", width=16)
    for heading in ("images", "errors", *(["draws"] if wide else []), *(["draws/s", "left"] if moving else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("", overflow="fold", min_width=10)
    for run, name in zip(runs, names, strict=True):
        style, going = _STYLES[run.state], run.state != State.FINISHED
        bar = ProgressBar(run.images, run.done, width=16, complete_style=style or "white", finished_style="green")
        table.add_row(
            run.run_id[:_SHOWN_DIGITS],
            Text.assemble(*([f"{name}\n"] if name else []), (_words(run), style)) if narrow else Text(name),
            "-" if run.identity.get("sigma") is None else f"{run.identity['sigma']:.6}",
            *([bar] if bars else []),
            f"{run.done:,} of {run.images:,}" if going else f"{run.images:,}",
            Text(f"{run.errors:,}", "red" if run.errors else "dim"),
            *([short(run.draws)] if wide else []),
            *([short(run.pace) if going and run.pace is not None else "-"] if moving else []),
            *([duration(run.seconds_left) if going and run.seconds_left is not None else "-"] if moving else []),
            *([] if narrow else [Text(_words(run), style)]),
        )
    below = [Text(line, "dim") for line in _notes(runs)]
    return Group(Text(f"{_caption(runs)}\n"), table, *([Text(), *below] if below else []))


def _caption(runs: Sequence[RunStatus]) -> str:
    """What all runs share; searches have neither n nor alpha."""
    counting = [run for run in runs if run.identity["procedure"] != SEARCH]
    return short_caption(_described(runs)) if counting else images_caption(_described(runs))


def records(runs: Sequence[RunStatus]) -> list[dict[str, Any]]:
    """The same as JSON values, one record per run; null means unknown."""
    return [
        {
            "run_id": run.run_id,
            "name": name,
            "procedure": run.identity["procedure"],
            "sigma": run.identity.get("sigma"),
            "sigma_rule": run.identity.get("sigma_rule") or run.identity.get("search"),
            "state": run.state.value,
            "why": run.record.why if run.record is not None and run.state == State.STOPPED else None,
            "images": run.images,
            "done": run.done,
            "errors": run.errors,
            "first_error": run.first_error,
            "draws": run.draws,
            "draws_per_second": run.pace,
            "images_per_second": run.images_per_second,
            "seconds": run.seconds,
            "seconds_left": run.seconds_left,
            "replicas": run.record.replicas if run.record is not None and run.is_alive else 0,
            "replica_deaths": run.record.deaths if run.record is not None else None,
            "problem": run.problem,
            "host": run.record.writer.host if run.record is not None else None,
            "pid": run.record.writer.pid if run.record is not None else None,
            "started": run.started,
            "seconds_since_heard": run.age,
            "queries": None if run.queries is None else _queries(run.queries),
        }
        for run, name in zip(runs, _names(runs), strict=True)
    ]


def _queries(found: QueryProgress) -> dict[str, Any]:
    """What all queries of the folder have cost, as JSON values."""
    return {name: value for name, value in asdict(found).items() if name != "writer"}


def _spent(found: QueryProgress, alive: bool) -> str:
    """What all queries of the folder have cost, and how fast they are sent now."""
    cost = f" for {in_dollars(found.spent)}" if found.price or found.spent else ""
    lost = f", {found.unanswered:,} of them without an answer" if found.unanswered else ""
    left = [
        *([] if found.left is None else [in_dollars(found.left, is_left=True)]),
        *([] if found.queries_left is None else [queries(found.queries_left)]),
    ]
    room = f"; left of the budget: {', '.join(left)}" if left else ""
    throttled = f"; {found.throttled:,} throttled" if found.throttled else ""
    rate = f"; at most {found.rate:,.3g}/s now" if alive and found.rate is not None else ""
    return f"{queries(found.queries)} sent{cost}{lost}{room}{throttled}{rate}"


def short(number: float) -> str:
    """A number of at least 1 million with three digits: '1,004', '81,300', '3.18 M'."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 999.5 * size else f"{number / size:,.0f}{unit}"
    return f"{number:,.0f}" if number >= 10 or number == 0 else f"{number:.2g}"


def _names(runs: Sequence[RunStatus]) -> list[str]:
    """What distinguishes each run from the others, apart from sigma and its id."""
    procedures = [run.identity["procedure"] for run in runs]
    several = len(set(procedures)) > 1
    named = run_names(_described(runs))
    names = [
        ", ".join(part for part in name.split(", ") if part != f"run {run.run_id[:8]}")
        for run, name in zip(runs, named, strict=True)
    ]
    names = [f"{procedure}: {name}" if several else name for procedure, name in zip(procedures, names, strict=True)]
    alike = [(name, run.identity.get("sigma")) for run, name in zip(runs, names, strict=True)]
    for place, run in enumerate(runs):
        others = [other for other, key in zip(runs, alike, strict=True) if key == alike[place] and other is not run]
        own = dict.fromkeys(words for other in others for words in _apart(_facts(other), _facts(run)))
        names[place] = ", ".join([names[place], *own])
    return names


def _facts(run: RunStatus) -> RunFacts:
    return RunFacts(run.run_id, run.identity, run.settings)


def _apart(other: RunFacts, run: RunFacts) -> Iterator[str]:
    """What distinguishes a run from another one of the same name: other flags, another device, other data."""
    for difference in differences(other, run):
        if difference.here is None:
            yield f"another {difference.what.removeprefix('the ')}"
        elif difference.is_flag and difference.here == "none":
            yield f"no {difference.what}"
        else:
            yield f"{difference.what.removeprefix('the ')} {difference.here}"


def _described(runs: Sequence[RunStatus]) -> pd.DataFrame:
    """The runs as a frame of facts for `pipeline.report.captions`, from their manifests."""
    known = {"sampling": FIXED, "source": None, "quantity": LABELLED}
    facts = [
        {
            **dict.fromkeys(SETTINGS),
            **known,
            "sigma_rule": run.identity.get("search"),
            **run.identity,
            "objective": run.objective,
        }
        for run in runs
    ]
    described = pd.DataFrame(facts, pd.Index([run.run_id for run in runs], name="run_id"))
    whole = dict.fromkeys(("n0", "n"), "Int64")  # imported runs may lack them, which would make floats of the others
    return derived(described.astype(whole).reset_index()).set_index("run_id")


def _words(run: RunStatus) -> str:
    """The state of the run, in a few words."""
    ago = duration(run.age) if run.age is not None else "-"
    match run.state:
        case State.FINISHED:
            return _DERIVED.get(run.identity["procedure"]) or f"finished in {duration(run.seconds)}"
        case State.STOPPED:
            return f"stopped {ago} ago" if run.age is not None else "stopped"
        case State.SILENT:
            return f"no heartbeat for {ago}"
        case State.WAITING:
            return "waiting for its turn"
        case State.DRAWN:
            return "sampling finished, writing results"
    assert run.record is not None, "a live run has a record"
    replicas = f"{run.record.replicas or 'no'} replica{'s' * (run.record.replicas != 1)}"
    if run.state == State.STARTING:
        return f"starting, {replicas}" if run.record.replicas else "starting"
    return replicas + (f", {run.record.deaths} died" if run.record.deaths else "")


def _notes(runs: Sequence[RunStatus]) -> Iterator[str]:
    """Notes below the table: processes at work, missing heartbeats, reasons for stops, and what to do."""
    names = [f"run {run.run_id[:_SHOWN_DIGITS]}" for run in runs]
    alive = [run for run in runs if run.is_alive]
    for writer in dict.fromkeys(run.record.writer for run in alive if run.record is not None):
        left = [run.seconds_left for run in alive if run.record is not None and run.record.writer == writer]
        known = [seconds for seconds in left if seconds is not None]
        total = f"; total {duration(sum(known))} left" if len(left) > 1 and len(known) == len(left) else ""
        yield f"sampled by {writer}{total}"
    asking = [run for run in runs if run.queries is not None]
    for found in {id(run.queries): run.queries for run in asking}.values():
        assert found is not None, "those that ask have one"
        yield _spent(found, any(run.is_alive for run in asking))
    for run, name in zip(runs, names, strict=True):
        if run.problem:
            yield f"{name}: its progress is unknown: {run.problem}"
        if run.first_error:
            yield f"{name}: {'first error: ' * (run.errors > 1)}{run.first_error}"
        if run.record is not None and run.state == State.SILENT:
            yield f"{name}: last heartbeat at {_clock(run)}, from {run.record.writer}"
        if run.record is not None and run.record.why and run.state == State.STOPPED:
            yield f"{name}: stopped: {run.record.why}"
    if any(run.state == State.STOPPED for run in runs):
        yield "rerun the same command to resume stopped runs"


def _clock(run: RunStatus) -> str:
    """The time of the last heartbeat or part, in this machine's time zone."""
    assert run.heard is not None, "a silent run has written a file"
    heard = datetime.fromtimestamp(run.heard)
    return f"{heard:%H:%M}" if run.age is not None and run.age < 12 * 3600 else f"{heard:%Y-%m-%d %H:%M}"
