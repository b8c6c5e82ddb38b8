"""The Typer application that commands are registered with, and the console for notes on standard error."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from raysmooth.commands.usage import OneLineGroup
from raysmooth.common import __version__

app = typer.Typer(
    cls=OneLineGroup,
    help="Provable robustness for image classifiers: randomized and denoised smoothing on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["--help", "-h"]},
)
notes = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
"""Progress and hints for the user, on standard error; results go to standard output."""


def say_loading(library: str, then: str) -> None:
    """Say what the command waits for, before it imports a library that takes seconds; nothing where that is loaded."""
    if library not in sys.modules:
        notes.print(f"raysmooth: loading {library}, then {then} ...")


INTERRUPTED = 130
"""Typer's exit code for Ctrl-C."""

train = typer.Typer(help="Train a classifier, a denoiser for one, or a rejector.", no_args_is_help=True)
app.add_typer(train, name="train", rich_help_panel="Train")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"raysmooth {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """The options of `raysmooth` itself."""


class AlreadyReported(SystemExit):
    """Exit without a message: the user has already been informed."""
