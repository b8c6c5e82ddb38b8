"""raysmooth: provable robustness for image classifiers, at cluster scale. This is the Python API."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysmooth.common.errors import RaysmoothError

# Functions import what they need when they are called: torch alone takes seconds.
if TYPE_CHECKING:
    import pandas as pd

    from raysmooth.pipeline.derived.recertify import recertify
    from raysmooth.pipeline.report.report import read_certificates, summarize
    from raysmooth.storage.location import Location
    from raysmooth.tune.experiments.report import Report
    from raysmooth.tune.sweeps.sweep import SweepResult

__all__ = [
    "RaysmoothError",
    "certify",
    "estimate",
    "gallery",
    "import_logs",
    "predict",
    "read_certificates",
    "recertify",
    "run",
    "show",
    "summarize",
    "sweep",
    "train_classifier",
    "train_denoiser",
]


def certify(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Certify images with CERTIFY of Cohen et al. 2019, the classifier behind a denoiser if one is named.

    Keyword arguments are those of `CertifySettings`, the flags of `raysmooth certify`; `config` is a YAML file of the
    same. Returns one row an image: the rows that stand in `<out>/certificates`. Raises RaysmoothError, in one line, for
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

    from raysmooth.common.settings import checked
    from raysmooth.pipeline.runs.driver import estimate as estimate_job
    from raysmooth.pipeline.runs.procedures import PROCEDURES

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
    the flags of `raysmooth import`. Returns their rows. Raises RaysmoothError, and writes nothing, for what is no such log.
    """
    import pandas as pd

    from raysmooth.common.settings import checked
    from raysmooth.pipeline.derived.log_import import ImportSettings
    from raysmooth.pipeline.derived.log_import import import_logs as import_job
    from raysmooth.pipeline.store.parts import read_rows

    given = checked(ImportSettings, settings, config)
    runs = dict.fromkeys(log.run_id for log in import_job(logs, given))
    return pd.concat([read_rows(given.out, "certificates", run_id) for run_id in runs], ignore_index=True)


def train_classifier(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a classifier and return the path of its weights; keyword arguments are those of `TrainClassifierSettings`,
    the flags of `raysmooth train classifier`. Otherwise like `certify`; the same call again goes on or finds it done.
    """
    from raysmooth.common.settings import checked
    from raysmooth.tune.recipes.settings import TrainClassifierSettings
    from raysmooth.tune.training import train as training

    return training.train_classifier(checked(TrainClassifierSettings, settings, config), progress)


def train_denoiser(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a denoiser, otherwise like `train_classifier`, with the settings of `TrainDenoiserSettings`."""
    from raysmooth.common.settings import checked
    from raysmooth.tune.recipes.settings import TrainDenoiserSettings
    from raysmooth.tune.training import train as training

    return training.train_denoiser(checked(TrainDenoiserSettings, settings, config), progress)


def sweep(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "SweepResult":
    """Run a sweep of trainings; keyword arguments are those of `SweepSettings`, the keys of an experiment file.
    Otherwise like `certify`: `.trials` has a row for each epoch of each trial, `.winner` tells of the best one.
    """
    from raysmooth.common.settings import checked
    from raysmooth.tune.sweeps.settings import SweepSettings
    from raysmooth.tune.sweeps.sweep import run_sweep

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
    """Run an experiment, or resume it: a YAML file, or the name of a bundled one. The arguments are the flags of
    `raysmooth run`. Returns its report; None if it certifies nothing, or if `only` is a stage other than the report.
    """
    from raysmooth.tune.experiments.request import ExperimentRequest
    from raysmooth.tune.experiments.run_and_report import run_and_report

    return run_and_report(ExperimentRequest(experiment, only, smoke, out, data_root, address), progress)


def show(results: str, image_id: int, **settings: Any) -> "Path | Location":
    """Plot one image as the runs in `results` certified it, and return the figure's file; keyword arguments are the other
    fields of `ShowSettings`, the flags of `raysmooth show`.
    """
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.pictures.show import ShowSettings
    from raysmooth.pipeline.pictures.show import show as show_job

    return show_job(checked(ShowSettings, {"results": results, "image_id": image_id, **settings}))[0]


def gallery(config: str | Path | None = None, **settings: Any) -> "Path | Location":
    """Draw images clean, noisy and denoised, and return the figure's file; keyword arguments are those of
    `GallerySettings`, the flags of `raysmooth gallery`. Otherwise like `certify`.
    """
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.pictures.gallery import gallery as gallery_job
    from raysmooth.pipeline.pictures.gallery_settings import GallerySettings

    return gallery_job(checked(GallerySettings, settings, config))


def _carry_out(name: str, config: Any, settings: dict[str, Any], progress: bool) -> "pd.DataFrame":
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.runs.driver import run_procedure
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    procedure = PROCEDURES[name]
    return run_procedure(procedure, [checked(procedure.settings, settings, config)], progress)


def __getattr__(name: str) -> Any:
    """`read_certificates`, `summarize` and `recertify`, which come with pandas."""
    if name == "recertify":
        from raysmooth.pipeline.derived.recertify import recertify

        return recertify
    if name in ("read_certificates", "summarize"):
        from raysmooth.pipeline.report import report

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
