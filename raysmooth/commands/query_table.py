"""The table that a dry run of vision APIs prints: queries, dollars and time."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from raysmooth.commands.durations import duration
from raysmooth.pipeline.dry_run.query_estimate import QueryPlan
from raysmooth.pipeline.queries.amounts import in_dollars


def print_queries(plan: QueryPlan, notes: Console) -> None:
    """Print a column for each run and, of several, one for their sum. Explanations go to `notes`."""
    runs = plan.estimates
    about = "" if all(one.is_exact for one in runs) else "~"
    table = Table("", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for one in runs:
        table.add_column(f"sigma {one.run.noise.scale:g}", justify="right", no_wrap=True)
    if len(runs) > 1:
        table.add_column("sum", justify="right", no_wrap=True)
    rate, price = runs[0].rate, runs[0].run.price
    _row(table, "images to do", [f"{one.images:,}" for one in runs], f"{sum(one.images for one in runs):,}")
    _row(table, "queries an image", [f"{about}{one.run.queries_per_image:,.0f}" for one in runs], "")
    answered = sum(one.answered for one in runs)
    _row(table, "answered already", [f"{about}{one.answered:,.0f}" for one in runs], f"{about}{answered:,.0f}")
    _row(table, "queries to send", [f"{about}{one.to_send:,.0f}" for one in runs], f"{about}{plan.to_send:,.0f}")
    _row(table, "dollars", [_dollars(one.to_send, price) for one in runs], _dollars(plan.to_send, price))
    if rate is not None:
        times = [one.seconds for one in runs]
        _row(table, f"time at {_rate(rate)}", [_time(one) for one in times], _time(_sum(times)))
    Console().print(table)
    if about:
        notes.print("~: typical values, as images stop early")
    if price is None:
        notes.print("dollars: no price is known: write --price-per-1000 1.50, say")
    if rate is None:
        notes.print("time: as fast as the API answers; write --rate 10/s for a limit")
    if plan.left is not None:
        notes.print(f"budget: room for {plan.left:,} more queries, in all runs of this --out together")
    notes.print("repeated requests (timeouts, kills) not included; nothing was sent or written")


def _row(table: Table, name: str, cells: Sequence[str], total: str) -> None:
    table.add_row(name, *cells, *([total] if len(cells) > 1 else []))


def _sum(values: Iterable[float | None]) -> float | None:
    """None if any of them is unknown."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _dollars(queries: float, price: float | None) -> str:
    return "-" if price is None else in_dollars(queries * price)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _rate(rate: float) -> str:
    """Pictures a second, or a minute where that is a smaller number than one a second."""
    return f"{round(rate, 1):,g}/s" if rate >= 1 else f"{round(rate * 60, 1):,g}/min"
