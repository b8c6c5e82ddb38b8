"""raysmooth: provable robustness for image classifiers, at cluster scale. The front door: commands, and Python."""

import atexit
import gc
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.refusal import Refusal
from pipeline.flags import settings_command

# Commands and functions import what they need when they are called. torch alone takes seconds, and `report` and
# `--help` need none of it.
if TYPE_CHECKING:
    import pandas as pd

    from pipeline.gallery_settings import GallerySettings
    from pipeline.log_import import ImportSettings
    from pipeline.recertify import recertify
    from pipeline.report import read_certificates, summarize
    from pipeline.settings import SamplingSettings
    from tune.experiment_report import Report
    from tune.settings import TrainClassifierSettings, TrainDenoiserSettings
    from tune.sweep import SweepResult

__all__ = [
    "Refusal",
    "certify",
    "estimate",
    "gallery",
    "import_logs",
    "main",
    "predict",
    "read_certificates",
    "recertify",
    "show",
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

LISTS = (
    "datasets", "classifiers", "denoisers", "objectives", "recipes", "augmentations", "metrics", "schedulers", "sweep",
    "experiments", "stages",
)  # fmt: skip
"""What `list` knows: the names of the catalogue."""

TABLES = ("runs", "envelope", "sigma", "radii", "pa", "classes", "cost")
FORMATS = ("text", "markdown", "latex", "csv")
"""What `report` can show, and how: the names of the tables of the same name."""

train = typer.Typer(help="Train a classifier, or a denoiser for one.", no_args_is_help=True)
app.add_typer(train, name="train")


def certify(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Certify images with CERTIFY of Cohen et al. 2019, the classifier behind a denoiser if one is named.

    Keyword arguments are those of `CertifySettings`, the flags of `raysmooth certify`; `config` is a YAML file of the
    same. Returns one row an image: the rows that stand in `<out>/certificates`. Raises Refusal, in one line, for
    settings that cannot work.

    >>> rows = certify(dataset="digits", classifier="digits_cnn", classifier_weights="digits.safetensors", sigma=0.25)
    """
    return _carry_out("certify", config, settings, progress)


def estimate(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """What `certify` would cost with the same arguments, after a few seconds of trying; nothing is written. One row a
    sigma: `images` still to be done, `draws` expected and `most_draws`, `seconds` of drawing on `replicas` (those that
    are here), `busy_seconds` of one replica, `disk_bytes`.
    """
    import pandas as pd

    from pipeline.driver import estimate as estimate_job
    from pipeline.procedures import PROCEDURES
    from pipeline.settings import checked

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


def predict(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Predict images with the smoothed classifier, PREDICT of Cohen et al. 2019; otherwise like `certify`, with the
    settings of `PredictSettings` and rows in `<out>/predictions`.
    """
    return _carry_out("predict", config, settings, progress)


def import_logs(logs: Sequence[str | Path], config: str | Path | None = None, **settings: Any) -> "pd.DataFrame":
    """Certification logs of other tools as runs in `<out>`, one a log; keyword arguments are those of `ImportSettings`,
    the flags of `raysmooth import`. Returns their rows. Raises Refusal, and writes nothing, for what is no such log.
    """
    import pandas as pd

    from pipeline.log_import import ImportSettings
    from pipeline.log_import import import_logs as import_job
    from pipeline.parts import read_rows
    from pipeline.settings import checked

    given = checked(ImportSettings, settings, config)
    runs = dict.fromkeys(log.run_id for log in import_job(logs, given))
    return pd.concat([read_rows(given.out, "certificates", run_id) for run_id in runs], ignore_index=True)


def train_classifier(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a classifier and return the path of its weights; keyword arguments are those of `TrainClassifierSettings`,
    the flags of `raysmooth train classifier`. Otherwise like `certify`; the same call again goes on or finds it done.
    """
    from pipeline.settings import checked
    from tune import train as training
    from tune.settings import TrainClassifierSettings

    return training.train_classifier(checked(TrainClassifierSettings, settings, config), progress)


def train_denoiser(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a denoiser, otherwise like `train_classifier`, with the settings of `TrainDenoiserSettings`."""
    from pipeline.settings import checked
    from tune import train as training
    from tune.settings import TrainDenoiserSettings

    return training.train_denoiser(checked(TrainDenoiserSettings, settings, config), progress)


def sweep(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "SweepResult":
    """Run a sweep of trainings; keyword arguments are those of `SweepSettings`, the keys of an experiment file.
    Otherwise like `certify`: `.trials` has a row for each epoch of each trial, `.winner` tells of the best one.
    """
    from pipeline.settings import checked
    from tune.sweep import run_sweep
    from tune.sweep_settings import SweepSettings

    return run_sweep(checked(SweepSettings, settings, config), progress)


def run(
    experiment: str | Path,
    *,
    only: str | None = None,
    smoke: bool = False,
    out: str | None = None,
    data_root: str | None = None,
    address: str | None = None,
    progress: bool = True,
) -> "Report | None":
    """Run an experiment, or what is left of it: the YAML file, or the name of one that comes along. The arguments are
    the flags of `raysmooth run`. Returns its report, where it certifies anything and `only` is none but a report.
    """
    from tune.experiment import run_experiment
    from tune.experiment_plan import read_plan
    from tune.experiment_report import report_experiment
    from tune.experiment_settings import located
    from tune.smoke import smaller

    plan = read_plan(located(str(experiment)), out, data_root)
    if smoke:
        plan = smaller(plan)
    outcome = run_experiment(plan, only, address, progress)
    reports = only is None or any(job.kind == "report" for job in plan.named(only))
    return report_experiment(plan, outcome.results) if reports else None


def show(out: str, image_id: int, **settings: Any) -> Path:
    """Draw one image as the runs in `out` certified it, and return the figure's file; keyword arguments are the other
    fields of `ShowSettings`, the flags of `raysmooth show`.
    """
    from pipeline.settings import checked
    from pipeline.show import ShowSettings
    from pipeline.show import show as show_job

    return show_job(checked(ShowSettings, {"out": out, "image_id": image_id, **settings}))[0]


def gallery(config: str | Path | None = None, **settings: Any) -> Path:
    """Draw images clean, noisy and denoised, and return the figure's file; keyword arguments are those of
    `GallerySettings`, the flags of `raysmooth gallery`. Otherwise like `certify`.
    """
    from pipeline.gallery import gallery as gallery_job
    from pipeline.gallery_settings import GallerySettings
    from pipeline.settings import checked

    return gallery_job(checked(GallerySettings, settings, config))


def _carry_out(name: str, config: Any, settings: dict[str, Any], progress: bool) -> "pd.DataFrame":
    from pipeline.driver import carry_out
    from pipeline.procedures import PROCEDURES
    from pipeline.settings import checked

    procedure = PROCEDURES[name]
    return carry_out(procedure, [checked(procedure.settings, settings, config)], progress)


@settings_command(app, "certify", "pipeline.settings:CertifySettings")
def certify_command(
    settings: "SamplingSettings",
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
    from pipeline.driver import carry_out
    from pipeline.driver import estimate as estimate_job
    from pipeline.estimate_table import print_estimates
    from pipeline.procedures import PROCEDURES

    if dry_run:
        print_estimates(estimate_job(PROCEDURES["certify"], settings), settings.replicas, notes)
        return
    rows = carry_out(PROCEDURES["certify"], [settings])
    _print_summary(rows)
    _print_errors(rows, Path(settings.out) / PROCEDURES["certify"].folder)


@settings_command(app, "predict", "pipeline.settings:PredictSettings")
def predict_command(settings: "SamplingSettings") -> None:
    """Predict images with the smoothed classifier, or abstain.

    **Example**

    `raysmooth predict --dataset digits --classifier digits_cnn --classifier-weights digits.safetensors --sigma 0.25`
    """
    from pipeline.driver import carry_out
    from pipeline.metrics import labelled, percent
    from pipeline.procedures import PROCEDURES

    rows = carry_out(PROCEDURES["predict"], [settings])
    for sigma, run in rows.groupby("sigma"):
        right = f"{percent(run['correct'].eq(True).mean(), len(run))} % right, " if labelled(run) else ""
        abstained = percent(run["abstain"].mean(), len(run), up=True)
        statement = f"(n={settings.n}, alpha={settings.alpha})"
        print(f"sigma {sigma:.6}: {len(run)} images, {right}{abstained} % abstained {statement}")
    _print_errors(rows, Path(settings.out) / PROCEDURES["predict"].folder)


@settings_command(train, "classifier", "tune.settings:TrainClassifierSettings")
def train_classifier_command(settings: "TrainClassifierSettings") -> None:
    """Train a base classifier.

    **Example**

    `raysmooth train classifier --dataset digits --classifier digits_cnn --out digits.safetensors`
    """
    from tune import train as training

    training.train_classifier(settings)


@settings_command(train, "denoiser", "tune.settings:TrainDenoiserSettings")
def train_denoiser_command(settings: "TrainDenoiserSettings") -> None:
    """Train a denoiser to stand in front of a classifier that stays as it is.

    **Example**

    `raysmooth train denoiser --dataset digits --denoiser dncnn:depth=5,width=16,channels=1 --objective mse --sigma 0.25
    --out mse.safetensors`
    """
    from tune import train as training

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
    from pipeline.settings import checked
    from tune.sweep import run_sweep
    from tune.sweep_report import named_after_trials, print_trials, write_sweep_report
    from tune.sweep_settings import SweepSettings

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


@app.command("recertify")
def recertify_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    run: Annotated[
        str | None,
        typer.Option(help="Runs, as their ids begin, with commas between. Default: all drawn.", show_default=False),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Probability with which an image's statement may be wrong.", show_default=False)
    ] = None,
    n: Annotated[
        int | None, typer.Option(help="Take the first so many estimation draws, whole blocks.", show_default=False)
    ] = None,
    noise_bound: Annotated[
        str | None,
        typer.Option(
            help="What bounds the other classes: complement (1 - pA) or runner-up (that of the largest other count).",
            show_default=False,
        ),
    ] = None,
    familywise: Annotated[
        float | None,
        typer.Option(
            metavar="DELTA",
            help="Every image at alpha = DELTA / images: all of a run hold at once with probability 1 - DELTA.",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="Norm of the radius: linf of runs with Gaussian noise.", show_default=False)
    ] = None,
) -> None:
    """Certify anew from stored counts, without drawing: the rows become runs of their own, beside those drawn.

    **Examples**

    `raysmooth recertify results --n 1000`

    `raysmooth recertify results --run 0f3a --familywise 0.05 --noise-bound runner-up`
    """
    from pipeline.procedures import PROCEDURES
    from pipeline.recertify import recertify

    rows = recertify(out, run, alpha=alpha, n=n, noise_bound=noise_bound, familywise=familywise, norm=norm)
    _print_summary(rows)
    for source, run_id in rows[["source", "run_id"]].drop_duplicates().itertuples(index=False):
        notes.print(f"{source}: run {run_id}")
    _print_errors(rows, Path(out) / PROCEDURES["certify"].folder)


@app.command("report")
def report_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    table: Annotated[
        list[str] | None, typer.Option(help=f"What to show and write: {', '.join(TABLES)}, or all. Default: runs.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only runs of which this is so: COLUMN=VALUE, such as sigma=0.5.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Columns that make the lines of the envelope, such as denoiser,objective.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Two runs to compare image by image: RUN,RUN (run ids may be cut short).")
    ] = None,
    radius: Annotated[float | None, typer.Option(help="Radius at which they are compared.")] = None,
    radii: Annotated[
        str | None, typer.Option(help="Radii of the tables, such as 0,0.25,0.5.", show_default=False)
    ] = None,
    format_: Annotated[str, typer.Option("--format", help=f"What to print: {', '.join(FORMATS)}.")] = "text",
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Print the 95 % intervals of certified accuracies in any format.")
    ] = False,
    price_per_hour: Annotated[float | None, typer.Option(help="What an hour of a replica costs.")] = None,
    folder: Annotated[
        str | None, typer.Option(help="Where the files go. Default: OUT/report.", show_default=False)
    ] = None,
) -> None:
    """Report certificates: tables as text, Markdown, LaTeX and CSV, figures as PNG and PDF, and all of it as one HTML
    page, report.html, which needs no other file.

    **Examples**

    `raysmooth report results --radii 0,0.25,0.5,0.75,1.0 --format markdown`

    `raysmooth report results --table envelope --where dataset=cifar10 --group-by denoiser,objective`

    `raysmooth report results --compare 3f2a,b71c --radius 0.5`
    """
    grid = _numbers(radii) if radii is not None else None
    groups = [name.strip() for name in group_by.split(",")] if group_by is not None else None
    with _in_haste(), ThreadPoolExecutor(1) as reader:
        from pipeline.reading import read_certificates

        rows = reader.submit(read_certificates, out)
        from pipeline.report import print_report  # while these are read

        files = print_report(
            rows.result,
            out,
            Console(),
            notes,
            tables=table or (),
            format=format_,
            intervals=intervals,
            folder=folder,
            where=where or (),
            compare=compare,
            radius=radius,
            radii=grid,
            group_by=groups,
            price_per_hour=price_per_hour,
        )
    notes.print(f"written: {', '.join(str(file) for file in files)}")


@app.command("show")
def show_command(
    out: Annotated[str, typer.Argument(help="Folder of results (--out of certify).")],
    image_id: Annotated[int, typer.Argument(help="The image, by its number in the data set.")],
    run: Annotated[
        str | None, typer.Option(help="Only this run: its id, or how that begins. Default: all that have the image.")
    ] = None,
    copies: Annotated[int | None, typer.Option(help="Noisy copies, 1 to 6. Default: 3.", show_default=False)] = None,
    data_root: Annotated[str | None, typer.Option(help="Where the data set is now, if it has moved.")] = None,
    classifier_weights: Annotated[str | None, typer.Option(help="Where the classifier's weights are now.")] = None,
    denoiser_weights: Annotated[str | None, typer.Option(help="Where the denoiser's weights are now.")] = None,
    to: Annotated[
        str | None, typer.Option(help="File of the figure, .png or .pdf. Default: OUT/report/image-ID.png.")
    ] = None,
) -> None:
    """Show one image as it was certified: noisy and denoised copies that the run drew, its counts, its certificate.

    **Example**

    `raysmooth show results 20`
    """
    from pipeline.settings import checked
    from pipeline.show import ShowSettings
    from pipeline.show import show as show_job

    given = {"out": out, "image_id": image_id, "run": run, "copies": copies, "data_root": data_root, "to": to}
    given |= {"classifier_weights": classifier_weights, "denoiser_weights": denoiser_weights}
    settings = checked(ShowSettings, {name: value for name, value in given.items() if value is not None})
    file, lines = show_job(settings)
    for line in lines:
        print(line)
    notes.print(f"written: {file}")


@settings_command(app, "gallery", "pipeline.gallery_settings:GallerySettings")
def gallery_command(settings: "GallerySettings") -> None:
    """Draw images clean, noisy and denoised by one denoiser or several, beside each other.

    **Example**

    `raysmooth gallery --dataset cifar10 --data-root data --images 0,20,40 --sigma 0.25,0.5 --denoiser-weights
    "mse-{sigma}.safetensors,stab-{sigma}.safetensors"`
    """
    from pipeline.gallery import gallery as gallery_job

    notes.print(f"written: {gallery_job(settings)}")


@settings_command(app, "import", "pipeline.log_import:ImportSettings")
def import_command(
    settings: "ImportSettings",
    logs: Annotated[
        list[str], typer.Argument(metavar="LOG", help="Logs, tab-separated: idx label predict radius correct time.")
    ],
) -> None:
    """Import certification logs of other tools, each as a run of its own.

    **Example**

    `raysmooth import sigma_*.tsv --dataset cifar10 --split test --skip 20 --classifier cifar_resnet110 --denoiser none`

    What the logs do not say, and no flag says, is unknown. The same log again is the same run, and left as it is.
    """
    from pipeline.log_import import import_logs as import_job
    from pipeline.reading import read_certificates

    imported = import_job(logs, settings)
    shared = [note for note in imported[0].notes if len(imported) > 1 and all(note in log.notes for log in imported)]
    for log in imported:
        what = f"{log.rows} rows, now run {log.run_id}" if log.new else f"nothing to do, it is run {log.run_id} already"
        notes.print(f"{log.path}: {'; '.join([what, *(note for note in log.notes if note not in shared)])}")
    for note in shared:
        notes.print(f"all: {note}")
    rows = read_certificates(settings.out)
    _print_summary(rows[rows["run_id"].isin([log.run_id for log in imported])])


@app.command("list")
def list_command(
    what: Annotated[str, typer.Argument(help=f"What to list: {', '.join(LISTS)}.")],
) -> None:
    """List what there is to choose from: data sets, classifiers, denoisers, objectives, recipes, augmentations; of
    sweeps the metrics, the schedulers, and the keys of their files; experiments, and what their stages may be.

    **Example**

    `raysmooth list recipes`
    """
    from tune.catalogue import CATALOGUE

    rows = CATALOGUE[what]()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for position, name in enumerate(rows.columns):
        table.add_column(name, overflow="fold", no_wrap=position == 0)  # names are for copying
    for cells in rows.itertuples(index=False):
        table.add_row(*(Text(str(cell)) for cell in cells))
    Console().print(table)


@app.command("run")
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
    _run(experiment, only, smoke, out, data_root, address)


@app.command("demo")
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
    _run("digits", None, smoke, out, None, address)


def _run(
    experiment: str, only: str | None, smoke: bool, out: str | None, data_root: str | None, address: str | None
) -> None:
    from tune.experiment_report import print_report

    began = monotonic()
    report = run(experiment, only=only, smoke=smoke, out=out, data_root=data_root, address=address)
    if report is not None:
        notes.print()
        print_report(report)
        notes.print(f"certificates: {report.plan.out / 'certificates'}  (pandas.read_parquet)")
        notes.print(f"written: {', '.join(map(str, report.files))}")
    notes.print(f"in all {monotonic() - began:.0f} s")


def _print_summary(rows: "pd.DataFrame") -> None:
    from pipeline.formats import FORMATS
    from pipeline.summary import summarize
    from pipeline.tables import runs_table

    notes.print()
    FORMATS["text"].show(runs_table(summarize(rows)), Console())
    print()


def _print_errors(rows: "pd.DataFrame", where: Path) -> None:
    """Say how many images failed, and end with code 1 if all did."""
    failed = rows[rows["status"] == "error"]
    if len(failed):
        first = failed.iloc[0]
        notes.print(f"{len(failed)} of {len(rows)} images are error rows; image {first.image_id}: {first.error}")
    notes.print(f"rows: {where}  (pandas.read_parquet)")
    if len(failed) == len(rows):
        raise typer.Exit(1)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise Refusal(f"--radii {text}: write numbers with commas between, such as 0,0.25,0.5") from None


def __getattr__(name: str) -> Any:
    """`read_certificates`, `summarize` and `recertify`, which come with pandas."""
    if name == "recertify":
        from pipeline.recertify import recertify

        return recertify
    if name in ("read_certificates", "summarize"):
        from pipeline import report

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@contextmanager
def _in_haste() -> Iterator[None]:
    """Without looking for garbage, which takes a fifth of what lasts a few seconds, the end of the process included."""
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


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
