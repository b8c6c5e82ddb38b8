"""Settings of trainings: these fields are the command line's flags, the YAML keys and the keyword arguments."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from raysmooth.actors.apis.apis import refuse_api
from raysmooth.actors.models.denoisers import DENOISERS, NO_DENOISER
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.model_files import is_model_file
from raysmooth.common.settings import AutoOnOff, CommaList, Settings, trust_code_field
from raysmooth.pipeline.runs.data_settings import DataSettings
from raysmooth.pipeline.runs.noise_setting import NOISE, SIGMA, Level, settled_noise
from raysmooth.pipeline.runs.settings import (
    INPUT_SIZE,
    INTERPOLATION,
    KNOWN_CLASSIFIERS,
    THEIR_PREPROCESS,
    THEIR_WEIGHTS,
    InputEdge,
    InterpolationName,
    NetworkName,
)
from raysmooth.storage.paths import OutText, PathText
from raysmooth.tune.data.augment import AUGMENTATIONS
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.data_dependent import EXAMPLE
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES
from raysmooth.tune.recipes.phases import OPTIMIZERS, SCHEDULES
from raysmooth.tune.recipes.precision import TRAINING_PRECISIONS


class TrainingDataSettings(DataSettings):
    """Data"""

    split: str = Field("train", description="Part to train on; every tenth image of it is held out to validate.")
    skip: int = Field(1, description="Take every SKIP-th image, before the held-out ones are chosen.", ge=1)
    max: int | None = Field(None, description="Take at most this many images, held-out ones included.", ge=1)
    loader_workers: int | None = Field(
        None,
        description="Processes per training process that decode images, if the data does not fit in memory or is "
        "cropped at random before resizing; 0: decode in the training process. Default: one per core, at most 8.",
        ge=0,
    )


class RecipeSettings(Settings):
    """Recipe"""

    recipe: str | None = Field(
        None,
        description="Recipe: a name from `raysmooth list recipes`. Default: the one made for the data set and "
        "objective, else a general one for the number and size of the images; a note names it.",
    )
    epochs: int | None = Field(
        None,
        description="Number of epochs; phases, drops and warm-ups scale in proportion. Default: the recipe's.",
        ge=1,
    )
    batch_size: int | None = Field(None, description="Images per step. Default: the recipe's.", ge=1)
    phases: str | None = Field(
        None,
        description="Optimizers in sequence, each with its options, as in "
        "'adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,step_size=100'. Default: the recipe's.",
    )
    optimizer: str | None = Field(None, description=f"Optimizer: {', '.join(OPTIMIZERS)}. Default: the recipe's.")
    learning_rate: float | None = Field(None, description="Initial learning rate. Default: the recipe's.", gt=0)
    schedule: str | None = Field(
        None, description=f"Schedule of the learning rate: {', '.join(SCHEDULES)}. Default: the recipe's."
    )
    step_size: float | None = Field(
        None, description="Epochs between drops of the learning rate. Default: the recipe's.", gt=0
    )
    gamma: float | None = Field(
        None, description="Factor of each drop of the learning rate. Default: the recipe's.", gt=0
    )
    weight_decay: float | None = Field(None, description="Weight decay. Default: the recipe's.", ge=0)
    momentum: float | None = Field(None, description="Momentum, of SGD only. Default: the recipe's.", ge=0, lt=1)
    clip_norm: float | None = Field(None, description="Clip gradients to this l2 norm.", gt=0)
    augment: str | None = Field(None, description=f"Augmentation: {', '.join(AUGMENTATIONS)}. Default: the recipe's.")


class NoiseSettings(Settings):
    """Noise"""

    noise: str = Field("gaussian", description=NOISE)

    _settle_noise = model_validator(mode="before")(settled_noise)


class TrainingSettings(RecipeSettings, NoiseSettings, TrainingDataSettings):
    """Training"""

    seed: int = Field(0, description="Seed of initial weights, order, augmentation and noise.", ge=0, lt=2**63)
    precision: str = Field(
        "auto",
        description=f"Precision of training: auto, {', '.join(TRAINING_PRECISIONS)}. auto is bfloat16 where the device "
        "is made for it. (certify has a --precision of its own.)",
    )
    compile: AutoOnOff = Field(
        "auto",
        description="Compile the network with torch.compile: on, off, or auto: on a GPU, for trainings of at least "
        "2 million 32x32 images, counted over all epochs (or as many pixels).",
    )
    threads: int | None = Field(
        None, description="CPU threads of torch in each training process. Default: torch's own choice.", ge=1, le=1024
    )
    device: str = Field("auto", description="auto (a GPU if available), cpu, cuda or cuda:1.")
    workers: int = Field(
        1,
        description="Training processes that share each batch (Ray Train, DistributedDataParallel): one per GPU, or, "
        "without GPUs, one per CPU core.",
        ge=1,
    )
    address: str | None = Field(
        None, description="Ray cluster of --workers, or 'local'. Default: this machine's cluster, else a local one."
    )
    init_weights: PathText | None = Field(
        None, description="Weights to start from; stab+mse and clf+mse need those of mse."
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="Weights to write to --out: of the last epoch, or the best by validation; X.training has both.",
    )
    overwrite: bool = Field(False, description="Replace existing weights of another training.")
    out: OutText = Field(
        description="Weights file to write, X.safetensors; X.training beside it records each epoch: rerun the same "
        "command to resume."
    )


def _no_model_file(name: str) -> str:
    if is_model_file(name):
        raise RaysmoothError(
            f"'{name}': files of other tools are used as they are and not trained here: train that network with its "
            "own tool, on noisy images, or train a denoiser of ours before it (raysmooth train denoiser)"
        )
    return name


class TrainClassifierSettings(TrainingSettings):
    """Classifier"""

    classifier: Annotated[NetworkName, AfterValidator(_no_model_file)] = Field(
        description=f"Classifier: {KNOWN_CLASSIFIERS}."
    )
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    input_size: InputEdge | None = Field(None, description=INPUT_SIZE)
    interpolation: InterpolationName | None = Field(None, description=INTERPOLATION)
    trust_code: bool = trust_code_field()
    objective: str = Field(
        "clean",
        description=f"Objective: {', '.join(CLASSIFIER_OBJECTIVES)}; with options as in consistency:m=4,lambda=10.",
    )
    sigma: Level | None = Field(
        None,
        description=f"{SIGMA}; with objective clean, only for measuring.",
        gt=0,
    )
    data_dependent: str | None = Field(
        None,
        description="A sigma of its own for each training image: after epochs with one sigma for all, steps of "
        "gradient ascent on the image's radius move it before the network learns from it, as in "
        f"{EXAMPLE} (default: a quarter of the epochs, one step). Also learning_rate=1e-4, draws=1, clamp=0.02, least= "
        "and most= (default: a quarter of --sigma, four times it). Held-out images are judged at --sigma.",
    )


def _no_apis(surrogates: list[str]) -> list[str]:
    for surrogate in surrogates:
        refuse_api(surrogate.partition("@")[0], "surrogates are trained through", "--surrogates")
    return surrogates


class TrainDenoiserSettings(TrainingSettings):
    """Denoiser"""

    denoiser: Annotated[str, AfterValidator(_no_model_file)] = Field(
        description=f"Denoiser: {', '.join(DENOISERS)}; with options as in dncnn:depth=7."
    )
    objective: str = Field(description=f"Objective: {', '.join(DENOISER_OBJECTIVES)}.")
    sigma: Level = Field(description=f"{SIGMA}. Required unless --noise has a level.", gt=0)
    classifier: NetworkName | None = Field(
        None,
        description=f"Classifier behind the denoiser (mse needs none): {KNOWN_CLASSIFIERS}. With surrogates it is "
        "only measured, never trained through.",
    )
    classifier_weights: PathText | None = Field(None, description=THEIR_WEIGHTS)
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    input_size: InputEdge | None = Field(None, description=INPUT_SIZE)
    interpolation: InterpolationName | None = Field(None, description=INTERPOLATION)
    trust_code: bool = trust_code_field()
    surrogates: Annotated[list[str], CommaList, AfterValidator(_no_apis)] = Field(
        [],
        description="Black-box access: weights of other classifiers to train through instead, in turn by batch, as "
        "FILE,FILE; ARCHITECTURE@FILE if a file does not name its architecture. Or the folder of a sweep of "
        "classifiers, FOLDER, or FOLDER:K for its first K.",
    )


class TrainRejectorSettings(TrainingSettings):
    """Rejector"""

    rejector: str = Field(
        "network",
        description="Rejector: network; with options as in network:width=16,depth=10 (default: width=64,depth=34).",
    )
    objective: str = Field(
        "disagreement",
        description=f"Objective: {', '.join(REJECTOR_OBJECTIVES)}; with options as in disagreement:T=4,head=noisy: T "
        "noisy copies of each image in a step, and the head that learns from each.",
    )
    sigma: Level = Field(description=f"{SIGMA}. Required unless --noise has a level.", gt=0)
    classifier: NetworkName = Field(description=f"Classifier whose answers are rejected or kept: {KNOWN_CLASSIFIERS}.")
    classifier_weights: PathText | None = Field(None, description=THEIR_WEIGHTS)
    preprocess: str | None = Field(None, description=THEIR_PREPROCESS)
    input_size: InputEdge | None = Field(None, description=INPUT_SIZE)
    interpolation: InterpolationName | None = Field(None, description=INTERPOLATION)
    denoiser: str = Field(
        NO_DENOISER, description=f"Denoiser in front of the classifier: {', '.join(DENOISERS)}, or none."
    )
    denoiser_weights: PathText | None = Field(None, description="Weights of the denoiser.")
    trust_code: bool = trust_code_field()
