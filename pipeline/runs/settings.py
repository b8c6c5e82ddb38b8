"""Settings of certify and predict jobs. The command line's flags, the keys of a YAML file and the keyword arguments of
the Python functions are all these fields, and their help texts are these descriptions.
"""

from typing import Annotated

from pydantic import Field, model_validator

from raysmooth.actors.compute.compute_config import PRECISIONS
from raysmooth.actors.models.classifiers import CLASSIFIERS
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.preprocess import PREPROCESS
from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import CommaList, OnOff, Settings
from raysmooth.pipeline.certification.certificate import refuse_hopeless_predict
from raysmooth.pipeline.certification.sampling_methods import SAMPLINGS, refuse_hopeless
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.pipeline.runs.noise_setting import NOISE, SIGMA, settled_noise
from raysmooth.storage.store_urls import checked_url, is_url


class DataSettings(Settings):
    """Data"""

    dataset: str = Field(description=f"Data set: {', '.join(DATASETS)}.")
    data_root: str | None = Field(None, description="Folder or file that holds the data set (digits needs none).")
    split: str | None = Field(None, description="Part of the data set. Default: its test images.")
    resize: int | None = Field(None, description="Resize the shorter side to this many pixels first.", ge=1)
    crop: int | None = Field(None, description="Then cut this many pixels square out of the centre.", ge=1)
    skip: int = Field(1, description="Take every SKIP-th image: 20 makes 500 of the 10,000 CIFAR-10 test images.", ge=1)
    max: int | None = Field(None, description="Take at most this many images.", ge=1)


KNOWN_CLASSIFIERS = f"{', '.join(CLASSIFIERS)}, any torchvision model by name, timm/NAME, or your own MODULE:CALLABLE"
THEIR_WEIGHTS = "Its weights: safetensors, a torch file, or the name of one of torchvision's weight sets."
THEIR_PREPROCESS = (
    f"Its normalisation, applied after the noise: {', '.join(PREPROCESS)}, or means/deviations such as "
    "0.5,0.5,0.5/0.2,0.2,0.2. Default: the classifier's own."
)


class ModelSettings(Settings):
    """Base classifier"""

    classifier: str = Field(description=f"Classifier: {KNOWN_CLASSIFIERS}.")
    classifier_weights: str | None = Field(None, description=THEIR_WEIGHTS)
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    denoiser: str = Field(
        "none",
        description=f"Denoiser in front of it: none, {', '.join(DENOISERS)}, with options as dncnn:depth=7,width=32.",
    )
    denoiser_weights: str | None = Field(
        None, description="The denoiser's weights; {sigma} in the path stands for each noise level."
    )


class PoolSettings(Settings):
    """Replicas and results"""

    replicas: int | None = Field(
        None, description="Ray actors that draw, at most. Default: as many as fit, more as nodes join.", ge=1
    )
    gpus_per_replica: float | None = Field(
        None, description="GPUs of a replica (0.5 puts two on one). Default: 1 where there are GPUs, else 0.", ge=0
    )
    cpus_per_replica: int = Field(1, description="CPU cores, and threads, of a replica; belongs to the run.", ge=1)
    address: str | None = Field(
        None,
        description="Ray cluster to join, or 'local'. Default: the one this machine is in, else one of its own.",
    )
    out: str = Field(
        "results",
        description="Folder of the results, s3://bucket/folder or gs://bucket/folder too; a second setting becomes a "
        "second run in it.",
    )
    max_errors: int = Field(50, description="Stop when more images than this end as error rows.", ge=0)
    verbose: bool = Field(False, description="Show what Ray and the replicas print.")


