"""raysmooth: provable robustness for image classifiers, at cluster scale. This module is the Python API.

Each function corresponds to a command and takes its flags as keywords. All raise `RaysmoothError`, whose message is one
line, for requests that cannot work. Importing this module is fast: torch, Ray and pandas are imported by the first call
that needs them.
"""

import os
import sys

# `python -m raysmooth` has put the folder that one stands in first: a json.py there would be imported for Python's own.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    try:
        here = os.getcwd()
    except OSError:  # it is gone; the command line says so
        here = ""
    if sys.path[:1] == [here]:
        sys.path.append(sys.path.pop(0))
    del here

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysmooth.common import __version__
from raysmooth.common.errors import RaysmoothError

if TYPE_CHECKING:
    import pandas as pd

    from raysmooth.pipeline.derived.recertify import recertify
    from raysmooth.pipeline.report.report import read_certificates, summarize
    from raysmooth.storage.location import Location
    from raysmooth.tune.experiments.report import Report
    from raysmooth.tune.sweeps.sweep import SweepResult

__all__ = [
    "RaysmoothError",
    "__version__",
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
    """Certify images with CERTIFY (Cohen et al. 2019), with a denoiser in front of the classifier if one is named.

    Keyword arguments are the fields of `CertifySettings`, which are the flags of `raysmooth certify`; they override
    `config`, a YAML file of the same fields. Calling it again with the same arguments resumes the run. Without
    `progress` nothing is printed, and warnings are Python warnings.

    Returns one row per image, columns as in `<out>/certificates`; an image that failed is a row with `status` "error".
    Raises RaysmoothError for settings that cannot work, before Ray starts, and if the run has to stop; finished images
    stay on disk.

    >>> rows = certify(dataset="digits", classifier="digits_cnn", classifier_weights="digits.safetensors", sigma=0.25)
    """
    return _run_procedure("certify", config, settings, progress)


def estimate(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Estimate the cost of `certify` with the same arguments, from a few seconds of sampling; nothing is written.

    Returns one row per sigma: `images` not yet finished, expected `draws` and at most `most_draws`, `seconds` of
    sampling on the `replicas` available now, `busy_seconds` summed over replicas, and `disk_bytes`. Raises
    RaysmoothError like `certify`.
    """
    import pandas as pd

    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.runs import driver
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    procedure = PROCEDURES["certify"]
    estimates = driver.estimate(procedure, user_settings(procedure.settings, settings, config), progress)
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
    """Predict images with the smoothed classifier, by PREDICT (Cohen et al. 2019).

    Keyword arguments are the fields of `PredictSettings`; the rows are those of `<out>/predictions`. Otherwise like
    `certify`.
    """
    return _run_procedure("predict", config, settings, progress)


def import_logs(logs: Sequence[str | Path], config: str | Path | None = None, **settings: Any) -> "pd.DataFrame":
    """Import certification logs of other tools into `<out>`, each as a run of its own.

    Keyword arguments are the fields of `ImportSettings`, the flags of `raysmooth import`. Returns the rows of all
    `logs`, one per image. Raises RaysmoothError, and writes nothing, if a file is not such a log.
    """
    import pandas as pd

    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.derived import log_import
    from raysmooth.pipeline.derived.import_settings import ImportSettings
    from raysmooth.pipeline.store.manifest import CERTIFICATES
    from raysmooth.pipeline.store.parts import read_rows

    chosen = user_settings(ImportSettings, settings, config)
    runs = dict.fromkeys(log.run_id for log in log_import.import_logs(logs, chosen))
    return pd.concat([read_rows(chosen.out, CERTIFICATES, run_id) for run_id in runs], ignore_index=True)


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


def train_denoiser(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> Path:
    """Train a denoiser; like `train_classifier`, with the fields of `TrainDenoiserSettings`."""
    from raysmooth.common.settings import user_settings
    from raysmooth.tune.recipes.settings import TrainDenoiserSettings
    from raysmooth.tune.training import train as training

    return training.train_denoiser(user_settings(TrainDenoiserSettings, settings, config), progress)


def sweep(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "SweepResult":
    """Run a sweep of trainings, or resume it.

    Keyword arguments are the fields of `SweepSettings`, the keys of a sweep file; `config` and `progress` as in
    `certify`. In the result, `.trials` has one row per epoch of each trial and `.winner` describes the best trial.
    Raises RaysmoothError for settings that cannot work, before any trial starts.
    """
    from raysmooth.common.settings import user_settings
    from raysmooth.tune.sweeps.settings import SweepSettings
    from raysmooth.tune.sweeps.sweep import run_sweep

    return run_sweep(user_settings(SweepSettings, settings, config), progress)


def run(
    experiment: str | Path,
    *,
    only: str | None = None,
    smoke: bool = False,
    out: str | None = None,
    data_root: str | None = None,
    address: str | None = None,
    trust_code: bool = False,
    progress: bool = True,
) -> "Report | None":
    """Run an experiment, or resume it: a YAML file, or the name of a bundled one. The arguments are the flags of
    `raysmooth run`. Returns its report; None if it certifies nothing, or if `only` is a stage other than the report.
    """
    from raysmooth.tune.experiments.request import ExperimentRequest
    from raysmooth.tune.experiments.run_and_report import run_and_report

    return run_and_report(ExperimentRequest(experiment, only, smoke, out, data_root, address, trust_code), progress)


def show(results: str, image_id: int, **settings: Any) -> "Path | Location":
    """Plot one image as the runs in `results` certified it, and return the figure's file.

    Keyword arguments are the other fields of `ShowSettings`, the flags of `raysmooth show`.
    """
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.pictures.show import ShowSettings
    from raysmooth.pipeline.pictures.show import show as plot_image

    return plot_image(checked(ShowSettings, {"results": results, "image_id": image_id, **settings}))[0]


def gallery(config: str | Path | None = None, **settings: Any) -> "Path | Location":
    """Plot images clean, noisy and denoised.

    Keyword arguments are the fields of `GallerySettings`, the flags of `raysmooth gallery`; `config` as in `certify`.
    Returns the path or object of the figure. Raises RaysmoothError for settings that cannot work.
    """
    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.pictures.gallery import gallery as plot_gallery
    from raysmooth.pipeline.pictures.gallery_settings import GallerySettings

    return plot_gallery(user_settings(GallerySettings, settings, config))


def _run_procedure(name: str, config: Any, settings: dict[str, Any], progress: bool) -> "pd.DataFrame":
    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.runs.driver import run_procedure
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    procedure = PROCEDURES[name]
    return run_procedure(procedure, [user_settings(procedure.settings, settings, config)], progress)


def __getattr__(name: str) -> Any:
    """Import `read_certificates`, `summarize` and `recertify` on first use: they need pandas."""
    if name == "recertify":
        from raysmooth.pipeline.derived.recertify import recertify

        return recertify
    if name in ("read_certificates", "summarize"):
        from raysmooth.pipeline.report import report

        return getattr(report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
