"""train and sweep: run one training, or many."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raysmooth.commands.app import app, notes, say_loading, train
from raysmooth.commands.flags import TRUST_CODE, renamed, settings_command, to_number
from raysmooth.commands.outcome import print_failures, print_summary
from raysmooth.commands.usage import CommandWithExamples
from raysmooth.common.spelling import keys_of

if TYPE_CHECKING:
    from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings, TrainRejectorSettings


@settings_command(train, "classifier", "raysmooth.tune.recipes.settings:TrainClassifierSettings")
def train_classifier_command(settings: "TrainClassifierSettings") -> None:
    """Train a base classifier.

    **Example**

    `raysmooth train classifier --dataset digits --classifier digits_cnn --out digits.safetensors`
    """
    _begin(settings)
    from raysmooth.tune.training import train as training

    training.train_classifier(settings)


@settings_command(train, "denoiser", "raysmooth.tune.recipes.settings:TrainDenoiserSettings")
def train_denoiser_command(settings: "TrainDenoiserSettings") -> None:
    """Train a denoiser to put in front of a classifier, which stays unchanged.

    **Example**

    `raysmooth train denoiser --dataset digits --denoiser dncnn:depth=5,width=16 --objective mse --sigma 0.25
    --out mse.safetensors`
    """
    _begin(settings)
    from raysmooth.tune.training import train as training

    training.train_denoiser(settings)


@settings_command(train, "rejector", "raysmooth.tune.recipes.settings:TrainRejectorSettings")
def train_rejector_command(settings: "TrainRejectorSettings") -> None:
    """Train a rejector: it says which noisy images a classifier should not answer. Classifier and denoiser stay
    unchanged.

    **Example**

    `raysmooth train rejector --dataset digits --classifier digits_cnn --classifier-weights digits.safetensors
    --denoiser dncnn --denoiser-weights mse.safetensors --sigma 0.25 --rejector network:width=16,depth=10
    --out rejector.safetensors`
    """
    _begin(settings)
    from raysmooth.tune.training import train as training

    training.train_rejector(settings)


@app.command("sweep", cls=CommandWithExamples, rich_help_panel="Train")
def sweep_command(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="YAML file of the sweep.")],
    out: Annotated[str | None, typer.Option(help="Folder for the results. Overrides the file.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join, or 'local'. Overrides the file.")] = None,
    time_budget_hours: Annotated[
        float | None, typer.Option(parser=to_number, help="Hours after which all trials stop.")
    ] = None,
    hours: Annotated[str | None, renamed("--hours", "--time-budget-hours")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the output of Ray and Ray Tune.")] = False,
    trust_code: Annotated[bool, TRUST_CODE] = False,
) -> None:
    """Run many trainings with Ray Tune: over optimizers, learning rates, objectives, architectures or surrogates.

    The winner is chosen by certifying a few held-out training images, then certified on the test images. For the keys
    of the file: `raysmooth list sweep`.

    **Example**

    `raysmooth sweep experiments/digits-sweep.yaml`

    Rerun the same command to resume, even after the process was killed. If all trials failed, or at least half of the
    images of a certified one, the exit code is 1.
    """
    from raysmooth.common.settings import user_settings
    from raysmooth.tune.sweeps.settings import SweepSettings

    given = {"out": out, "address": address, "time_budget_hours": time_budget_hours, "verbose": verbose or None}
    given |= {"trust_code": trust_code or None}
    given = {name: value for name, value in given.items() if value is not None}
    settings = user_settings(SweepSettings, given, sweep)
    say_loading("torch", "checking all trials")
    from raysmooth.pipeline.analysis.failures import failures
    from raysmooth.tune.sweeps.report import named_after_trials, print_trials, write_sweep_report
    from raysmooth.tune.sweeps.sweep import run_sweep

    with keys_of(sweep, given):
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
        notes.print(f"{len(failed)} of {len(last)} trials failed; rerun the same command to retry them")
    if len(failed) == len(last):
        raise typer.Exit(1)
    if result.certificates is not None:
        print_failures(failures(result.certificates))


def _begin(settings: "TrainClassifierSettings | TrainDenoiserSettings | TrainRejectorSettings") -> None:
    """What can be refused in a moment, and the first line."""
    from raysmooth.pipeline.data.datasets import refuse_missing

    refuse_missing(settings.dataset, settings.data_root)
    say_loading("torch", "reading the data")
