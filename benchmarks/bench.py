"""Speed of certifying, against a reference loop, a toolbox and the limit; scaling; start-up:

    make bench DATA=data

DATA holds `mnist`, `cifar10-jpeg` and `imagenet-val-100`, each in the layout of its data set (README, "Data sets"). The
tables are printed, and written to benchmarks/results/speed.md if all sections are run in full.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import pandas as pd
import psutil
import torch
from networks import CPU_NETWORKS, GPU_NETWORKS, Subject, subject
from reference_loop import Bystanders, Peer, ReferenceLoop, Toolbox, at_its_best
from startup import describe, startup, watch

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.replica.replica import device_kind
from raysmooth.common.errors import RaysmoothError

RESULTS = Path(__file__).parent / "results" / "speed.md"
CORES = len(os.sched_getaffinity(0))
SECTIONS = {
    "speed": "Draws a second",
    "startup": "From the command to the first certificate",
    "scaling": "More replicas",
    "growth": "More images",
}
PEERS: dict[str, tuple[str, Callable[[Subject, torch.device], Peer]]] = {
    "reference": ("reference loop", ReferenceLoop),
    "art": ("ART", Toolbox),
}
TEST_SET = 500
"""Images in the papers' tables: every 20th of CIFAR-10, every 100th of ImageNet."""

NOTES = {
    "speed": """\
Medians of {rounds} rounds in which all take turns; a ratio is the median of the ratios within a round.

* **raysmooth**: the whole `raysmooth certify` command with {replicas} on a Ray of its own, alpha = 0.001, a new folder
  each time. Draws/s are over the time of drawing, n0 and n, its images, counts and files included. {computing}
* **limit**: forward passes of the network that raysmooth computed in, on ready-made noisy batches, in as many
  processes as replicas, at once. No noise is made, nothing counted.
* **reference loop**: CERTIFY as published with Cohen et al. 2019: one image at a time, copies, `randn_like`, float32,
  eager, a Python loop over the labels; at its best batch size and number of threads, found first.
* **ART**: `PyTorchRandomizedSmoothing.certify` of adversarial-robustness-toolbox, at its best in the same way.""",
    "startup": """\
Seconds: `mnist_cnn`, 20 MNIST images, n = 10,000, medians of {starts} fresh commands each. `auto` computes so small a
run without compiling; "for the first time" finds an empty folder of compiled code.""",
    "scaling": "Replicas that sleep instead of computing (`benchmarks/pool_overhead.py`), equal work for each.",
    "growth": "The same replicas, ever more images with n = 1,000.",
}
_COMPUTING = {
    "test-set": f"Precision, compilation and batch size are what auto chooses for {TEST_SET} images, given as flags.",
    "auto": "Precision, compilation and batch size are what auto chose for these few images.",
}


def speed(given: argparse.Namespace, folder: Path, device: torch.device) -> list[pd.DataFrame]:
    """Two tables, one row per network: ratios to all competitors, and the commands' times."""
    ratios: list[dict[str, Any]] = []
    commands: list[dict[str, Any]] = []
    places = ["cpu"] * given.replicas if device.type == "cpu" else [f"cuda:{i}" for i in range(given.replicas)]
    with Bystanders(places) as bystanders:
        for network in GPU_NETWORKS if device.type == "cuda" else CPU_NETWORKS:
            if given.networks and network.classifier not in given.networks:
                continue
            chosen = subject(network.quick if given.quick else network, given.data, folder)
            ratios_, command = _compare(given, chosen, bystanders, device)
            ratios += ratios_
            commands.append(command)
    return [pd.DataFrame(ratios), pd.DataFrame(commands)]


