"""Draws per second of the same network in several forms: as a torch module, and as an ONNX file.

    python benchmarks/model_forms.py --seconds 2 --rounds 7

Each form is computed as a replica computes it (noise, network, counts), in float32 and not compiled, in batches of the
size given; the forms take turns, and medians over the rounds are printed, as Markdown.
"""

import argparse
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import onnxruntime
import torch

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.compute.probe import measure
from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.formats.onnx_options import OnnxOptions
from raysmooth.actors.models.formats.onnx_session import read_classifier
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.variant import Variant

NETWORKS = {
    "digits_cnn": ("digits_cnn", (1, 8, 8), 1000),
    "lenet": ("lenet", (1, 28, 28), 250),
    "cifar_resnet18": ("cifar_resnet18", (3, 32, 32), 50),
}
"""Architecture, shape of images, batch size."""

Form = Callable[[torch.nn.Module, tuple[int, ...], int, Path], object]


def as_module(network: torch.nn.Module, shape: tuple[int, ...], batch: int, folder: Path) -> torch.nn.Module:
    return network


def as_onnx(network: torch.nn.Module, shape: tuple[int, ...], batch: int, folder: Path) -> object:
    return _exported(network, shape, folder / "free.onnx", 2, {"images": {0: "n"}, "logits": {0: "n"}})


def as_fixed_onnx(network: torch.nn.Module, shape: tuple[int, ...], batch: int, folder: Path) -> object:
    return _exported(network, shape, folder / "fixed.onnx", 1, {})


def _exported(
    network: torch.nn.Module, shape: tuple[int, ...], file: Path, batch: int, free: dict[str, dict[int, str]]
) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is an older one
        torch.onnx.export(
            network, (torch.zeros(batch, *shape),), file, dynamo=False, input_names=["images"], output_names=["logits"],
            dynamic_axes=free,
        )  # fmt: skip
    return read_classifier(str(file), OnnxOptions())


FORMS: dict[str, Form] = {
    "torch module": as_module,
    "ONNX, any batch": as_onnx,
    "ONNX, batches of one": as_fixed_onnx,
}


def compare(name: str, seconds: float, rounds: int) -> list[str]:
    """Rows of the table: a form each, with its draws per second and how many times as fast as the module it is."""
    architecture, shape, batch = NETWORKS[name]
    torch.manual_seed(0)
    network = build_classifier(Variant.parse(architecture)).eval()
    compute, device = ComputeConfig("float32", False, batch), torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        forms = {}
        for form, make in FORMS.items():
            classifier = make(network, shape, batch, Path(folder))
            model = DenoisedClassifier(None, torch.nn.Identity(), classifier).eval().requires_grad_(False)
            forms[form] = fast_network(model, compute, device)
        found: dict[str, list[float]] = {form: [] for form in forms}
        for _ in range(rounds):
            for form, fast in forms.items():
                found[form].append(measure(fast, compute, shape, Gaussian(0.25), device, seconds))
    base = found["torch module"]
    return [
        f"| {name} | {form} | {batch} | {median(rates):,.0f} | "
        f"{median(rate / one for rate, one in zip(rates, base, strict=True)):.2f} |"
        for form, rates in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="time of each measurement")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    given = parser.parse_args()
    started = time.strftime("%Y-%m-%d")
    print(
        f"{started}, {torch.get_num_threads()} threads of {platform.machine()}, torch {torch.__version__}, onnxruntime "
        f"{onnxruntime.__version__}\n\n| network | form | batch | draws/s | of the module's |\n|---|---|--:|--:|--:|"
    )
    for name in given.networks.split(","):
        print("\n".join(compare(name, given.seconds, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
