"""An experiment from its file to its report."""

from collections.abc import Callable, Sequence

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.analysis.failures import Failures
from raysmooth.tune.experiments.experiment import run_experiment
from raysmooth.tune.experiments.plan import REPORT, read_plan
from raysmooth.tune.experiments.report import Report, report_experiment
from raysmooth.tune.experiments.request import ExperimentRequest
from raysmooth.tune.experiments.settings import find_experiment
from raysmooth.tune.experiments.smoke.smoke_plan import smoke_plan


def run_and_report(
    request: ExperimentRequest,
    show: bool = True,
    command: str | None = None,
    on_failures: Callable[[Sequence[tuple[str, Failures]]], None] | None = None,
) -> Report | None:
    """Run the stages that are not done, or the stage `request.only`, and report the results; `command` is the one that
    asked for it. Returns None if nothing is certified, or if `only` is not the report. `on_failures` gets the failed
    images, by the names of stage runs, once everything is written. Raises RaysmoothError like `run_experiment`.
    """
    plan = read_plan(find_experiment(request.experiment), request.out, request.data_root)
    if plan.out.exists() and not plan.out.is_dir():
        raise RaysmoothError(f"--out {printable(str(plan.out))}: a file is there: write a folder for the results")
    if request.smoke:
        plan = smoke_plan(plan)
    outcome = run_experiment(plan, request.only, request.address, show, request.trust_code)
    wants_report = request.only is None or any(run.kind == REPORT for run in plan.named(request.only))
    report = report_experiment(plan, outcome.results, command, request.trust_code) if wants_report else None
    if on_failures is not None and outcome.failed:
        on_failures(outcome.failed)
    return report
