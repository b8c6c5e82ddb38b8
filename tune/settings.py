"""Settings of training jobs: the command line's flags, YAML keys and keyword arguments are these fields."""

from pydantic import Field

from actors.classifiers import CLASSIFIERS
from actors.denoisers import DENOISERS
from actors.preprocess import PREPROCESS
from pipeline.datasets import DATASETS
from pipeline.settings import Settings
from tune.augment import AUGMENTATIONS
from tune.objectives import CLASSIFIER_OBJECTIVES, DENOISER_OBJECTIVES
from tune.recipes import OPTIMIZERS, RECIPES

_CLASSIFIERS = f"{', '.join(CLASSIFIERS)}, any torchvision model by name, or your own as module:callable"


class TrainingDataSettings(Settings):
    """Data"""

    dataset: str = Field(description=f"Data set: {', '.join(DATASETS)}.")
    data_root: str | None = Field(None, description="Folder or file that holds the data set (digits needs none).")
    split: str = Field("train", description="Part to train on; every tenth image of it is held out to validate.")
    resize: int | None = Field(None, description="Resize the shorter side to this many pixels first.", ge=1)
    crop: int | None = Field(None, description="Then cut this many pixels square out of the centre.", ge=1)
    skip: int = Field(1, description="Take every SKIP-th image, before the held-out ones are chosen.", ge=1)
    max: int | None = Field(None, description="Take at most this many images, held-out ones included.", ge=1)
    loader_workers: int | None = Field(
        None,
        description="Processes that read images which do not fit in memory, or are cut at random before they are "
        "resized; 0: read them in the training process. Default: one a core, at most 8.",
        ge=0,
    )


class RecipeSettings(Settings):
    """Recipe"""

    recipe: str | None = Field(
        None,
        description=f"Recipe: {', '.join(RECIPES)}. Default: the one made for the data set.",
    )
    epochs: int | None = Field(None, description="Instead of the recipe's.", ge=1)
    batch_size: int | None = Field(None, description="Instead of the recipe's; images in a step.", ge=1)
    optimizer: str | None = Field(None, description=f"Instead of the recipe's: {', '.join(OPTIMIZERS)}.")
    learning_rate: float | None = Field(None, description="Instead of the recipe's.", gt=0)
    step_size: int | None = Field(None, description="Instead of the recipe's; epochs from drop to drop.", ge=1)
    gamma: float | None = Field(None, description="Instead of the recipe's; the factor of a drop.", gt=0)
    weight_decay: float | None = Field(None, description="Instead of the recipe's.", ge=0)
    momentum: float | None = Field(None, description="Instead of the recipe's; SGD's.", ge=0, lt=1)
    augment: str | None = Field(None, description=f"Instead of the recipe's: {', '.join(AUGMENTATIONS)}.")


class TrainingJobSettings(RecipeSettings, TrainingDataSettings):
    """Job"""

    seed: int = Field(0, description="Seed of initial weights, order, augmentation and noise.", ge=0)
    threads: int | None = Field(None, description="CPU threads of torch. Default: torch's own choice.", ge=1)
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1.")
    out: str = Field(description="File of the weights to write, ending in .safetensors.")


class TrainClassifierSettings(TrainingJobSettings):
    """Classifier"""

    classifier: str = Field(description=f"Classifier: {_CLASSIFIERS}.")
    preprocess: str | None = Field(
        None,
        description=f"Its normalisation, applied after the noise: {', '.join(PREPROCESS)}, or means/deviations "
        "such as 0.5,0.5,0.5/0.2,0.2,0.2. Default: the classifier's own.",
    )
    objective: str = Field("clean", description=f"Objective: {', '.join(CLASSIFIER_OBJECTIVES)}.")
    sigma: float | None = Field(
        None, description="Noise level in pixel units ([0, 1]); for clean, only to measure under it.", gt=0
    )


class TrainDenoiserSettings(TrainingJobSettings):
    """Denoiser"""

    denoiser: str = Field(description=f"Denoiser: {', '.join(DENOISERS)}; with options as in dncnn:depth=7.")
    objective: str = Field(description=f"Objective: {', '.join(DENOISER_OBJECTIVES)}.")
    sigma: float = Field(description="Noise level in pixel units ([0, 1]).", gt=0)
    init_weights: str | None = Field(None, description="Weights to start from; stab+mse needs mse's.")
    classifier: str | None = Field(
        None, description=f"Classifier to stand in front of (mse needs none): {_CLASSIFIERS}."
    )
    classifier_weights: str | None = Field(
        None,
        description="Its weights: safetensors, a torch file, or the name of one of torchvision's weight sets.",
    )
    preprocess: str | None = Field(
        None,
        description=f"Its normalisation: {', '.join(PREPROCESS)}, or means/deviations such as "
        "0.5,0.5,0.5/0.2,0.2,0.2. Default: the classifier's own.",
    )
