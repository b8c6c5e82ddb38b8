"""Settings of certify and predict. The flags of the command line, the keys of a YAML file and the keyword arguments of
the Python functions are these fields; the help texts are their descriptions.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from raysmooth.actors.apis.apis import is_api, refuse_api
from raysmooth.actors.compute.compute_config import PRECISIONS
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.networks.input_size import DEFAULT_INTERPOLATION, INTERPOLATIONS, LARGEST_INPUT
from raysmooth.actors.models.preprocess import PREPROCESS
from raysmooth.actors.models.rejectors import NO_REJECTOR, REJECTORS, UNANSWERED, read_rejector
from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import AutoOnOff, CommaList, Settings, trust_code_field
from raysmooth.pipeline.certification.certificate import (
    COMPLEMENT,
    NOISE_BOUNDS,
    REJECTION,
    RUNNER_UP,
    refuse_hopeless_predict,
)
from raysmooth.pipeline.certification.sampling_methods import SAMPLINGS, refuse_hopeless
from raysmooth.pipeline.certification.top_k import refuse_top_k
from raysmooth.pipeline.queries.query_settings import QuerySettings
from raysmooth.pipeline.runs.apis.api_settings import refuse_network_settings, settled_rejector
from raysmooth.pipeline.runs.data_settings import CertifiedDataSettings
from raysmooth.pipeline.runs.image_level_settings import ImageLevelSettings
from raysmooth.pipeline.runs.noise_setting import NOISE, SIGMA, Level, settled_noise
from raysmooth.storage.paths import OutText, PathText
from raysmooth.storage.store_urls import checked_url, is_url

KNOWN_CLASSIFIERS = (
    "a name of `raysmooth list classifiers`, any torchvision model, timm/NAME, hf:FOLDER, onnx:FILE, or your own "
    "MODULE:CALLABLE"
)


def _no_api(classifier: str) -> str:
    refuse_api(classifier, "its weights, or its answers to each picture here, are needed")
    return classifier


NetworkName = Annotated[str, AfterValidator(_no_api)]
"""Annotation of a `classifier` field that takes no vision API: naming one raises RaysmoothError."""

THEIR_WEIGHTS = (
    "Its weights: a file, FILE#KEY for a state dict in it, or the name of torchvision weights; a.pth,b.pth is an "
    "ensemble."
)
THEIR_PREPROCESS = (
    f"The classifier's normalisation, applied after the noise: {', '.join(PREPROCESS)}, or means/deviations such as "
    "0.5,0.5,0.5/0.2,0.2,0.2. Default: the classifier's own."
)


def _known_interpolation(name: str) -> str:
    _ = INTERPOLATIONS[name]
    return name


InputEdge = Annotated[int, Field(ge=1, le=LARGEST_INPUT)]
INPUT_SIZE = (
    "Resize images to squares of this many pixels before the classifier, behind noise and denoiser: noise and radii "
    "stay in the data's own pixels. Default: as hf:FOLDER or the weights' card says, else not at all."
)

InterpolationName = Annotated[str, AfterValidator(_known_interpolation)]
INTERPOLATION = (
    f"How they are resized, with filters as Pillow's: {', '.join(INTERPOLATIONS)}. Default: as hf:FOLDER or the "
    f"weights' card says, else {DEFAULT_INTERPOLATION}."
)
NEW_RUN = "Changing it starts a new run."


def _refuse_repeated_levels(sigma: Sequence[float]) -> Sequence[float]:
    if len(set(sigma)) < len(sigma):
        raise RaysmoothError(f"--sigma names a level twice: {', '.join(f'{level:g}' for level in sigma)}")
    return sigma


NoiseLevels = Annotated[list[Level], CommaList, AfterValidator(_refuse_repeated_levels)]
"""Annotation of a `sigma` field that takes several levels, each of them once."""


def refuse_without_classifier(classifier: str | None, **options: str | int | None) -> None:
    """Raises RaysmoothError where any of `options`, which describe a classifier, is given without one."""
    if classifier is None and (given := [name for name, value in options.items() if value]):
        flag = f"--{given[0].replace('_', '-')}"
        raise RaysmoothError(f"{flag} without --classifier: name the classifier too, or leave {flag} out")


class ModelSettings(Settings):
    """Base classifier"""

    classifier: str = Field(description=f"Classifier: {KNOWN_CLASSIFIERS}.")
    classifier_weights: PathText | None = Field(None, description=THEIR_WEIGHTS)
    consensus: int | None = Field(
        None,
        description="Of an ensemble: where the first CONSENSUS classifiers agree on a draw, that is its label, and the "
        "others are not computed; elsewhere the mean of all decides.",
        ge=2,
    )
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    input_size: InputEdge | None = Field(None, description=INPUT_SIZE)
    interpolation: InterpolationName | None = Field(None, description=INTERPOLATION)
    denoiser: str = Field(
        "none",
        description=f"Denoiser in front of the classifier: none, {', '.join(DENOISERS)}; with options as in "
        "dncnn:depth=7,width=32.",
    )
    denoiser_weights: PathText | None = Field(
        None,
        description="Its weights; a.pth,b.pth is an ensemble. In a path, {sigma} is the noise level: 0.5 or 0.50; "
        "{sigma:.2f} is 0.50.",
    )
    rejector: str = Field(
        NO_REJECTOR,
        description=f"Rejector, which decides which draws support no class: {NO_REJECTOR}, {', '.join(REJECTORS)}; "
        "rules need a threshold, as in confidence:threshold=0.6.",
    )
    rejector_weights: PathText | None = Field(
        None, description="The weights of rejector network, written by train rejector."
    )
    trust_code: bool = trust_code_field()

    @model_validator(mode="after")
    def _refuse_odd_rejector(self) -> "ModelSettings":
        if self.rejector != NO_REJECTOR and not (self.rejector == UNANSWERED and is_api(self.classifier)):
            read_rejector(self.rejector)
        return self


class PoolSettings(Settings):
    """Replicas and results"""

    replicas: int | None = Field(
        None,
        description="Maximum number of replicas (Ray actors), each a process with its own copy of the network. "
        "Default: as many as fit, and more as nodes join.",
        ge=1,
    )
    gpus_per_replica: float | None = Field(
        None,
        description="GPUs for each replica; 0.5 puts two on one GPU. Default: 1 if the cluster has GPUs, else 0.",
        ge=0,
    )
    cpus_per_replica: int = Field(
        1, description=f"CPU cores reserved for each replica's process, and its threads. {NEW_RUN}", ge=1
    )
    address: str | None = Field(
        None,
        description="Ray cluster to join, or 'local'. Default: this machine's cluster, or a new local one.",
    )
    out: OutText = Field(
        "results",
        description="Folder for results of any number of runs, or s3://bucket/folder, gs://bucket/folder.",
    )
    max_errors: int = Field(50, description="Stop if more images than this fail.", ge=0)
    verbose: bool = Field(False, description="Show the output of Ray and the replicas.")


class NoisySettings(PoolSettings, ModelSettings, CertifiedDataSettings):
    """Smoothing"""

    noise: str = Field("gaussian", description=NOISE)
    sigma: NoiseLevels = Field(
        description=f"{SIGMA}. Several, as in 0.12,0.25,0.5, are separate runs. Required unless --noise has a level.",
        min_length=1,
    )
    seed: int = Field(0, description="Random seed of the noise.", ge=0, lt=2**63)

    _settle_noise = model_validator(mode="before")(settled_noise)

    @model_validator(mode="after")
    def _refuse_odd_gpus(self) -> "NoisySettings":
        if (gpus := self.gpus_per_replica or 0) > 1 and gpus != int(gpus):
            raise RaysmoothError(f"--gpus-per-replica {gpus:g}: write a whole number, or a fraction below 1")
        return self

    @model_validator(mode="after")
    def _refuse_bad_url(self) -> "NoisySettings":
        if is_url(self.out):
            checked_url(self.out)
        return self

    @model_validator(mode="after")
    def _refuse_bad_levels(self) -> "NoisySettings":
        for sigma in self.sigma:
            noise_family(self.noise, sigma)
        return self


class SamplingSettings(QuerySettings, NoisySettings):
    """Smoothing"""

    classifier: str = Field(description=f"Classifier: {KNOWN_CLASSIFIERS}; or an API of `raysmooth list apis`.")
    n: int = Field(10_000, description="Estimation draws (noise samples) per image.", ge=1)
    alpha: float = Field(0.001, description="Failure probability of each certificate (per image).", gt=0, lt=1)
    block_size: int = Field(
        1000,
        description=f"Draws per block. Each block has its own random stream and one row of counts. {NEW_RUN}",
        ge=1,
    )
    precision: str = Field(
        "auto",
        description=f"Precision of the network: auto, {', '.join(PRECISIONS)}. auto is bfloat16 on devices made for "
        f"it, float32 elsewhere. {NEW_RUN}",
    )
    compile: AutoOnOff = Field(
        "auto", description=f"torch.compile the network: on, off, or auto (if it saves time overall). {NEW_RUN}"
    )
    batch_size: int | None = Field(
        None, description=f"Noisy images per forward pass. {NEW_RUN} Default: the fastest in a short probe.", ge=1
    )

    _settle_rejector = model_validator(mode="before")(settled_rejector)

    @model_validator(mode="after")
    def _refuse_unknown_precision(self) -> "SamplingSettings":
        if self.precision != "auto":
            PRECISIONS[self.precision]
        refuse_network_settings(self)
        return self


class CertifySettings(ImageLevelSettings, SamplingSettings):
    """CERTIFY (Cohen et al. 2019)"""

    noise_bound: str | None = Field(
        None,
        description="Upper bound on the other classes: "
        + "; ".join(f"{name}: {bound.summary}" for name, bound in NOISE_BOUNDS.items())
        + f". Default: {COMPLEMENT}; with a rejector {RUNNER_UP}, which is never worse than {REJECTION}.",
    )
    alpha_share: float | None = Field(
        None,
        description="Share of alpha for the bound on pA where the other classes have a bound of their own, which gets "
        "the rest: 0.5, or 0.9 if few draws are rejected. Default: 0.5.",
        gt=0,
        lt=1,
    )
    norm: str | None = Field(
        None,
        description="Norm of the radius: "
        + "; ".join(f"{' or '.join(entry.norms)} with {name} noise" for name, entry in NOISES.items())
        + ". linf is the l2 radius divided by sqrt(channels x height x width). Default: the first for the noise.",
    )
    n0: int = Field(100, description="Selection draws per image; never reused for estimation.", ge=1)
    sampling: str = Field(
        "fixed",
        description="Sampling method, how many of the n draws an image gets: "
        + "; ".join(f"{name}: {entry.summary}" for name, entry in SAMPLINGS.items())
        + ".",
    )
    tolerance: str | None = Field(
        None,
        description="adaptive: accepted loss of radius compared with n draws, relative (2%) or in pixel units "
        "(0.01). Default: 2%.",
    )
    pilot: int | None = Field(
        None,
        description="adaptive: extra selection draws used to choose the number of estimation draws. Default: n/100.",
        ge=1,
    )
    radius: float | None = Field(None, description="decide: the radius to certify.", gt=0)
    top_k: int | None = Field(
        None,
        description="Also certify that a class stays among the TOP_K most likely, from the same draws: columns "
        "radius_top_k and, of the label, label_radius_top_k. `recertify --top-k` adds them to finished runs. "
        f"{NEW_RUN}",
        ge=1,
    )

    @model_validator(mode="after")
    def _refuse_odd_top_k(self) -> "CertifySettings":
        if self.top_k is not None:
            refuse_top_k(self.top_k, self.sampling, is_api(self.classifier))
        return self

    @model_validator(mode="after")
    def _refuse_hopeless(self) -> "CertifySettings":
        ruled = self.model_copy(update={"alpha": self.alpha * self.class_share})
        for sigma in self.sigma:
            noise = noise_family(self.noise, sigma, self.norm)
            # Which linf radii can be decided depends on the image size: `prepare` checks that.
            if self.norm != "linf" or self.radius is None:
                refuse_hopeless(ruled, noise)
        return self


class PredictSettings(ImageLevelSettings, SamplingSettings):
    """PREDICT (Cohen et al. 2019)"""

    n: int = Field(1000, description="Draws (noise samples) per image.", ge=1)

    @model_validator(mode="after")
    def _refuse_hopeless(self) -> "PredictSettings":
        refuse_hopeless_predict(self.n, self.alpha * self.class_share)
        return self