class SamplingSettings(PoolSettings, ModelSettings, DataSettings):
    """Smoothing"""

    noise: str = Field("gaussian", description=NOISE)
    sigma: Annotated[list[float], CommaList] = Field(
        description=f"{SIGMA}; several as 0.12,0.25,0.5, each a run of its own. Not where --noise has a level.",
        min_length=1,
    )
    n: int = Field(10_000, description="Estimation draws an image.", ge=1)
    alpha: float = Field(0.001, description="Probability with which an image's statement may be wrong.", gt=0, lt=1)
    seed: int = Field(0, description="Seed of the noise.", ge=0, lt=2**63)
    block_size: int = Field(
        1000, description="Draws with a noise stream and a row of counts of their own; belongs to the run.", ge=1
    )
    precision: str = Field(
        "auto",
        description=f"What the network computes in: auto, {', '.join(PRECISIONS)}. auto is bfloat16 where the device "
        "is made for it; belongs to the run.",
    )
    compile: Annotated[str, OnOff] = Field(
        "auto", description="Compile the network: on, off, or auto, where it pays for itself; belongs to the run."
    )
    batch_size: int | None = Field(
        None, description="Noisy images in one forward pass; belongs to the run. Default: found by a short probe.", ge=1
    )

    _settle_noise = model_validator(mode="before")(settled_noise)

    @model_validator(mode="after")
    def _refuse_odd_gpus(self) -> "SamplingSettings":
        if (gpus := self.gpus_per_replica or 0) > 1 and gpus != int(gpus):
            raise RaysmoothError(f"--gpus-per-replica {gpus:g}: write a whole number, or a fraction below 1")
        return self

    @model_validator(mode="after")
    def _refuse_no_store(self) -> "SamplingSettings":
        if is_url(self.out):
            checked_url(self.out)
        return self

    @model_validator(mode="after")
    def _refuse_unknown_computing(self) -> "SamplingSettings":
        if self.precision != "auto":
            PRECISIONS[self.precision]
        if self.compile not in ("auto", "on", "off"):
            raise RaysmoothError(f"--compile {self.compile}: write auto, on or off")
        return self

    @model_validator(mode="after")
    def _refuse_bad_levels(self) -> "SamplingSettings":
        for sigma in self.sigma:
            noise_family(self.noise, sigma)
        if len(set(self.sigma)) < len(self.sigma):
            raise RaysmoothError(f"--sigma names a level twice: {', '.join(f'{s:g}' for s in self.sigma)}")
        return self


class CertifySettings(SamplingSettings):
    """CERTIFY (Cohen et al. 2019)"""

    norm: str | None = Field(
        None,
        description="Norm of the radius: "
        + "; ".join(f"with {name} noise {' or '.join(row.norms)}" for name, row in NOISES.items())
        + ". linf is the l2 radius divided by the root of how many pixels and channels an image has. Default: the "
        "noise's first.",
    )
    n0: int = Field(100, description="Selection draws an image, never reused for estimation.", ge=1)
    sampling: str = Field(
        "fixed",
        description="How many of the n draws an image gets: "
        + "; ".join(f"{name}: {row.summary}" for name, row in SAMPLINGS.items())
        + ".",
    )
    tolerance: str | None = Field(
        None,
        description="adaptive: how much smaller than with n draws the radius may come out, relative (2%) or absolute "
        "(0.01). Default: 2%.",
    )
    pilot: int | None = Field(
        None, description="adaptive: selection draws that tell how many estimation draws pay. Default: n/100.", ge=1
    )
    radius: float | None = Field(None, description="decide: the radius to certify.", gt=0)

    @model_validator(mode="after")
    def _refuse_hopeless(self) -> "CertifySettings":
        for sigma in self.sigma:
            noise = noise_family(self.noise, sigma, self.norm)
            # What can be decided in linf depends on the images: `prepare`, which has one, sees to that.
            if self.norm != "linf" or self.radius is None:
                refuse_hopeless(self, noise)
        return self


class PredictSettings(SamplingSettings):
    """PREDICT (Cohen et al. 2019)"""

    n: int = Field(1000, description="Draws an image.", ge=1)

    @model_validator(mode="after")
    def _refuse_hopeless(self) -> "PredictSettings":
        refuse_hopeless_predict(self.n, self.alpha)
        return self
