"""Certificate rows of small runs with a sigma for each image: searches at several K, an envelope, a memory."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from certificate_rows import run_of

LR = "anchor=off,clamp=0.02,draws=1,gradient=backward,learning_rate=0.0001"
DDRS = f"ddrs:{LR},steps=400"
GRID = "grid:clamp=0.02,draws=20,levels=10"
SELECTOR = "selector:alpha=0.001,bins=0.6+0.9,levels=0.25+0.5+1,n=10000,n0=100"
ENVELOPE = "envelope of 0.25, 0.5, 1"

FIXED, SEARCHED = "0" * 16, "1" * 16

# Of eight images with label 1: right, right, right, right, wrong, abstains, abstains, failed.
OUTCOMES = [(1, 0.5), (1, 0.2), (1, 0.9), (1, 0.1), (2, 0.75), (-1, 0.0), (-1, 0.0), (None, None)]
SIGMAS = (0.3, 0.25, 0.4, 0.0625, 0.35, 0.25, 1.0, None)
"""Two lie at the bounds 0.25 / 4 and 4 * 0.25."""

BEFORE = [(1, 0.4), (1, 0.25), (1, 0.8), (1, 0.1), (2, 0.6), (-1, 0.0), (1, 0.05), (None, None)]
"""With the fixed sigma: of OUTCOMES, images 0 and 2 have a larger radius for their class."""


def fixed_run(run_id: str = FIXED, outcomes: Sequence[tuple[Any, Any]] = BEFORE, **facts: Any) -> pd.DataFrame:
    """A run with one sigma for all images."""
    return run_of(run_id, outcomes, **facts).assign(sigma_rule=None, image_sigma=None, source=None)


def searched_run(
    run_id: str = SEARCHED,
    rule: str = DDRS,
    outcomes: Sequence[tuple[Any, Any]] = OUTCOMES,
    sigmas: Sequence[float | None] = SIGMAS,
    **facts: Any,
) -> pd.DataFrame:
    """A run with the sigmas of a search, which began at 0.25."""
    rows = run_of(run_id, outcomes, **facts)
    return rows.assign(sigma_rule=rule, image_sigma=pd.array(list(sigmas), "Float64"), source=None)


def envelope_run(run_id: str = "e" * 16) -> pd.DataFrame:
    """An envelope of runs at three sigmas, which has none itself, nor counts."""
    rows = searched_run(run_id, ENVELOPE, sigmas=(0.25, 0.5, 1.0, 0.25, 0.5, 0.25, 0.25, None))
    return rows.assign(sigma=float("nan"), source="envelope of 0000000000000000,2222222222222222")


def memory_run(run_id: str = "f" * 16) -> pd.DataFrame:
    """The run SEARCHED after the memory: its fourth image is in the ball of another class."""
    adjusted = [*OUTCOMES[:3], (2, 0.05), *OUTCOMES[4:]]
    return searched_run(run_id, outcomes=adjusted).assign(source=f"memory of {SEARCHED}")


def of_steps(*numbers: int, sigma: float = 0.25) -> list[pd.DataFrame]:
    """A run for each number of steps of one search: radii grow by a hundredth for each hundred steps, up to the last
    right image, which is lost after 200.
    """
    runs = []
    for steps in numbers:
        longer = [(1, 0.4 + steps / 10_000), (1, 0.2 + steps / 10_000), (1, 0.9), (1, 0.1) if steps <= 200 else (-1, 0)]
        outcomes = [*longer, *OUTCOMES[4:]]
        rule = f"ddrs:{LR},steps={steps}"
        runs.append(searched_run(f"{steps:03d}{sigma:g}".ljust(16, "a"), rule, outcomes, sigma=sigma))
    return runs