def _compare(
    given: argparse.Namespace, chosen: Subject, bystanders: Bystanders, device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    network, work = chosen.network, chosen.network.ours
    arguments = [*chosen.flags, "--max", str(work.images), "--n0", str(work.n0), "--n", str(work.n),
                 "--replicas", str(given.replicas), *_how(given.compile, chosen, bystanders)]  # fmt: skip
    cores = CORES if device.type == "cpu" else 1
    peers = {key: at_its_best(make, chosen, device, cores) for key, (_, make) in PEERS.items()}
    runs, rates = [], []
    for turn in range(given.rounds):
        run = watch(arguments)
        others = {"limit": bystanders.limit(chosen, run.compute, given.limit_seconds)}
        others |= {key: peer.rate() for key, peer in peers.items()}
        runs.append(run)
        rates.append(others)
        theirs = ", ".join(f"{key} {_figure(rate)}" for key, rate in others.items())
        _note(f"{network.name}, round {turn + 1}: {_figure(run.draws_per_second)} in {describe(run.compute)}; {theirs}")
    ours = median(run.draws_per_second for run in runs)
    ratios = []
    for key in ("limit", *PEERS):
        ratio = median(run.draws_per_second / others[key] for run, others in zip(runs, rates, strict=True))
        target = network.targets.get(key)
        ratios.append(
            {
                "network": network.name,
                "raysmooth, draws/s": _figure(ours),
                "against": key if key == "limit" else f"{PEERS[key][0]}, {peers[key]}",
                "draws/s": _figure(median(others[key] for others in rates)),
                "ratio": f"{ratio:.2f}",
                "at least": f"{target:g}" if target else "",
                "met": ("yes" if ratio >= target else "NO") if target else "",
            }
        )
    command = {
        "network": network.name,
        "computed in": "; ".join(dict.fromkeys(describe(run.compute) for run in runs)),
        "images": f"{work.images}",
        "n0 + n": f"{work.n0} + {work.n:,}",
        "draws/s": _figure(ours),
        "first certificate, s": f"{median(run.first for run in runs):.1f}",
        "drawing, s": f"{median(run.drawing[0] for run in runs if run.drawing):.1f}",
        "whole command, s": f"{median(run.whole for run in runs):.1f}",
    }
    if given.peak_tflops:
        peak = given.peak_tflops * 1e12 * given.replicas
        command["of the peak"] = f"{ours * chosen.operations() / peak:.1%}"
    return ratios, command


def _how(asked: str, chosen: Subject, bystanders: Bystanders) -> list[str]:
    """Flags of `certify` for precision, compilation and batch size."""
    if asked != "test-set":
        return ["--compile", asked]
    compute: ComputeConfig = bystanders.choose(chosen, TEST_SET)
    return ["--precision", compute.precision, "--compile", "on" if compute.compiled else "off",
            "--batch-size", str(compute.batch_size)]  # fmt: skip


def overhead(section: str, given: argparse.Namespace) -> list[pd.DataFrame]:
    """A table of `pool_overhead.py`, run in a process of its own, since it reports the driver's memory."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        table = pool.submit(_overhead, section, given.data / "mnist").result()
    return [table.map(lambda value: f"{value:.3f}" if isinstance(value, float) else value)]


def _overhead(section: str, data_root: Path) -> pd.DataFrame:
    import pool_overhead

    pool_overhead.begin()
    table: pd.DataFrame = getattr(pool_overhead, section)(data_root)
    return table


def circumstances(device: torch.device) -> str:
    """Machine, versions, commit and command, with which a reader can repeat the measurement."""
    packages = ("torch", "ray", "numpy", "adversarial-robustness-toolbox")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    memory = psutil.virtual_memory().total / 2**30
    commit, changed = (
        subprocess.run(["git", *asked], cwd=RESULTS.parent, capture_output=True, text=True).stdout.strip()
        for asked in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    given = sys.argv[1:]
    place = given.index("--data")
    del given[place : place + 2]
    flags = f' BENCH="{" ".join(given)}"' if given else ""
    return (
        f"{device_kind(device)}, {CORES} cores, {memory:.0f} GiB; Python {platform.python_version()}, {versions}; "
        f"commit {commit or 'unknown'}{' with changes' if changed else ''}.\n\n"
        f"```bash\nmake bench DATA=data{flags}\n```"
    )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder that holds mnist, cifar10-jpeg and imagenet-val-100")
    parser.add_argument("--sections", default=",".join(SECTIONS), help="sections to run, such as speed,startup")
    parser.add_argument("--networks", default="", help="only these classifiers, such as mnist_cnn,lenet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replicas", type=int, help="default: one for each GPU, else for each core")
    parser.add_argument(
        "--compile", default="test-set", choices=["test-set", "auto", "on", "off"],
        help=f"test-set: what auto chooses for {TEST_SET} images; otherwise passed to certify, which chooses the rest",
    )  # fmt: skip
    parser.add_argument("--limit-seconds", type=float, default=8.0, help="seconds of measuring the limit in each round")
    parser.add_argument("--starts", type=int, default=3, help="fresh commands of each kind in the start-up section")
    parser.add_argument("--peak-tflops", type=float, help="a GPU's peak in bfloat16, to print the share of it")
    parser.add_argument("--quick", action="store_true", help="two rounds with a tenth of the draws")
    parser.add_argument("--out", type=Path, help="results file. Default: none, unless all sections run in full")
    given = parser.parse_args()
    if not given.data:
        parser.error("write make bench DATA=FOLDER, a folder that holds mnist, cifar10-jpeg and imagenet-val-100")
    given.data = Path(given.data).resolve()
    given.sections = given.sections.split(",")
    if unknown := [name for name in given.sections if name not in SECTIONS]:
        parser.error(f"--sections {unknown[0]}: write one or more of {','.join(SECTIONS)}")
    given.networks = [name for name in given.networks.split(",") if name]
    if given.quick:
        given.rounds, given.limit_seconds, given.starts = 2, 3.0, 1
    whole = not given.quick and not given.networks and given.sections == list(SECTIONS)
    given.out = given.out or (RESULTS if whole else None)
    return given


def measured(section: str, given: argparse.Namespace, folder: Path, device: torch.device) -> list[pd.DataFrame]:
    if section == "speed":
        return speed(given, folder, device)
    if section == "startup":
        return [startup(subject(CPU_NETWORKS[0], given.data, folder), given.replicas, given.starts)]
    return overhead(section, given)


def main() -> None:
    given, began = parsed(), monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    given.replicas = given.replicas or (torch.cuda.device_count() if device.type == "cuda" else CORES)
    parts = [circumstances(device)]
    with tempfile.TemporaryDirectory() as folder:
        for section in given.sections:
            _note(f"{SECTIONS[section]} ...")
            tables = measured(section, given, Path(folder), device)
            notes = NOTES[section].format(
                rounds=given.rounds, starts=given.starts, computing=_COMPUTING.get(given.compile, ""),
                replicas=f"{given.replicas} replica{'s' * (given.replicas > 1)}",
            )  # fmt: skip
            parts += [f"## {SECTIONS[section]}", notes]
            parts += [table.to_markdown(index=False, disable_numparse=True) for table in tables]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if given.out:
        given.out.write_text(text)
    _note(f"total {monotonic() - began:.0f} s{f'; written: {given.out}' if given.out else ''}")


def _figure(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except RaysmoothError as refusal:
        sys.exit(f"bench: {refusal}")
