"""Which images a run's numbers are about, in words that stand beside them."""

import re

import pandas as pd

from actors.refusal import Refusal
from pipeline.one_run import shared


def is_subset(rows: pd.DataFrame) -> bool:
    """Whether the rows of one run are known to be fewer than its data set's images: chosen so, or not finished yet."""
    index_set, images = shared(rows, "index_set"), shared(rows, "images")
    chosen = index_set is not None and not re.fullmatch(r"all \d+", index_set)
    return chosen or (images is not None and len(rows) < images)


def sample_words(rows: pd.DataFrame) -> str:
    """A line for wherever the numbers of one run are shown: which images they are of, and whom intervals are for.

    Such as 'a subset of cifar10, test split: every 20th of 10000 (500 images), 427 of them so far; intervals are for
    images like these'. Raises Refusal if there are no rows, or those of several runs.
    """
    if rows.empty:
        raise Refusal("no certificate rows to describe: give the rows of a run that has finished an image")
    shared(rows, "run_id")
    dataset, split = shared(rows, "dataset"), shared(rows, "split")
    index_set, images = shared(rows, "index_set"), shared(rows, "images")
    source = (dataset or "an unknown data set") + (f", {split} split" if split is not None else "")
    which = index_set if index_set is not None else f"{len(rows)} images, unknown which"
    if images is not None and len(rows) < images:
        which += f", {len(rows)} of them so far"
    words = f"a subset of {source}: {which}" if is_subset(rows) else f"{source}: {which}"
    return f"{words}; intervals are for images like these"
