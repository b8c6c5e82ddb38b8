"""The table that a dry run prints."""

from collections.abc import Sequence

from rich import box, filesize
from rich.console import Console
from rich.table import Table

from raysmooth.commands.durations import duration
from raysmooth.pipeline.dry_run.estimate import Estimate


def print_estimates(
    estimates: Sequence[Estimate], asked: int | None, notes: Console, searches: Sequence[Estimate] = ()
) -> None:
    """Print one column per run, with times on the available replicas and, if `asked` differs, on `asked` replicas.
    `searches` are those that come first, one for each run: their times, and these as shares of the runs'. Explanations
    go to `notes`.
    """
    here = max(one.replicas for one in estimates)
    searching = "search" in estimates[0].run.facts
    draws = "forward passes" if searching else "draws"
    rows = [
        _method(estimates),
        *_rejectors(estimates),
        ("images to do", [f"{one.images:,}" for one in estimates]),
        (draws, [f"{'' if one.sampled is None else '~'}{one.draws:,.0f}" for one in estimates]),
        *([] if searching else [("draws at most", [f"{one.most_draws:,}" for one in estimates])]),
        (f"{draws}/s, {_replicas(here)}", [f"{one.draws_per_second:,.0f}" for one in estimates]),
    ]
    for number in dict.fromkeys([here, asked or here]):
        rows.append((f"time, {_replicas(number)}", [duration(one.seconds(number)) for one in estimates]))
        if searches:
            first = [duration(search.seconds(number)) for search in searches]
            rows.append((f"search before it, {_replicas(number)}", first))
    if searches:
        rows.append(("search, share of that time", [_share(*pair) for pair in zip(searches, estimates, strict=True)]))
    rows.append(("disk", [filesize.decimal(int(one.disk_bytes)) for one in estimates]))
    table = Table("", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for one in estimates:
        table.add_column(f"sigma {one.run.noise.scale:g}", justify="right", no_wrap=True)
    for name, cells in rows:
        table.add_row(name, *cells)
    Console().print(table)
    if len(estimates) > 1:
        print(f"total {duration(sum(one.seconds() for one in (*estimates, *searches)))}")
    for sampled in sorted({one.sampled for one in estimates if one.sampled is not None}):
        basis = f"measured on {sampled} images of the run" if sampled else "typical values"
        notes.print(f"~: {basis}")
    for tried in dict.fromkeys(one.tried for one in (*estimates, *searches) if one.tried is not None):
        notes.print(f"tried: {tried}")
    for drawn, where in dict.fromkeys((one.guessed_from, one.where) for one in estimates if one.guessed_from):
        notes.print(
            f"draws/s: a guess from {drawn} draws {where}, not compiled; a run first times batch sizes and "
            "compiling, and compiles where that pays: it may take half the time or twice"
        )
    notes.print("start-up and reading of images not included; nothing was written")


def _method(estimates: Sequence[Estimate]) -> tuple[str, list[str]]:
    """The row that names the sampling method, or the search."""
    name = "search" if "search" in estimates[0].run.facts else "sampling"
    return name, [str(one.run.facts[name]).replace(":", "\n").replace(",", "\n") for one in estimates]


def _rejectors(estimates: Sequence[Estimate]) -> list[tuple[str, list[str]]]:
    """The row that names rejectors, if any run has one."""
    named = [str(one.run.facts.get("rejector") or "none").replace(":", "\n") for one in estimates]
    return [("rejector", named)] if set(named) != {"none"} else []


def _share(search: Estimate, run: Estimate) -> str:
    """The time of a search as a share of its run's."""
    if not run.busy_seconds:
        return "-"
    percent = 100 * search.busy_seconds / run.busy_seconds
    return f"{percent:.2g} %" if percent < 10 else f"{percent:,.0f} %"


def _replicas(number: int) -> str:
    return f"{number} replica{'s' * (number > 1)}"
