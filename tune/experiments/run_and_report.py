"""An experiment from its file to its report."""

from pathlib import Path

from raysmooth.tune.experiments.experiment import run_experiment
from raysmooth.tune.experiments.plan import read_plan
from raysmooth.tune.experiments.report import Report, report_experiment
from raysmooth.tune.experiments.settings import located
from raysmooth.tune.experiments.smoke import smaller


def run_and_report(
    experiment: str | Path,
    only: str | None = None,
    smoke: bool = False,
    out: str | None = None,
    data_root: str | None = None,
    address: str | None = None,
    show: bool = True,
) -> Report | None:
    """Do what is left of `experiment` (a YAML file, or the name of one that comes along), or of its stage `only`, and
    report it. None where nothing is certified, or only another stage was asked for. Raises RaysmoothError like
    `run_experiment`.
    """
    plan = read_plan(located(str(experiment)), out, data_root)
    if smoke:
        plan = smaller(plan)
    outcome = run_experiment(plan, only, address, show)
    reports = only is None or any(job.kind == "report" for job in plan.named(only))
    return report_experiment(plan, outcome.results) if reports else None
