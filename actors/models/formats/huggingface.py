"""Image classifiers in folders of Hugging Face transformers: local files and safetensors, no code of theirs, no hub."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from raysmooth.actors.models.formats.hf_processor import UnknownStep, read_processor
from raysmooth.actors.models.formats.model_folder import CONFIG, PROCESSOR, refuse_bad_folder
from raysmooth.actors.models.formats.readers import FileNetwork
from raysmooth.actors.models.weight_paths import local_weights
from raysmooth.common.errors import RaysmoothError, counted, one_line, printable
from raysmooth.common.variant import Variant
from raysmooth.storage.records import shown_path


class HuggingFaceClassifier(torch.nn.Module):
    """Normalised pixels (B, C, H, W) -> the logits (B, K) of `network`, a model of transformers."""

    def __init__(self, network: torch.nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.num_classes = num_classes

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(pixel_values=pixels).logits
        return logits


def read_classifier(architecture: Variant, path: str) -> FileNetwork:
    """The classifier in the folder at `path`, or below a URL of an object store, on the CPU in float32.

    Raises RaysmoothError for options, for a folder that `refuse_bad_folder` refuses, for a model that is
    no image classifier or that transformers does not know, and for weights that are missing, do not fit or are not
    finite.
    """
    if architecture.options:
        raise RaysmoothError(f"classifier '{architecture}': hf takes no options: write hf:FOLDER")
    folder = local_weights(path)
    shown = f"hf:{shown_path(path)}"
    settings = refuse_bad_folder(folder)
    transformers = _transformers()
    with _quiet_and_offline(transformers):
        network = _network(transformers, folder, shown)
        channels = int(getattr(network.config, "num_channels", None) or 3)
        preprocess, resizing, unsaid = _images(transformers, folder, shown, channels)
    names = network.config.id2label or {}
    kind = str(settings.get("model_type", "model"))
    about = [f"{shown} ({kind}, {counted(sum(one.numel() for one in network.parameters()), 'parameter')})"]
    if getattr(network.config, "problem_type", None) == "multi_label_classification":
        about.append("trained for several labels an image: its label is that of the largest logit")
    classes = int(network.config.num_labels)
    return FileNetwork(
        HuggingFaceClassifier(network, classes).eval(),
        preprocess=preprocess,
        resizing=resizing,
        unsaid=unsaid,
        class_names=tuple(printable(str(names.get(label, label))) for label in range(classes)),
        about=tuple(about),
    )


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise RaysmoothError(f"hf:FOLDER needs transformers ({one_line(error)}): pip install 'raysmooth[hf]'") from None
    return transformers


def _network(transformers: Any, folder: Path, shown: str) -> Any:
    try:
        network, loading = transformers.AutoModelForImageClassification.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # of bad settings and weights transformers raises nearly anything
        raise RaysmoothError(f"{shown} cannot be loaded: {_plain(error)}: give an image classifier") from error
    for what, keys in (("lacks", loading["missing_keys"]), ("has other shapes of", loading["mismatched_keys"])):
        if keys:
            first = printable(str(next(iter(sorted(keys, key=str)))))
            raise RaysmoothError(
                f"{shown}: the file of weights {what} {first} ({len(keys)} in all): give the weights of this {CONFIG}"
            )
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RaysmoothError(f"{shown}: {printable(key)} has values that are not finite: fetch the weights again")
    return network


def _images(transformers: Any, folder: Path, shown: str, channels: int) -> tuple[str | None, str | None, str]:
    """Normalisation and resizing, and what to say where the folder does not tell them."""
    write = "write --preprocess and --input-size (in the data's own pixels: 32 for CIFAR-10 leaves images as they are)"
    if not (folder / PROCESSOR).is_file():
        return None, None, f"{shown}: no {PROCESSOR} in it, which says how images are resized and normalised: {write}"
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        return *read_processor(processor, channels), ""
    except UnknownStep as step:
        return None, None, f"{shown}: {step}, which has no layer here: {write}"
    except RaysmoothError as refusal:
        raise RaysmoothError(f"{shown}: {refusal}") from None
    except Exception as error:  # as for networks
        return None, None, f"{shown}: {PROCESSOR} cannot be read ({_plain(error)}): {write}"


def _plain(error: Exception) -> str:
    return one_line(error, whole=True)


@contextmanager
def _quiet_and_offline(transformers: Any) -> Iterator[None]:
    """Without progress bars, warnings and the hub. What the program around had chosen holds again afterwards."""
    from huggingface_hub import constants

    logging = transformers.utils.logging
    verbosity, bars, online = logging.get_verbosity(), logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        constants.HF_HUB_OFFLINE = online
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
