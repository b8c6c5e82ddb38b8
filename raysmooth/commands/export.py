"""export: finished certificates in the formats of other tools."""

import sys
from typing import Annotated

import typer

from raysmooth.commands.app import app, notes, say_loading
from raysmooth.commands.flags import RESULTS
from raysmooth.commands.report import read_radii
from raysmooth.commands.usage import HELP_ALL, CommandWithExamples
from raysmooth.common.settings import split_list

FORMATS = ("locuslab", "sok", "json", "model-card")
"""The names of the registry EXPORTS, here without importing it."""


@app.command("export", cls=CommandWithExamples, rich_help_panel="Results")
def export_command(
    results: Annotated[str, RESULTS],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="locuslab: the field's log, which import reads, of one run. sok: records for the leaderboard "
            "sokcertifiedrobustness.github.io. json: cards with results, intervals, settings and hashes. model-card: "
            "README.md for the Hugging Face Hub, with model-index metadata.",
        ),
    ],
    run: Annotated[
        str | None,
        typer.Option(help="Run ids or their first characters, comma-separated. Default: all.", show_default=False),
    ] = None,
    radii: Annotated[
        str | None,
        typer.Option(
            help="Radii of the results, such as 0,0.25,0.5. Default: those of tables; sok: the leaderboard's.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="File to write. Default: print to standard output.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="json, model-card: what the model is called.", show_default=False)
    ] = None,
    title: Annotated[str | None, typer.Option(help="sok: title of the publication.", show_default=False)] = None,
    link: Annotated[str | None, typer.Option(help="sok: its address.", show_default=False)] = None,
    venue: Annotated[str | None, typer.Option(help="sok: where it appeared.", show_default=False)] = None,
    help_all: Annotated[bool, HELP_ALL] = False,
) -> None:
    """Export certificates: the field's log, a leaderboard's records, JSON cards, or a model card. No number is rounded
    in a result's favour.

    **Examples**

    `raysmooth export results --run 0f3a --format locuslab --out sigma_0.25.tsv`

    `raysmooth export results --format model-card --name my-smoothed-resnet --out README.md`
    """
    grid = read_radii(radii) if radii is not None else None
    runs = (split_list(run) or [run]) if run is not None else None
    say_loading("pandas", "reading rows")
    from raysmooth.pipeline.export.export import export

    text = export(results, format_, runs, grid, out, name=name, title=title, link=link, venue=venue)
    if out is None:
        sys.stdout.write(text)
    else:
        notes.print(f"written: {out}")
