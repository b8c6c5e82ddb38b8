"""What is said of runs before they begin: their data, what was assumed, warnings, and what becomes of earlier runs."""

from collections.abc import Iterable, Sequence

from raysmooth.common.warning import warn_caller
from raysmooth.pipeline.data.summary import described
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.runs.base_run import AnyProcedure, BaseRun
from raysmooth.pipeline.runs.noise_mismatch import describe
from raysmooth.pipeline.runs.preflight import preflight
from raysmooth.pipeline.runs.prepare import RunData
from raysmooth.pipeline.runs.settings import NoisySettings
from raysmooth.pipeline.store.earlier_runs import PlannedRun, announcements


def warn(progress: Progress, lines: Iterable[str | None]) -> None:
    """Say each line once: in the progress or, where that is not shown, as a Python warning."""
    for line in dict.fromkeys(line for line in lines if line is not None):
        if progress.shown:
            progress.note(f"raysmooth: warning: {line}")
        else:
            warn_caller(line)


def announce(progress: Progress, planned: Sequence[PlannedRun], dry: bool) -> None:
    """Say what becomes of earlier runs. Without a progress to show, only where one may have been expected to be
    resumed: as a warning, like `warn`.
    """
    for said in announcements(planned, dry):
        if progress.shown:
            progress.note(f"raysmooth: {said.line}")
        elif said.is_surprising:
            warn_caller(said.line)


def checked_runs(
    procedure: AnyProcedure,
    all_settings: Sequence[NoisySettings],
    progress: Progress,
    dry: bool = False,
    opened: Sequence[RunData] = (),
    runs: Sequence[BaseRun] | None = None,
) -> list[BaseRun]:
    """The runs of all settings, after all checks that need no Ray, and what is to be said of them. The arguments are
    those of `preflight`.
    """
    runs = preflight(procedure, all_settings, dry, opened, runs)
    introduce(runs, progress)
    return runs


def introduce(runs: Sequence[BaseRun], progress: Progress) -> None:
    """Say what is to be said of the runs themselves: their data, what was assumed, what may be wrong."""
    for line in dict.fromkeys(described(run.data) for run in runs):
        progress.note(f"raysmooth: {line}")
    for line in dict.fromkeys(run.assumed for run in runs if run.assumed is not None):
        progress.note(f"raysmooth: {line}")
    notes = dict.fromkeys(note for run in runs for note in run.notes)
    warn(progress, [*notes, *describe(run.mismatch for run in runs), *(run.unsteady for run in runs)])
