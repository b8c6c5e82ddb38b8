"""The Python API of training: one network, a sweep, an experiment."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysmooth.common.spelling import in_keywords

if TYPE_CHECKING:
    from raysmooth.pipeline.analysis.failures import Failures
    from raysmooth.tune.experiments.report import Report
    from raysmooth.tune.sweeps.sweep import SweepResult


@in_keywords
def train_classifier(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a classifier, or resume its training.

    Keyword arguments are the fields of `TrainClassifierSettings`, the flags of `raysmooth train classifier`; `config`
    and `progress` as in `certify`. Returns the path of the weights; a finished training returns at once. Raises
    RaysmoothError for settings that cannot work, and where another training's weights are in the way.
    """
    from raysmooth.common.settings import user_settings
    from raysmooth.tune.recipes.settings import TrainClassifierSettings
    from raysmooth.tune.training import train as training

    return training.train_classifier(user_settings(TrainClassifierSettings, settings, config), progress)


@in_keywords
def train_denoiser(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a denoiser; like `train_classifier`, with the fields of `TrainDenoiserSettings`."""
    from raysmooth.common.settings import user_settings
    from raysmooth.tune.recipes.settings import TrainDenoiserSettings
    from raysmooth.tune.training import train as training

    return training.train_denoiser(user_settings(TrainDenoiserSettings, settings, config), progress)


@in_keywords
def train_rejector(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a rejector; like `train_classifier`, with the fields of `TrainRejectorSettings`."""
    from raysmooth.common.settings import user_settings
    from raysmooth.tune.recipes.settings import TrainRejectorSettings
    from raysmooth.tune.training import train as training

    return training.train_rejector(user_settings(TrainRejectorSettings, settings, config), progress)


@in_keywords
def sweep(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "SweepResult":
    """Run a sweep of trainings, or resume it.

    Keyword arguments are the fields of `SweepSettings`, the keys of a sweep file; `config` and `progress` as in
    `certify`. In the result, `.trials` has one row per epoch of each trial and `.winner` describes the best trial.
    Raises RaysmoothError for settings that cannot work, before any trial starts.
    """
    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.analysis.failures import failures
    from raysmooth.rows import warn_of_failures
    from raysmooth.tune.sweeps.settings import SweepSettings
    from raysmooth.tune.sweeps.sweep import run_sweep

    result = run_sweep(user_settings(SweepSettings, settings, config), progress)
    if result.certificates is not None:
        warn_of_failures(failures(result.certificates))
    return result


@in_keywords
def run(
    experiment: str | Path,
    *,
    only: str | None = None,
    smoke: bool = False,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    address: str | None = None,
    trust_code: bool = False,
    progress: bool = True,
) -> "Report | None":
    """Run an experiment, or resume it: a YAML file, or the name of a bundled one. The arguments are the flags of
    `raysmooth run`. Returns its report, which a notebook shows; None if it certifies nothing, or if `only` is a stage
    other than the report.
    """
    from raysmooth.arguments import RunArguments
    from raysmooth.common.settings import checked
    from raysmooth.rows import warn_of_failures
    from raysmooth.tune.experiments.request import ExperimentRequest
    from raysmooth.tune.experiments.run_and_report import run_and_report

    given = {"only": only, "smoke": smoke, "out": out, "data_root": data_root}
    asked = checked(RunArguments, {**given, "address": address, "trust_code": trust_code})
    failed: list[tuple[str, Failures]] = []
    request = ExperimentRequest(experiment, **asked.model_dump())
    report = run_and_report(request, progress, on_failures=failed.extend)
    warn_of_failures([one for _, one in failed], [stage for stage, _ in failed])
    return report
