"""certify and predict: sample on replicas, write rows to Parquet."""

from typing import TYPE_CHECKING, Annotated

import typer

from raysmooth.commands.app import app, notes, say_loading
from raysmooth.commands.flags import settings_command
from raysmooth.commands.outcome import print_errors, print_summary
from raysmooth.commands.usage import COMMON
from raysmooth.common.errors import printable

if TYPE_CHECKING:
    import pandas as pd

    from raysmooth.pipeline.runs.prepare import RunData
    from raysmooth.pipeline.runs.settings import NoisySettings, SamplingSettings


@settings_command(app, "certify", "raysmooth.pipeline.runs.settings:CertifySettings", panel="Certify")
def certify_command(
    settings: "SamplingSettings",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Estimate draws, time, disk space, or an API's cost, in seconds; write nothing.",
            rich_help_panel=COMMON,
        ),
    ] = False,
) -> None:
    """Certify images: the radius within which no perturbation changes the smoothed classifier's prediction.

    **Examples**

    `raysmooth certify --dataset digits --classifier digits_cnn --classifier-weights digits.safetensors --sigma 0.25`

    `raysmooth certify --dataset cifar10 --data-root data --skip 20 --classifier cifar_resnet110 --classifier-weights
    resnet110.pth.tar --denoiser dncnn --denoiser-weights "mse-{sigma}.pth" --sigma 0.25,0.5`

    Rerun the same command to resume, even after the process was killed. If at least half of the images of a run failed,
    the exit code is 1.
    """
    from raysmooth.actors.apis.apis import is_api

    if dry_run:
        refuse_at_once(settings)
        if is_api(settings.classifier):
            _plan_queries(settings)
            return
        say_loading("torch", "reading data and weights")
        from raysmooth.commands.estimate_table import print_estimates
        from raysmooth.pipeline.dry_run.searched_run import estimate_with_search
        from raysmooth.pipeline.runs.procedures import PROCEDURES

        estimates, searches = estimate_with_search(PROCEDURES["certify"], settings)
        print_estimates(estimates, settings.replicas, notes, searches)
        return
    rows, folder = _rows("certify", settings)
    print_summary(rows)
    print_errors(rows, settings.out, folder)


@settings_command(app, "predict", "raysmooth.pipeline.runs.settings:PredictSettings", panel="Certify")
def predict_command(settings: "SamplingSettings") -> None:
    """Predict the class of each image with the smoothed classifier, or abstain.

    **Example**

    `raysmooth predict --dataset digits --classifier digits_cnn --classifier-weights digits.safetensors --sigma 0.25`

    If at least half of the images of a run failed, the exit code is 1.
    """
    rows, folder = _rows("predict", settings)
    from raysmooth.pipeline.analysis.metrics import labelled, refers
    from raysmooth.pipeline.report.rounding import percent

    for sigma, run in rows.groupby("sigma"):
        judged = "as the API answers without noise" if refers(run) else "right"
        right = f"{percent(run['correct'].eq(True).mean(), len(run))} % {judged}, " if labelled(run) else ""
        abstained = percent(run["abstain"].mean(), len(run), up=True)
        statement = f"(n={settings.n}, alpha={settings.alpha})"
        own = ", each image at its own" if run["sigma_rule"].notna().any() else ""
        print(f"sigma {sigma:.6}{own}: {len(run)} images, {right}{abstained} % abstained {statement}")
    print_errors(rows, settings.out, folder)


def _plan_queries(settings: "SamplingSettings") -> None:
    """Say what an API will be asked and paid; raises RaysmoothError where the budget does not cover it."""
    say_loading("pandas", "reading data and the query log")
    from raysmooth.commands.query_table import print_queries
    from raysmooth.pipeline.dry_run.query_estimate import estimate_queries
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    plan = estimate_queries(PROCEDURES["certify"], settings)
    print_queries(plan, notes)
    plan.refuse_over_budget()


def _rows(name: str, settings: "SamplingSettings") -> "tuple[pd.DataFrame, str]":
    """The rows of the procedure `name`, and their folder below <out>. Those of finished runs mostly need no torch."""
    from raysmooth.actors.apis.apis import is_api
    from raysmooth.pipeline.ray_cluster.one_ray import one_ray
    from raysmooth.pipeline.runs.image_level_settings import asks_for_search
    from raysmooth.pipeline.store.manifest import refuse_file

    refuse_at_once(settings)
    refuse_file(settings.out)
    if is_api(settings.classifier):
        say_loading("pandas", "reading data and the query log")
        from raysmooth.pipeline.drawing.query_driver import query_rows
        from raysmooth.pipeline.runs.procedures import PROCEDURES

        return query_rows(PROCEDURES[name], settings), PROCEDURES[name].folder
    if not asks_for_search(settings):
        return _rows_at_known_levels(name, settings)
    from raysmooth.pipeline.drawing.searched_levels import with_found_levels

    with one_ray():
        found = with_found_levels(settings, before_torch=lambda: say_loading("torch", "reading data and weights"))
        return _rows_at_known_levels(name, found)


def _rows_at_known_levels(name: str, settings: "SamplingSettings") -> "tuple[pd.DataFrame, str]":
    from raysmooth.pipeline.store.manifest import has_local_runs

    opened = tuple["RunData", ...]()
    if has_local_runs(settings.out):
        notes.print(f"raysmooth: comparing with the runs in {printable(settings.out)} ...")
        from raysmooth.pipeline.drawing.finished_runs import look_beforehand, stored_rows
        from raysmooth.pipeline.runs.procedures import PROCEDURES

        found = look_beforehand(PROCEDURES[name], [settings])
        if found.ids is not None:
            return stored_rows(PROCEDURES[name], [settings], [found.ids]), PROCEDURES[name].folder
        opened = found.opened
    say_loading("torch", "reading data and weights")
    from raysmooth.pipeline.drawing.driver import run_procedure
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    return run_procedure(PROCEDURES[name], [settings], opened=opened), PROCEDURES[name].folder


def refuse_at_once(settings: "NoisySettings") -> None:
    """What can be refused in a moment."""
    from raysmooth.pipeline.data.datasets import refuse_missing
    from raysmooth.pipeline.runs.network_facts import refuse_networks

    refuse_missing(settings.dataset, settings.data_root)
    refuse_networks(settings)
