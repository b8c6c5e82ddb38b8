"""Settings of training jobs: the command line's flags, YAML keys and keyword arguments are these fields."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.common.settings import Settings
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.pipeline.runs.noise_setting import NOISE, SIGMA, settled_noise
from raysmooth.pipeline.runs.settings import KNOWN_CLASSIFIERS, THEIR_PREPROCESS, THEIR_WEIGHTS
from raysmooth.tune.data.augment import AUGMENTATIONS
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.recipes.phases import OPTIMIZERS, SCHEDULES
from raysmooth.tune.recipes.precision import PRECISIONS
from raysmooth.tune.recipes.recipes import RECIPES


def _files(value: Any) -> Any:
    """'a.safetensors,b.safetensors' as well as a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


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
        description=f"Recipe: {', '.join(RECIPES)}. Default: the one made for the data set and objective.",
    )
    epochs: int | None = Field(
        None, description="Instead of the recipe's: its switches, drops and warm-ups move in proportion.", ge=1
    )
    batch_size: int | None = Field(None, description="Instead of the recipe's; images in a step.", ge=1)
    phases: str | None = Field(
        None,
        description="Instead of the recipe's: optimizers one after the other, each with its options, as in "
        "'adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,learning_rate=1e-4,step_size=100'.",
    )
    optimizer: str | None = Field(None, description=f"Instead of the recipe's: {', '.join(OPTIMIZERS)}.")
    learning_rate: float | None = Field(None, description="Instead of the recipe's.", gt=0)
    schedule: str | None = Field(None, description=f"Instead of the recipe's: {', '.join(SCHEDULES)}.")
    step_size: float | None = Field(None, description="Instead of the recipe's; epochs from drop to drop.", gt=0)
    gamma: float | None = Field(None, description="Instead of the recipe's; the factor of a drop.", gt=0)
    weight_decay: float | None = Field(None, description="Instead of the recipe's.", ge=0)
    momentum: float | None = Field(None, description="Instead of the recipe's; SGD's.", ge=0, lt=1)
    clip_norm: float | None = Field(None, description="Cut gradients that are longer than this (l2).", gt=0)
    augment: str | None = Field(None, description=f"Instead of the recipe's: {', '.join(AUGMENTATIONS)}.")


class NoiseSettings(Settings):
    """Noise"""

    noise: str = Field("gaussian", description=NOISE)

    _settle_noise = model_validator(mode="before")(settled_noise)


class TrainingSettings(RecipeSettings, NoiseSettings, TrainingDataSettings):
    """Job"""

    seed: int = Field(0, description="Seed of initial weights, order, augmentation and noise.", ge=0, lt=2**63)
    precision: str = Field(
        "auto", description=f"auto (bfloat16 where the device is made for it), {', '.join(PRECISIONS)}."
    )
    compile: bool = Field(False, description="Compile the network with torch.compile.")
    threads: int | None = Field(None, description="CPU threads of torch. Default: torch's own choice.", ge=1)
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1.")
    workers: int = Field(
        1,
        description="Processes that share each batch, by Ray Train and DistributedDataParallel: one a GPU, or a core.",
        ge=1,
    )
    address: str | None = Field(
        None, description="Ray cluster of the workers, or 'local'. Default: the one this machine is in, else its own."
    )
    init_weights: str | None = Field(None, description="Weights to start from; stab+mse and clf+mse need mse's.")
    keep: Literal["last", "best"] = Field(
        "last", description="Weights to give: the last epoch's, or the best by validation; both are kept beside."
    )
    overwrite: bool = Field(False, description="Begin anew where another training's weights are.")
    out: str = Field(
        description="File of the weights to write, ending in .safetensors; X.training beside it holds what there is so "
        "far: the same command again goes on from it."
    )


class TrainClassifierSettings(TrainingSettings):
    """Classifier"""

    classifier: str = Field(description=f"Classifier: {KNOWN_CLASSIFIERS}.")
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    objective: str = Field(
        "clean",
        description=f"Objective: {', '.join(CLASSIFIER_OBJECTIVES)}; with options as in consistency:m=4,lambda=10.",
    )
    sigma: float | None = Field(
        None,
        description=f"{SIGMA}; for clean, only to measure under it.",
        gt=0,
    )


class TrainDenoiserSettings(TrainingSettings):
    """Denoiser"""

    denoiser: str = Field(description=f"Denoiser: {', '.join(DENOISERS)}; with options as in dncnn:depth=7.")
    objective: str = Field(description=f"Objective: {', '.join(DENOISER_OBJECTIVES)}.")
    sigma: float = Field(description=f"{SIGMA}.", gt=0)
    classifier: str | None = Field(
        None,
        description=f"Classifier to stand in front of (mse needs none): {KNOWN_CLASSIFIERS}. With surrogates it is "
        "only measured, never trained through.",
    )
    classifier_weights: str | None = Field(None, description=THEIR_WEIGHTS)
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    surrogates: Annotated[list[str], BeforeValidator(_files)] = Field(
        [],
        description="Black-box access: weights of other classifiers to train through in the classifier's place, one a "
        "minibatch in turn, as FILE,FILE; where a file does not tell its architecture, ARCHITECTURE@FILE. Or the "
        "folder of a sweep that trained classifiers, FOLDER, or FOLDER:K for its first K.",
    )
