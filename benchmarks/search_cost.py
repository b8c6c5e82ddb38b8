"""What a step of a search of noise levels costs, in draws of a run that certifies.

    python benchmarks/search_cost.py --out benchmarks/results/search-cost.md

One core, one replica's computations without Ray: `steps` steps of ddrs for a batch of images, in each of the three ways
to differentiate, and as many draws of the same network in float32 and, where the processor has it, bfloat16. Times are
of the processor, so that other work on the machine counts little; the least of several is taken. Weights are random: no
time depends on them.
"""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path
from time import process_time

import torch

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import DenoisedClassifier
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.search_unit import search
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.actors.sigma_search.search_network import SearchNetwork
from raysmooth.actors.sigma_search.search_options import GRADIENTS
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.variant import Variant

CPU, NOISE, PAPERS_STEPS, PAPERS_DRAWS = torch.device("cpu"), Gaussian(0.25), 900, 100_000
ROUNDS = 8


def least(compute: Callable[[], object]) -> float:
    """Seconds of the processor."""
    compute()
    times = []
    for _ in range(ROUNDS):
        started = process_time()
        compute()
        times.append(process_time() - started)
    return min(times)


def costs(name: str, shape: tuple[int, int, int], batch: int, steps: int) -> dict[str, float]:
    """Seconds of a draw in each precision and of a step in each way, for one image."""
    model = DenoisedClassifier(None, torch.nn.Identity(), build_classifier(Variant.parse(name)))
    model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    images = {place: image.numpy() for place, image in enumerate(torch.rand(batch, *shape))}
    settings = {"seed": 0, "batch_size": batch, "micro_batch": batch, "device": CPU}
    found = {}
    for precision in ("float32", "bfloat16"):
        network = fast_network(model, ComputeConfig(precision, False, batch), CPU)
        unit = WorkUnit(0, Role.ESTIMATION, (Block(0, 0, batch * steps),))
        seconds = least(lambda network=network, unit=unit: draw(unit, images, network, NOISE, **settings))
        found[f"draw, {precision}"] = seconds / batch / steps
    for way in GRADIENTS:
        written, options = read_search(f"ddrs:steps={steps},gradient={way}")
        unit = WorkUnit(0, Role.OPTIMISATION, tuple(Block(place, 0, options.passes) for place in images))
        given = unit, images, SearchNetwork(model, options), NOISE, written.name, options
        found[f"step, {way}"] = least(lambda given=given: search(*given, **settings)) / batch / steps
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# The cost of a search of noise levels",
        "",
        f"`python benchmarks/search_cost.py --steps {chosen.steps}`, one core of {platform.machine()}, torch "
        f"{torch.__version__}, batches of {chosen.batch}. Share: {PAPERS_STEPS} steps, of {PAPERS_DRAWS:,} draws.",
        "",
        "| network | what | µs | draws, float32 | draws, bfloat16 | share, float32 | share, bfloat16 |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, shape in (("lenet", (1, 28, 28)), ("mnist_cnn", (1, 28, 28))):
        found = costs(name, shape, chosen.batch, chosen.steps)
        for what, seconds in found.items():
            draws = [seconds / found[f"draw, {precision}"] for precision in ("float32", "bfloat16")]
            shares = [
                f"{100 * PAPERS_STEPS * one / PAPERS_DRAWS:.1f} %" if what.startswith("step") else "" for one in draws
            ]
            cells = [name, what, f"{1e6 * seconds:.0f}", *(f"{one:.2f}" for one in draws), *shares]
            lines.append(f"| {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if chosen.out is not None:
        chosen.out.write_text(text)


if __name__ == "__main__":
    main()
