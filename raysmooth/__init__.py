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

import logging
import warnings

from raysmooth import stats
from raysmooth.certifying import certify, estimate, import_logs, optimize_sigma, predict, recertify, session
from raysmooth.common import __version__
from raysmooth.common.errors import RaysmoothError
from raysmooth.model_objects import certify_model, predict_model
from raysmooth.results import export, gallery, read_certificates, report, show, status, summarize
from raysmooth.training import run, sweep, train_classifier, train_denoiser, train_rejector

# In a notebook Ray and tqdm ask for ipywidgets, which nothing here needs.
warnings.filterwarnings("ignore", message="IProgress not found")
logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)

__all__ = [
    "RaysmoothError",
    "__version__",
    "certify",
    "certify_model",
    "estimate",
    "export",
    "gallery",
    "import_logs",
    "optimize_sigma",
    "predict",
    "predict_model",
    "read_certificates",
    "recertify",
    "report",
    "run",
    "session",
    "show",
    "stats",
    "status",
    "summarize",
    "sweep",
    "train_classifier",
    "train_denoiser",
    "train_rejector",
]
