"""Training images per second of raysmooth's loop against a plain float32 loop of the same model and batch:

    python benchmarks/training_speed.py --data-root DATA --rounds 3

DnCNN (17 layers) with the MSE objective at sigma 0.25 on CIFAR-10 at 32x32, batch 256, Adam, on the data set
`cifar10-jpeg`. The plain loop is hand-written: float32, contiguous images, eager, the same crop, flip and noise. All
run in this process on the same images, alternating; medians are printed and written to benchmarks/results.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import pandas as pd
import torch

from raysmooth.actors.models.networks.dncnn import DnCNN
from raysmooth.tune.data.augment import AUGMENTATIONS, Augmentation
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.objective import parse_objective
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.precision import settled_precision
from raysmooth.tune.recipes.recipes import RECIPES
from raysmooth.tune.recipes.settings import TrainDenoiserSettings
from raysmooth.tune.training.progress_bar import EpochProgress
from raysmooth.tune.training.trainer import Trainer, initialised
from raysmooth.tune.training.training_data import Images, read_training_data

SIGMA = 0.25
BATCH = 256


def plain_loop(images: Images, device: torch.device) -> float:
    """Seconds of an epoch of a hand-written loop."""
    torch.manual_seed(0)
    denoiser = DnCNN().to(device)
    optimizer = torch.optim.Adam(denoiser.parameters(), 1e-3, weight_decay=1e-4)
    clean = torch.cat([batch for batch, _ in images.in_order(BATCH)]).contiguous()
    augment = AUGMENTATIONS["crop-flip"]
    assert isinstance(augment, Augmentation)
    generator = torch.Generator().manual_seed(0)
    began = perf_counter()
    for chosen in torch.randperm(len(clean)).split(BATCH):
        batch = augment(clean[chosen.to(device)], generator)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(denoiser(batch + SIGMA * torch.randn_like(batch)), batch)
        loss.backward()
        optimizer.step()
        loss.item()
    return perf_counter() - began


def our_loop(images: Images, device: torch.device, precision: str, compiled: bool) -> float:
    """Seconds of an epoch of raysmooth's loop; with `compiled`, of the second epoch."""
    denoiser = initialised(DnCNN, 0).to(device, memory_format=torch.channels_last)
    _, _, objective = parse_objective("mse", DENOISER_OBJECTIVES)
    trainer = Trainer(
        InPrecision(denoiser, device, precision, compiled),
        lambda network, clean, labels, noise, epoch, step: objective(network, network, clean, labels, noise),
        images, TrainingNoise("gaussian", SIGMA, device), RECIPES["salman2020-cifar10-mse"], 0, "dncnn mse",
    )  # fmt: skip
    with EpochProgress("dncnn mse", 90, len(images), show=False) as progress:
        if compiled:
            trainer.train_epoch(progress)
        return len(images) / trainer.train_epoch(progress).images_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder of the data set cifar10-jpeg")
    parser.add_argument("--images", type=int, default=1137, help="images; nine tenths of them are an epoch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    best = settled_precision("auto", device)
    settings = TrainDenoiserSettings(
        dataset="cifar10-jpeg", data_root=given.data_root, max=given.images, denoiser="dncnn", objective="mse",
        sigma=SIGMA, out="unused.safetensors",
    )  # fmt: skip
    images = read_training_data(settings, "crop-flip", device).train
    if len(images) % BATCH:
        raise SystemExit(f"{len(images)} images are not a multiple of the batch, {BATCH}: write --images 568 or 1137")
    loops: dict[str, Callable[[], float]] = {
        "plain float32 loop": lambda: plain_loop(images, device),
        "raysmooth, float32": lambda: our_loop(images, device, "float32", False),
        f"raysmooth, auto ({best})": lambda: our_loop(images, device, best, False),
        f"raysmooth, {best}, --compile on": lambda: our_loop(images, device, best, True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(given.rounds):
        for name, loop in loops.items():
            seconds[name].append(loop())
    plain = seconds["plain float32 loop"]
    rows = [
        {
            "loop": name,
            "images/s": f"{len(images) / median(took):.0f}",
            "times the plain loop": f"{median(p / t for p, t in zip(plain, took, strict=True)):.2f}",
        }
        for name, took in seconds.items()
    ]
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    text = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    caption = (
        f"DnCNN, MSE, 32x32, batch {BATCH}, an epoch of {len(images)} images on {machine} with "
        f"{torch.get_num_threads()} threads: medians of {given.rounds} alternating rounds.\n\n```bash\n"
        f"python benchmarks/training_speed.py --data-root DATA --images {given.images} --rounds {given.rounds}\n```"
    )
    (Path(__file__).parent / "results" / "training-speed.md").write_text(f"{caption}\n\n{text}\n")
    print(f"{caption}\n\n{text}")


if __name__ == "__main__":
    main()
