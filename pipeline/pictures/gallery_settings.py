"""Settings of a gallery: the command line's flags, YAML keys and keyword arguments are these fields."""

from typing import Annotated

from pydantic import Field, model_validator

from raysmooth.actors.models.denoisers import DENOISERS, NO_DENOISER
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import CommaList, SemicolonList, trust_code_field
from raysmooth.pipeline.runs.data_settings import DataSettings
from raysmooth.pipeline.runs.settings import (
    INPUT_SIZE,
    INTERPOLATION,
    KNOWN_CLASSIFIERS,
    THEIR_PREPROCESS,
    THEIR_WEIGHTS,
    InputEdge,
    InterpolationName,
    NetworkName,
    NoiseLevels,
    refuse_without_classifier,
)
from raysmooth.storage.paths import OutText, PathText


class GallerySettings(DataSettings):
    """Gallery"""

    max: int | None = Field(5, description="Take at most this many images.", ge=1)
    images: Annotated[list[int] | None, CommaList] = Field(
        None, description="Numbers of the images, such as 0,20,40, instead of --skip and --max.", min_length=1
    )
    sigma: NoiseLevels = Field(description="Noise levels in pixel units ([0, 1]), such as 0.25,0.5.", min_length=1)
    denoiser_weights: Annotated[list[PathText], CommaList] = Field(
        description="Weights of the denoisers, comma-separated; {sigma} in a path stands for each noise level.",
        min_length=1,
    )
    denoiser: Annotated[list[str], SemicolonList] = Field(
        [],
        description=f"Denoisers: {', '.join(DENOISERS)}, with options as in dncnn:depth=7,width=32; one for all "
        "weights, or one for each, separated by semicolons. Default: from the weights' cards.",
    )
    labels: Annotated[list[str] | None, CommaList] = Field(
        None, description="Names of the denoisers in the figure, comma-separated. Default: their objectives."
    )
    classifier: NetworkName | None = Field(
        None, description=f"Classifier whose prediction is printed below each picture: {KNOWN_CLASSIFIERS}."
    )
    classifier_weights: PathText | None = Field(None, description=THEIR_WEIGHTS)
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    input_size: InputEdge | None = Field(None, description=INPUT_SIZE)
    interpolation: InterpolationName | None = Field(None, description=INTERPOLATION)
    trust_code: bool = trust_code_field()
    seed: int = Field(0, description="Seed of the noise: the first draw of certify with this seed on a CPU.", ge=0)
    out: OutText = Field("gallery.png", description="File for the figure, .png or .pdf.")

    @model_validator(mode="after")
    def _refuse_two_choices(self) -> "GallerySettings":
        if self.images is not None and (other := self.model_fields_set & {"skip", "max"}):
            raise RaysmoothError(f"--images and --{min(other)} both choose the images: leave one out")
        return self

    @model_validator(mode="after")
    def _refuse_uneven_lists(self) -> "GallerySettings":
        weights = len(self.denoiser_weights)
        if len(set(self.denoiser_weights)) < weights:
            raise RaysmoothError(f"--denoiser-weights names a file twice: {','.join(self.denoiser_weights)}")
        if NO_DENOISER in self.denoiser:
            raise RaysmoothError(f"--denoiser {NO_DENOISER}: noisy images are always shown, name a denoiser")
        if len(self.denoiser) not in (0, 1, weights):
            raise RaysmoothError(
                f"--denoiser names {len(self.denoiser)} denoisers for {weights} weights: name one, or {weights}"
            )
        if self.labels is not None and (len(self.labels) != weights or len(set(self.labels)) != weights):
            raise RaysmoothError(
                f"--labels {','.join(self.labels)}: write {weights} different ones, one for each weights file"
            )
        return self

    @model_validator(mode="after")
    def _refuse_bad_levels(self) -> "GallerySettings":
        for sigma in self.sigma:
            Gaussian(sigma)
        return self

    @model_validator(mode="after")
    def _refuse_weights_of_nothing(self) -> "GallerySettings":
        refuse_without_classifier(
            self.classifier,
            classifier_weights=self.classifier_weights,
            preprocess=self.preprocess,
            input_size=self.input_size,
            interpolation=self.interpolation,
        )
        return self
