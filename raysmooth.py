"""raysmooth: provable robustness for image classifiers, at cluster scale. The front door: commands, and Python."""

import sys
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.refusal import Refusal
from pipeline.driver import carry_out
from pipeline.driver import estimate as estimate_job
from pipeline.estimate_table import print_estimates
from pipeline.flags import flags_of
from pipeline.metrics import labelled, percent
from pipeline.procedures import PROCEDURES, Procedure
from pipeline.report import read_certificates, summarize, write_report
from pipeline.settings import SamplingSettings, checked
from pipeline.tables import FORMATS
from tune import train as training
from tune.catalogue import CATALOGUE
from tune.demo import DemoSettings, run_demo
from tune.settings import TrainClassifierSettings, TrainDenoiserSettings
from tune.sweep import SweepResult, run_sweep
from tune.sweep_report import named_after_trials, print_trials, write_sweep_report
from tune.sweep_settings import SweepSettings

__all__ = [
    "Refusal",
    "certify",
    "estimate",
    "main",
    "predict",
    "read_certificates",
    "summarize",
    "sweep",
    "train_classifier",
    "train_denoiser",
]

app = typer.Typer(
    help="Provable robustness for image classifiers: randomized and denoised smoothing on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
notes = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
"""For whoever watches; results go to standard output."""

INTERRUPTED = 130
"""Typer's exit code for Ctrl-C."""

train = typer.Typer(help="Train a classifier, or a denoiser for one.", no_args_is_help=True)
app.add_typer(train, name="train")


def certify(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> pd.DataFrame:
    """Certify images with CERTIFY of Cohen et al. 2019, the classifier behind a denoiser if one is named.

    Keyword arguments are those of `CertifySettings`, the flags of `raysmooth certify`; `config` is a YAML file of the
    same. Returns one row an image: the rows that stand in `<out>/certificates`. Raises Refusal, in one line, for
    settings that cannot work.

    >>> rows = certify(dataset="digits", classifier="digits_cnn", classifier_weights="digits.safetensors", sigma=0.25)
    """
    return _carry_out(PROCEDURES["certify"], config, settings, progress)


def estimate(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> pd.DataFrame:
    """What `certify` would cost with the same arguments, after a few seconds of trying; nothing is written. One row a
    sigma: `images` still to be done, `draws` expected and `most_draws`, `seconds` of drawing on `replicas` (those that
    are here), `busy_seconds` of one replica, `disk_bytes`.
    """
    procedure = PROCEDURES["certify"]
    estimates = estimate_job(procedure, checked(procedure.settings, settings, config), progress)
    return pd.DataFrame(
        {
            "sigma": one.run.noise.scale,
            "sampling": one.run.facts["sampling"],
            "images": one.images,
            "draws": one.draws,
            "most_draws": one.most_draws,
            "seconds": one.seconds(),
            "replicas": one.replicas,
            "busy_seconds": one.busy_seconds,
            "disk_bytes": one.disk_bytes,
        }
        for one in estimates
    )


def predict(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> pd.DataFrame:
    """Predict images with the smoothed classifier, PREDICT of Cohen et al. 2019; otherwise like `certify`, with the
    settings of `PredictSettings` and rows in `<out>/predictions`.
    """
    return _carry_out(PROCEDURES["predict"], config, settings, progress)


def train_classifier(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a classifier and return the path of its weights; keyword arguments are those of `TrainClassifierSettings`,
    the flags of `raysmooth train classifier`. Otherwise like `certify`; the same call again goes on or finds it done.
    """
    return training.train_classifier(checked(TrainClassifierSettings, settings, config), progress)


def train_denoiser(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a denoiser, otherwise like `train_classifier`, with the settings of `TrainDenoiserSettings`."""
    return training.train_denoiser(checked(TrainDenoiserSettings, settings, config), progress)


def sweep(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> SweepResult:
    """Run a sweep of trainings; keyword arguments are those of `SweepSettings`, the keys of an experiment file.
    Otherwise like `certify`: `.trials` has a row for each epoch of each trial, `.winner` tells of the best one.
    """
    return run_sweep(checked(SweepSettings, settings, config), progress)


def _carry_out(procedure: Procedure, config: Any, settings: dict[str, Any], progress: bool) -> pd.DataFrame:
    return carry_out(procedure, [checked(procedure.settings, settings, config)], progress)


@app.command("certify")
@flags_of(PROCEDURES["certify"].settings)
def certify_command(
    settings: SamplingSettings,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Try for a few seconds, print draws, time and disk, and write nothing.",
            rich_help_panel="Replicas and results",
        ),
    ] = False,
) -> None:
    """Certify images: how far can each be perturbed before the smoothed classifier's prediction may change?

    **Examples**

    `raysmooth certify --dataset digits --classifier digits_cnn --classifier-weights digits.safetensors --sigma 0.25`

    `raysmooth certify --dataset cifar10 --data-root data --skip 20 --classifier cifar_resnet110 --classifier-weights
    resnet110.pth.tar --denoiser dncnn --denoiser-weights "dncnn-{sigma}.pth.tar" --sigma 0.12,0.25,0.5,1.0`

    The same command again continues where it was stopped.
    """
    if dry_run:
        print_estimates(estimate_job(PROCEDURES["certify"], settings), settings.replicas, notes)
        return
    rows = carry_out(PROCEDURES["certify"], [settings])
    _print_summary(rows)
    _print_errors(rows, Path(settings.out) / PROCEDURES["certify"].folder)


@app.command("predict")
@flags_of(PROCEDURES["predict"].settings)
def predict_command(settings: SamplingSettings) -> None:
    """Predict images with the smoothed classifier, or abstain.

    **Example**

    `raysmooth predict --dataset digits --classifier digits_cnn --classifier-weights digits.safetensors --sigma 0.25`
    """
    rows = carry_out(PROCEDURES["predict"], [settings])
    for sigma, run in rows.groupby("sigma"):
        right = f"{percent(run['correct'].eq(True).mean(), len(run))} % right, " if labelled(run) else ""
        abstained = percent(run["abstain"].mean(), len(run), up=True)
        print(
            f"sigma {sigma}: {len(run)} images, {right}{abstained} % abstained (n={settings.n}, alpha={settings.alpha})"
        )
    _print_errors(rows, Path(settings.out) / PROCEDURES["predict"].folder)


@train.command("classifier")
@flags_of(TrainClassifierSettings)
def train_classifier_command(settings: TrainClassifierSettings) -> None:
    """Train a base classifier.

    **Example**

    `raysmooth train classifier --dataset digits --classifier digits_cnn --out digits.safetensors`
    """
    training.train_classifier(settings)


@train.command("denoiser")
@flags_of(TrainDenoiserSettings)
def train_denoiser_command(settings: TrainDenoiserSettings) -> None:
    """Train a denoiser to stand in front of a classifier that stays as it is.

    **Example**

    `raysmooth train denoiser --dataset digits --denoiser dncnn:depth=5,width=16,channels=1 --objective mse --sigma 0.25
    --out mse.safetensors`
    """
    training.train_denoiser(settings)


@app.command("sweep")
def sweep_command(
    experiment: Annotated[str, typer.Argument(help="YAML file of the sweep.")],
    out: Annotated[str | None, typer.Option(help="Folder of the results, instead of the file's.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, or 'local'.")] = None,
    hours: Annotated[float | None, typer.Option(help="Stop all trials after so long.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what Ray and Ray Tune print.")] = False,
) -> None:
    """Train many: over optimizers, learning rates, objectives, architectures or surrogates, by Ray Tune.

    The winner is chosen by certificates of a few held-out training images, and certified on the test images. What the
    file may say: `raysmooth list sweep`.

    **Example**

    `raysmooth sweep experiments/digits-sweep.yaml`

    The same command again continues where it was stopped.
    """
    given = {"out": out, "address": address, "hours": hours, "verbose": verbose or None}
    settings = checked(SweepSettings, {name: value for name, value in given.items() if value is not None}, experiment)
    result = run_sweep(settings)
    folder = Path(settings.out)
    files = write_sweep_report(result.trials, settings, result.winner, folder, result.certificates)
    notes.print()
    print_trials(result.trials, settings, result.winner)
    if result.certificates is not None:
        _print_summary(named_after_trials(result.certificates, result.trials, settings))
    notes.print(f"trials: {folder / 'trials'}  (pandas.read_parquet); written: {', '.join(map(str, files))}")
    last = result.trials[result.trials["last"]]
    failed = last[last["status"] == "failed"]
    for trial_id, error in failed[["trial_id", "error"]].itertuples(index=False):
        notes.print(f"trial {trial_id} failed: {error}")
    if len(failed):
        notes.print(f"{len(failed)} of {len(last)} trials failed; the same command tries them again")
    if len(failed) == len(last):
        raise typer.Exit(1)


@app.command("report")
def report_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    format_: Annotated[str, typer.Option("--format", help=f"What to print: {', '.join(FORMATS)}.")] = "text",
    radii: Annotated[
        str | None, typer.Option(help="Radii of the table, such as 0,0.25,0.5.", show_default=False)
    ] = None,
    folder: Annotated[
        str | None, typer.Option(help="Where the files go. Default: OUT/report.", show_default=False)
    ] = None,
) -> None:
    """Report certificates: a table, as text, Markdown, LaTeX and CSV, and certification curves as PNG and PDF.

    **Example**

    `raysmooth report results --radii 0,0.25,0.5,0.75,1.0 --format markdown`
    """
    render = FORMATS[format_]
    grid = _radii(radii) if radii is not None else None
    summary = summarize(read_certificates(out), grid)
    files = write_report(out, grid, folder)
    render(summary, Console())
    notes.print(f"written: {', '.join(str(file) for file in files)}")


@app.command("list")
def list_command(
    what: Annotated[str, typer.Argument(help=f"What to list: {', '.join(CATALOGUE)}.")],
) -> None:
    """List what there is to choose from: data sets, classifiers, denoisers, objectives, recipes, augmentations; of
    sweeps the metrics, the schedulers, and the keys of their experiment files.

    **Example**

    `raysmooth list recipes`
    """
    rows = CATALOGUE[what]()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for position, name in enumerate(rows.columns):
        table.add_column(name, overflow="fold", no_wrap=position == 0)  # names are for copying
    for cells in rows.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in cells))
    Console().print(table)


@app.command("demo")
@flags_of(DemoSettings)
def demo_command(settings: DemoSettings) -> None:
    """Denoised smoothing in miniature: train, certify and report on handwritten digits, in a few minutes.

    A denoiser in front of a classifier that was never trained for noise makes it certifiably robust, and one trained
    for that classifier more so: the main claim of Salman et al. 2020, on scikit-learn's bundled images.

    **Example**

    `raysmooth demo`
    """
    began = monotonic()
    rows = run_demo(settings)
    _print_summary(rows)
    files = {file.name: file for file in write_report(settings.out)}
    notes.print(f"certificates: {Path(settings.out) / 'certificates'}  (pandas.read_parquet)")
    notes.print(f"certification curves: {files['curves.png']}")
    notes.print(f"in all {monotonic() - began:.0f} s")


def _print_summary(rows: pd.DataFrame) -> None:
    notes.print()
    FORMATS["text"](summarize(rows), Console())
    print()


def _print_errors(rows: pd.DataFrame, where: Path) -> None:
    """Say how many images failed, and end with code 1 if all did."""
    failed = rows[rows["status"] == "error"]
    if len(failed):
        first = failed.iloc[0]
        notes.print(f"{len(failed)} of {len(rows)} images are error rows; image {first.image_id}: {first.error}")
    notes.print(f"rows: {where}  (pandas.read_parquet)")
    if len(failed) == len(rows):
        raise typer.Exit(1)


def _radii(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise Refusal(f"--radii {text}: write numbers with commas between, such as 0,0.25,0.5") from None


def main() -> None:
    """The `raysmooth` command. Exit codes: 0 done, 1 all images failed, 2 refused or stopped, 130 interrupted."""
    try:
        app()
    except Refusal as refusal:
        print(f"raysmooth: {refusal}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            notes.print("raysmooth: interrupted; what was finished is on disk, the same command goes on from there")
        raise


if __name__ == "__main__":
    main()
