"""optimize-sigma: find a noise level for each image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from raysmooth.commands.app import app, notes, say_loading
from raysmooth.commands.certify import refuse_at_once
from raysmooth.commands.durations import duration
from raysmooth.commands.flags import settings_command
from raysmooth.commands.outcome import print_errors
from raysmooth.commands.usage import COMMON
from raysmooth.common.errors import counted, printable

if TYPE_CHECKING:
    from raysmooth.pipeline.drawing.found_levels import FoundLevels
    from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings


@settings_command(
    app, "optimize-sigma", "raysmooth.pipeline.runs.search_settings:OptimizeSigmaSettings", panel="Certify"
)
def optimize_sigma_command(
    settings: "OptimizeSigmaSettings",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Estimate time and disk space in a few seconds; write nothing.",
            rich_help_panel=COMMON,
        ),
    ] = False,
) -> None:
    """Find a noise level for each image, to certify it at (data-dependent smoothing): certify --sigmas RUN.

    Each row certifies the classifier smoothed with that image's own sigma, a fixed number; it is no statement about a
    classifier that finds sigma again for every input.

    **Example**

    `raysmooth optimize-sigma --dataset digits --classifier digits_cnn --classifier-weights digits.safetensors --sigma
    0.25 --search grid`

    Rerun the same command to resume. If at least half of the images of a run failed, the exit code is 1.
    """
    refuse_at_once(settings)
    if dry_run:
        say_loading("torch", "reading data and weights")
        from raysmooth.commands.estimate_table import print_estimates
        from raysmooth.pipeline.dry_run.dry_run import estimate
        from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA

        print_estimates(estimate(OPTIMIZE_SIGMA, settings), settings.replicas, notes)
        return
    from raysmooth.pipeline.store.manifest import has_local_runs, refuse_file

    refuse_file(settings.out)
    if has_local_runs(settings.out):
        notes.print(f"raysmooth: comparing with the runs in {printable(settings.out)} ...")
    from raysmooth.pipeline.drawing.run_search import run_search

    ids = run_search(settings, before_torch=lambda: say_loading("torch", "reading data and weights"))
    from raysmooth.pipeline.drawing.finished_runs import stored_rows
    from raysmooth.pipeline.drawing.found_levels import found_levels, last_rows
    from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA

    rows = stored_rows(OPTIMIZE_SIGMA, [settings], [ids])
    notes.print()
    _print_levels(found_levels(rows))
    notes.print(f"certify at these levels: raysmooth certify, with the same flags and --sigmas {','.join(ids)}")
    print_errors(last_rows(rows), settings.out, OPTIMIZE_SIGMA.folder)


def _print_levels(found: "Sequence[FoundLevels]") -> None:
    """Two lines or three for each search."""
    for one in found:
        steps = f" after {counted(one.step, 'step')}" if one.step else ""
        failed = f", {one.failed:,} failed" if one.failed else ""
        done = f"levels of {counted(one.images, 'image')}{steps}{failed}, {duration(one.seconds)} of computing"
        print(f"sigma {one.sigma:.6}: {done}, run {one.run_id}")
        if not one.images:
            continue
        least, low, median, high, most = (f"{level:.4g}" for level in one.quartiles)
        print(f"  from {least} to {most}, quartiles {low}, {median}, {high}")
        if one.bounds is not None:
            at_least, at_most = one.at_bounds
            print(f"  at the least, {one.bounds[0]:.4g}: {at_least:,}; at the most, {one.bounds[1]:.4g}: {at_most:,}")
        if one.abstained is not None:
            print(f"  abstained: {one.abstained:,}")
