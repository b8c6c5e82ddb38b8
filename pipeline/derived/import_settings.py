"""Settings of `raysmooth import`: the command line's flags, YAML keys and keyword arguments are these fields."""

from pydantic import Field, model_validator

from raysmooth.actors.noise.families import NOISES
from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.settings import Settings
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.pipeline.derived.certification_log import RADIUS
from raysmooth.pipeline.runs.noise_setting import Level
from raysmooth.storage.paths import OutText
from raysmooth.storage.records import ShortName

MOST = 10**15
"""Of draws and images, as in every manifest."""


class ImportSettings(Settings):
    """Facts that the logs lack"""

    dataset: ShortName = Field(description="Data set, such as cifar10.")
    split: ShortName | None = Field(None, description="Split of the data set, such as test.")
    skip: int | None = Field(
        None, description="The runs certified every SKIP-th image: idx 0, SKIP, 2 SKIP, ...", ge=1, le=MOST
    )
    start: int | None = Field(
        None, description="They began with image START: --start 500 --images 500 for idx 500 to 999.", ge=0, le=MOST
    )
    images: int | None = Field(
        None,
        description="Planned number of images; a log with fewer is an unfinished run. Follows from --skip and --start "
        "unless the runs stopped early.",
        ge=1,
        le=MOST,
    )
    dataset_size: int | None = Field(
        None,
        description="Number of images in the split, for --skip and --start; known for digits, mnist, cifar10, "
        "imagenet.",
        ge=1,
        le=MOST,
    )
    classifier: ShortName = Field(description="Base classifier, such as cifar_resnet110.")
    denoiser: ShortName | None = Field(None, description="Denoiser before the classifier, such as dncnn, or none.")
    objective: ShortName | None = Field(
        None, description="Training objective of the denoiser or classifier, such as gaussian."
    )
    noise: str = Field(
        "gaussian", description=f"Noise family of the draws, which determines the norm of radii: {', '.join(NOISES)}."
    )
    sigma: Level | None = Field(
        None,
        description="Noise level in pixel units ([0, 1]), such as 0.25 or 64/255. Default: from the log's file name, "
        "as in sigma_0.25.",
    )
    image_sigmas: bool = Field(
        False,
        description="The logs' column sigma has each image's own level, as in data-dependent smoothing; --sigma is the "
        "level at which the search began.",
    )
    n0: int | None = Field(None, description="Selection draws per image.", ge=1, le=MOST)
    n: int | None = Field(None, description="Estimation draws per image.", ge=1, le=MOST)
    alpha: float | None = Field(None, description="Failure probability of each certificate (per image).", gt=0, lt=1)
    label_rule: str = Field(
        "top", description="Answers of a vision API (.jsonl): which label of an answer counts, as in certify."
    )
    radius_column: str = Field(RADIUS, description="Column of the logs that holds the radius.", min_length=1)
    strict: bool = Field(
        False, description="Import nothing if one of the logs has no certificate yet, instead of leaving it out."
    )
    out: OutText = Field("results", description="Folder for the results; each log becomes a run in it.")

    @model_validator(mode="after")
    def _refuse_unknown_split(self) -> "ImportSettings":
        if self.split is not None and self.dataset in DATASETS:
            entry = DATASETS[self.dataset]
            if self.split not in entry.splits and not entry.other_splits:
                raise RaysmoothError(f"{self.dataset} has no split '{self.split}': {nearest(self.split, entry.splits)}")
        return self
