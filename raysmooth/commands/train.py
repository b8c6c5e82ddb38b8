"""train and sweep: one training, or many."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raysmooth.commands.app import app, notes, train
from raysmooth.commands.flags import settings_command
from raysmooth.commands.outcome import print_summary
from raysmooth.common.errors import RaysmoothError

if TYPE_CHECKING:
    from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings


@settings_command(train, "classifier", "raysmooth.tune.recipes.settings:TrainClassifierSettings")
def train_classifier_command(settings: "TrainClassifierSettings") -> None:
    """Train a base classifier.

    **Example**

    `raysmooth train classifier --dataset digits --classifier digits_cnn --out digits.safetensors`
    """
    from raysmooth.tune.training import train as training

    training.train_classifier(settings)


@settings_command(train, "denoiser", "raysmooth.tune.recipes.settings:TrainDenoiserSettings")
def train_denoiser_command(settings: "TrainDenoiserSettings") -> None:
    """Train a denoiser to stand in front of a classifier that stays as it is.

    **Example**

    `raysmooth train denoiser --dataset digits --denoiser dncnn:depth=5,width=16,channels=1 --objective mse --sigma 0.25
    --out mse.safetensors`
    """
    from raysmooth.tune.training import train as training

    training.train_denoiser(settings)


@app.command("sweep", rich_help_panel="Train")
def sweep_command(
    experiment: Annotated[str, typer.Argument(help="YAML file of the sweep.")],
    out: Annotated[str | None, typer.Option(help="Folder of the results, instead of the file's.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, or 'local'.")] = None,
    time_budget_hours: Annotated[float | None, typer.Option(help="Stop all trials after this time.")] = None,
    hours: Annotated[float | None, typer.Option(hidden=True)] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what Ray and Ray Tune print.")] = False,
) -> None:
    """Train many: over optimizers, learning rates, objectives, architectures or surrogates, by Ray Tune.

    The winner is chosen by certificates of a few held-out training images, and certified on the test images. What the
    file may say: `raysmooth list sweep`.

    **Example**

    `raysmooth sweep experiments/digits-sweep.yaml`

    The same command again continues where it was stopped.
    """
    from raysmooth.common.settings import checked
    from raysmooth.tune.sweeps.report import named_after_trials, print_trials, write_sweep_report
    from raysmooth.tune.sweeps.settings import SweepSettings
    from raysmooth.tune.sweeps.sweep import run_sweep

    if hours is not None:
        raise RaysmoothError("unknown option --hours: it is now called --time-budget-hours")
    given = {"out": out, "address": address, "time_budget_hours": time_budget_hours, "verbose": verbose or None}
    settings = checked(SweepSettings, {name: value for name, value in given.items() if value is not None}, experiment)
    result = run_sweep(settings)
    folder = Path(settings.out)
    files = write_sweep_report(result.trials, settings, result.winner, folder, result.certificates)
    notes.print()
    print_trials(result.trials, settings, result.winner)
    if result.certificates is not None:
        print_summary(named_after_trials(result.certificates, result.trials, settings))
    notes.print(f"trials: {folder / 'trials'}  (pandas.read_parquet); written: {', '.join(map(str, files))}")
    last = result.trials[result.trials["last"]]
    failed = last[last["status"] == "failed"]
    for trial_id, error in failed[["trial_id", "error"]].itertuples(index=False):
        notes.print(f"trial {trial_id} failed: {error}")
    if len(failed):
        notes.print(f"{len(failed)} of {len(last)} trials failed; the same command tries them again")
    if len(failed) == len(last):
        raise typer.Exit(1)
