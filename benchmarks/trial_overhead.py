"""The overhead of a trial in a sweep: seconds from the end of one to the first step of the next.

    python benchmarks/trial_overhead.py [--trials 6]

Classifiers of the digits, one after the other, on a local Ray cluster. The first trial starts with Ray Tune.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from raysmooth.common.settings import checked
from raysmooth.tune.sweeps import progress as sweep_progress
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.sweeps.sweep import run_sweep


class Clock:
    """The end of each trial, and the time of its first step: a report's time less that of its one epoch."""

    def __init__(self) -> None:
        self.first_steps: list[float] = []
        self.ends: list[float] = []

    def trial_validated(self, trial_id: str, metrics: Mapping[str, Any]) -> None:
        self.first_steps.append(monotonic() - metrics["steps"] * BATCH / metrics["images_per_second"])

    def trials_changed(self, trials: Mapping[str, tuple[str, float, Mapping[str, Any]]]) -> None:
        ended = sum(status == "TERMINATED" for status, *_ in trials.values())
        self.ends += [monotonic()] * (ended - len(self.ends))


BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=6)
    arguments = parser.parse_args()
    clock = Clock()
    sweep_progress.OBSERVERS.append(clock)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "train": "classifier",
            "settings": {"dataset": "digits", "classifier": "digits_cnn", "epochs": 1, "batch_size": BATCH},
            "seeds": list(range(arguments.trials)),
            "max_concurrent_trials": 1,
            "address": "local",
            "out": str(Path(folder) / "sweep"),
        }
        began = monotonic()
        run_sweep(checked(SweepSettings, settings), show=False)
    print(f"first trial: {clock.first_steps[0] - began:.1f} s from the call, including Ray's start")
    gaps = [step - end for step, end in zip(clock.first_steps[1:], clock.ends, strict=False)]
    print(f"others: {median(gaps):.2f} s (median of {len(gaps)}; {min(gaps):.2f} to {max(gaps):.2f})")


if __name__ == "__main__":
    main()
