"""The Typer application that commands are registered with, and the console for notes on standard error."""

import typer
from rich.console import Console

from raysmooth.commands.usage_errors import RefusingGroup

app = typer.Typer(
    cls=RefusingGroup,
    help="Provable robustness for image classifiers: randomized and denoised smoothing on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
notes = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
"""Progress and hints for the user, on standard error; results go to standard output."""

INTERRUPTED = 130
"""Typer's exit code for Ctrl-C."""

train = typer.Typer(help="Train a classifier, or a denoiser for one.", no_args_is_help=True)
app.add_typer(train, name="train", rich_help_panel="Train")


class AlreadyReported(SystemExit):
    """Exit without a message: the user has already been informed."""
