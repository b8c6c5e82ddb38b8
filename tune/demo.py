"""The demo: the main claim of denoised smoothing (Salman et al. 2020) in miniature, on images that need no download."""

from pathlib import Path

import pandas as pd
from pydantic import Field

from pipeline.driver import carry_out
from pipeline.procedures import PROCEDURES
from pipeline.settings import PoolSettings, checked
from tune.settings import TrainClassifierSettings, TrainDenoiserSettings
from tune.train import train_classifier, train_denoiser

CLASSIFIER = "digits_cnn"
DENOISER = "dncnn:channels=1,depth=5,width=16"


class DemoSettings(PoolSettings):
    """Demo"""

    out: str = Field("demo", description="Folder of the weights, certificates and the report.")
    sigma: float = Field(0.5, description="Noise level in pixel units ([0, 1]).", gt=0)
    skip: int = Field(2, description="Take every SKIP-th of the 400 test images.", ge=1)
    n0: int = Field(100, description="Selection draws an image.", ge=1)
    n: int = Field(10_000, description="Estimation draws an image.", ge=1)
    alpha: float = Field(0.001, description="Probability with which an image's statement may be wrong.", gt=0, lt=1)
    seed: int = Field(0, description="Seed of training and of the noise.", ge=0)
    epochs: int | None = Field(None, description="Epochs of each training, instead of the recipes'.", ge=1)


def run_demo(settings: DemoSettings, show_progress: bool = True) -> pd.DataFrame:
    """Train a classifier on clean digits, an MSE denoiser and a STAB+MSE denoiser for it, and certify the classifier
    without a denoiser and behind each of the two, all on one pool of replicas.

    Returns the certificates' rows, 3 for each test image. Everything is under `settings.out`: the weights, and the
    certificates as `certify` writes them. The same command again trains the same weights and finds its certificates.
    """
    out = Path(settings.out)
    weights = {name: str(out / "weights" / f"{name}.safetensors") for name in ("classifier", "mse", "stab+mse")}
    common = {"dataset": "digits", "seed": settings.seed, "epochs": settings.epochs, "threads": 2, "overwrite": True}
    common["precision"] = "float32"  # these networks are too small to gain from another
    behind = {"classifier": CLASSIFIER, "classifier_weights": weights["classifier"]}
    denoising = {**common, **behind, "denoiser": DENOISER, "sigma": settings.sigma}
    procedure = PROCEDURES["certify"]
    pool = settings.model_dump(include=set(PoolSettings.model_fields))
    smoothing = settings.model_dump(include={"sigma", "skip", "n0", "n", "alpha", "seed"})
    plain = {**pool, **smoothing, **behind, "dataset": "digits"}
    plain |= {"compile": "off", "batch_size": 250}  # whatever the machine's speed: everyone sees the same table
    jobs = [plain] + [
        {**plain, "denoiser": "dncnn", "denoiser_weights": weights[objective]} for objective in ("mse", "stab+mse")
    ]
    certify = [checked(procedure.settings, job) for job in jobs]  # refused before training, if at all

    train_classifier(
        checked(
            TrainClassifierSettings,
            {**common, "classifier": CLASSIFIER, "sigma": settings.sigma, "out": weights["classifier"]},
        ),
        show_progress,
    )
    for objective, start in (("mse", None), ("stab+mse", weights["mse"])):
        job = {**denoising, "objective": objective, "init_weights": start, "out": weights[objective]}
        train_denoiser(checked(TrainDenoiserSettings, job), show_progress)
    return carry_out(procedure, certify, show_progress)
