"""run, demo and list: the bundled experiments, and the names to choose from."""

from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from raysmooth.commands.app import app, notes, say_loading
from raysmooth.commands.flags import TRUST_CODE
from raysmooth.commands.outcome import command_line, print_failures, print_written
from raysmooth.commands.usage import CommandWithExamples
from raysmooth.tune.experiments.request import ExperimentRequest

if TYPE_CHECKING:
    from raysmooth.pipeline.analysis.failures import Failures

LISTS = {
    "datasets": "data sets to certify and train on",
    "classifiers": "classifiers by name, with the normalisation of each",
    "denoisers": "denoisers by name, with their options",
    "rejectors": "what decides which draws support no class",
    "apis": "vision APIs: price, rate, limits, what to install",
    "label-rules": "which label the answer of a vision API gives",
    "searches": "how a noise level is found for each image",
    "objectives": "what trainings minimise, with options and sources",
    "recipes": "phases, batch sizes and decays of the papers' trainings",
    "augmentations": "random changes to training images",
    "metrics": "what a sweep judges its trials by",
    "schedulers": "which trials of a sweep go on",
    "sweep": "the keys of a sweep's file",
    "experiments": "bundled experiments, for raysmooth run",
    "stages": "the kinds of stages of an experiment",
}
"""The arguments of `list`, the names of the catalogue, and what each lists."""


@app.command("list", cls=CommandWithExamples, rich_help_panel="Experiments")
def list_command(
    what: Annotated[
        str | None, typer.Argument(metavar="LIST", help=f"What to list: {', '.join(LISTS)}. Default: these names.")
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show all about this one of the list.", show_default=False)
    ] = None,
) -> None:
    """List the available data sets, classifiers, denoisers, rejectors, objectives, recipes and augmentations; for
    sweeps, metrics, schedulers and the keys of a file; experiments, and the kinds of their stages.

    **Examples**

    `raysmooth list recipes`

    `raysmooth list recipes jeong2020-mnist`
    """
    from raysmooth.commands.listing import print_entry, print_list

    if what is None:
        print_list([{"list": each, "what": summary} for each, summary in LISTS.items()], "raysmooth list LIST")
        return
    from raysmooth.commands.catalogue import CATALOGUE

    rows = CATALOGUE[what]()
    if name is None:
        print_list(rows, f"raysmooth list {what} NAME")
    else:
        print_entry(rows, name, what)


@app.command("run", cls=CommandWithExamples, rich_help_panel="Experiments")
def run_command(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="YAML file, or the name of a bundled experiment.")
    ],
    only: Annotated[str | None, typer.Option(help="Run only this stage.", show_default=False)] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Quick test of all stages, with small networks and little data.")
    ] = False,
    out: Annotated[str | None, typer.Option(help="Folder of the results. Default: the file's.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Folder of the data set. Default: the file's.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, or 'local'.")] = None,
    trust_code: Annotated[bool, TRUST_CODE] = False,
) -> None:
    """Reproduce a table or a figure of a paper, from training to certificates, with the paper's numbers beside ours.

    **Examples**

    `raysmooth run experiments/salman2020-table8.yaml --data-root data`

    `raysmooth run jeong2020-table2 --smoke`

    Rerun the same command to resume; finished stages are not run again. If at least half of the images of a run failed,
    the exit code is 1.
    """
    run_and_print(ExperimentRequest(experiment, only, smoke, out, data_root, address, trust_code))


@app.command("demo", cls=CommandWithExamples, rich_help_panel="Experiments")
def demo_command(
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Quick test of all stages, with small networks and little data.")
    ] = False,
    out: Annotated[str | None, typer.Option(help="Folder of the results.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, or 'local'.")] = None,
) -> None:
    """Denoised smoothing in miniature: train, certify and report on handwritten digits, in a few minutes.

    A denoiser in front of a classifier that was not trained for noise makes it certifiably robust; a denoiser trained
    for that classifier, even more so. This is the main claim of Salman et al. 2020, here on the images that come with
    scikit-learn. Same as `raysmooth run digits`.

    **Example**

    `raysmooth demo`
    """
    run_and_print(ExperimentRequest("digits", smoke=smoke, out=out, address=address))


def run_and_print(request: ExperimentRequest) -> None:
    """Run an experiment, and print its report and where its results are; raises `typer.Exit(1)` if at least half of the
    images of a stage failed.
    """
    from raysmooth.tune.experiments.settings import find_experiment

    find_experiment(request.experiment)
    say_loading("torch", "checking all stages")
    from raysmooth.pipeline.store.manifest import CERTIFICATES
    from raysmooth.tune.experiments.report import print_report
    from raysmooth.tune.experiments.run_and_report import run_and_report

    began = monotonic()
    failed: list[tuple[str, Failures]] = []
    report = run_and_report(request, command=command_line(), on_failures=failed.extend)
    if report is not None:
        notes.print()
        print_report(report)
        notes.print(f"certificates: {report.plan.out / CERTIFICATES}  (pandas.read_parquet)")
        print_written(report.files)
    notes.print(f"total time: {monotonic() - began:.0f} s")
    print_failures([one for _, one in failed], [stage for stage, _ in failed])
