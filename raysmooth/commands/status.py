"""status: progress of runs, read from another shell or machine."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from raysmooth.commands.app import INTERRUPTED, AlreadyReported, app, notes
from raysmooth.commands.flags import RESULTS
from raysmooth.commands.usage import CommandWithExamples
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.streams import output_failure

if TYPE_CHECKING:
    from raysmooth.pipeline.status.run_status import RunStatus

    Show = Callable[[Sequence[RunStatus]], None]


_LONGEST_WATCH = 86_400
"""Seconds."""


class _StatusCommand(CommandWithExamples):
    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        if args[-1:] == ["--watch"]:
            raise RaysmoothError("--watch needs seconds: write --watch 5")
        return super().parse_args(ctx, args)


def _seconds(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        raise RaysmoothError(f"--watch {printable(str(text))}: write seconds, as in --watch 5") from None


@app.command("status", cls=_StatusCommand, rich_help_panel="Results")
def status_command(
    results: Annotated[str, RESULTS],
    watch: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            parser=_seconds,
            help="Refresh every SECONDS, until all runs are finished; wait for the first if there is none yet.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of runs as JSON; with --watch, one line per refresh.")
    ] = False,
) -> None:
    """Show the progress of runs: finished images, errors, speed, time left, and the process that is sampling, if any.

    Reads the folder alone, without Ray: works from any shell or machine with access to it. Rows are counted, not
    verified: `raysmooth report` compares them with what their counts and settings allow.

    **Examples**

    `raysmooth status results`

    `raysmooth status results --watch 5`
    """
    if watch is not None and not 0.1 <= watch <= _LONGEST_WATCH:
        raise RaysmoothError(f"--watch {watch:g}: write seconds, 0.1 to {_LONGEST_WATCH}")
    with _interrupted_alone():
        _show(results, watch, as_json)


def _show(results: str, watch: float | None, as_json: bool) -> None:
    from raysmooth.pipeline.status.run_status import State, StatusReader
    from raysmooth.pipeline.store.manifest import missing_manifests, without_manifest
    from raysmooth.storage.object_store import notify

    reader = StatusReader(results)
    # Ctrl-C is the normal way to leave a watch that has shown something.
    leaving = suppress(KeyboardInterrupt) if watch is not None else nullcontext()
    runs = reader.read() if watch is None else _awaited(reader.read, watch)
    if missing := without_manifest(results):
        notify(missing_manifests(missing, "not shown"))
    with leaving, _shown_as(as_json, again=watch is not None) as show:
        while True:
            show(runs)
            if watch is None or output_failure() or all(run.state == State.FINISHED for run in runs):
                return
            sleep(watch)
            runs = reader.read()


@contextmanager
def _interrupted_alone() -> Iterator[None]:
    """Say of Ctrl-C no more than that: this command has no work to resume."""
    try:
        yield
    except KeyboardInterrupt:
        # Where it came while rich was writing, rich would write that line again.
        typer.echo("raysmooth: interrupted", err=True)
        raise AlreadyReported(INTERRUPTED) from None


def _awaited(read: "Callable[[], list[RunStatus]]", seconds: float) -> "list[RunStatus]":
    """The first runs, once there are any; a line says what is waited for. Ctrl-C ends the wait as any command."""
    from raysmooth.pipeline.store.manifest import NoRuns

    said = False
    while True:
        try:
            return read()
        except NoRuns as missing:
            if not said:
                notes.print(f"raysmooth: waiting for a run to begin ({str(missing).partition(':')[0]}); Ctrl-C ends")
            said = True
        sleep(seconds)


@contextmanager
def _shown_as(as_json: bool, again: bool) -> "Iterator[Show]":
    """A function that prints runs, as JSON or as a table; a terminal refreshes the table in place if called `again`."""
    from raysmooth.commands.status_table import records, status_table

    console = Console()
    if as_json:
        yield lambda runs: print(json.dumps(records(runs), indent=None if again else 2), flush=True)
    elif again and console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda runs: live.update(status_table(runs, console.width), refresh=True)
    else:
        yield lambda runs: console.print(status_table(runs, console.width))
