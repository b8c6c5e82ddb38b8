"""run, demo and list: experiments that come along, and the names that there are."""

from time import monotonic
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysmooth.commands.app import app, notes

LISTS = (
    "datasets", "classifiers", "denoisers", "objectives", "recipes", "augmentations", "metrics", "schedulers", "sweep",
    "experiments", "stages",
)  # fmt: skip
"""What `list` knows: the names of the catalogue."""


@app.command("list", rich_help_panel="Experiments")
def list_command(
    what: Annotated[str, typer.Argument(help=f"What to list: {', '.join(LISTS)}.")],
) -> None:
    """List what there is to choose from: data sets, classifiers, denoisers, objectives, recipes, augmentations; of
    sweeps the metrics, the schedulers, and the keys of their files; experiments, and what their stages may be.

    **Example**

    `raysmooth list recipes`
    """
    from raysmooth.commands.catalogue import CATALOGUE

    rows = CATALOGUE[what]()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for position, name in enumerate(rows.columns):
        table.add_column(name, overflow="fold", no_wrap=position == 0)  # names are for copying
    for cells in rows.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in cells))
    Console().print(table)


@app.command("run", rich_help_panel="Experiments")
def run_command(
    experiment: Annotated[str, typer.Argument(help="YAML file, or the name of an experiment that comes along.")],
    only: Annotated[str | None, typer.Option(help="Do this stage alone.", show_default=False)] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Try all stages in seconds, on small everything.")] = False,
    out: Annotated[str | None, typer.Option(help="Folder of the results, instead of the file's.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the data set, instead of the file's.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, or 'local'.")] = None,
) -> None:
    """Run an experiment: a table or a figure of a paper, from training to certificates, and the paper's numbers beside
    ours.

    **Examples**

    `raysmooth run experiments/salman2020-table8.yaml --data-root data`

    `raysmooth run jeong2020-table2 --smoke`

    The same command again continues where it was stopped; stages that are done are not done again.
    """
    run_and_print(experiment, only, smoke, out, data_root, address)


@app.command("demo", rich_help_panel="Experiments")
def demo_command(
    smoke: Annotated[bool, typer.Option("--smoke", help="Try all stages in seconds, on small everything.")] = False,
    out: Annotated[str | None, typer.Option(help="Folder of the results.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, or 'local'.")] = None,
) -> None:
    """Denoised smoothing in miniature: train, certify and report on handwritten digits, in a few minutes.

    A denoiser in front of a classifier that was never trained for noise makes it certifiably robust, and one trained
    for that classifier more so: the main claim of Salman et al. 2020, on scikit-learn's bundled images. It is
    `raysmooth run digits`.

    **Example**

    `raysmooth demo`
    """
    run_and_print("digits", None, smoke, out, None, address)


def run_and_print(
    experiment: str, only: str | None, smoke: bool, out: str | None, data_root: str | None, address: str | None
) -> None:
    from raysmooth.tune.experiments.report import print_report
    from raysmooth.tune.experiments.run_and_report import run_and_report

    began = monotonic()
    report = run_and_report(experiment, only=only, smoke=smoke, out=out, data_root=data_root, address=address)
    if report is not None:
        notes.print()
        print_report(report)
        notes.print(f"certificates: {report.plan.out / 'certificates'}  (pandas.read_parquet)")
        notes.print(f"written: {', '.join(map(str, report.files))}")
    notes.print(f"in all {monotonic() - began:.0f} s")
