"""status: how far runs are, told from another shell or machine."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from raysmooth.commands.app import app

if TYPE_CHECKING:
    from raysmooth.pipeline.status.run_status import RunStatus

    Show = Callable[[Sequence[RunStatus]], None]


@app.command("status", rich_help_panel="Results")
def status_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    watch: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="Look again every so often, until all runs are finished.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of runs as JSON; with --watch, a line each time.")
    ] = False,
) -> None:
    """Tell how far runs are: images done, errors, pace, time left, and whether anybody draws them now.

    It reads what is in the folder and needs no Ray, so any shell or machine will do that sees the folder.

    **Examples**

    `raysmooth status results`

    `raysmooth status results --watch 5`
    """
    from raysmooth.pipeline.status.run_status import State, StatusReader

    reader = StatusReader(out)
    # Ctrl-C is the way to leave a watch, and no accident.
    left = suppress(KeyboardInterrupt) if watch is not None else nullcontext()
    with left, _shown_as(as_json, again=watch is not None) as show:
        while True:
            runs = reader.read()
            show(runs)
            if watch is None or all(run.state == State.FINISHED for run in runs):
                return
            sleep(watch)


@contextmanager
def _shown_as(as_json: bool, again: bool) -> "Iterator[Show]":
    """What shows runs: as JSON, or as a table, which a terminal shows in the same place `again` and again."""
    from raysmooth.commands.status_table import records, status_table

    console = Console()
    if as_json:
        yield lambda runs: print(json.dumps(records(runs), indent=None if again else 2), flush=True)
    elif again and console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda runs: live.update(status_table(runs, console.width), refresh=True)
    else:
        yield lambda runs: console.print(status_table(runs, console.width))
