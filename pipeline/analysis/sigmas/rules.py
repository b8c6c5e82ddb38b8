"""Rules by which images get their sigma, as in the column `sigma_rule`, and what runs with such a rule state."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Option, Variant
from raysmooth.pipeline.analysis.metrics import FIXED_SIGMA
from raysmooth.pipeline.analysis.sigmas.limits import is_of_memory, is_per_image
from raysmooth.pipeline.store.sigma_rules import envelope_levels

SELECTOR = "selector"
"""The name of the rule of a certified selector."""

JOINED = ("envelope", "worst")
"""Names of the rules of runs that join others at several sigmas, and so have none themselves."""

ONE_CLASSIFIER, PER_IMAGE, LATER_QUERIES = "one classifier", "a classifier for each image", "later queries"
"""What the certificates of a run are about; accuracies are comparable between runs that are about the same."""

ABOUT = (ONE_CLASSIFIER, PER_IMAGE, LATER_QUERIES)
"""From the strongest statement to the weakest."""


@dataclass(frozen=True)
class SigmaRule:
    """A rule's `name`, FIXED_SIGMA, one of JOINED or that of a search, and its `options`."""

    name: str
    options: Mapping[str, Option]


@cache
def read_rule(text: str) -> SigmaRule:
    """The rule in a value of the column `sigma_rule`; a text of another form is a rule without options."""
    if levels := envelope_levels(text):
        return SigmaRule(text.partition(" ")[0], {"levels": ", ".join(f"{level:.15g}" for level in levels)})
    try:
        found = Variant.parse(text)
    except RaysmoothError:
        return SigmaRule(text, {})
    return SigmaRule(found.name, dict(found.options))


def steps_of(text: str) -> float:
    """The number of steps that a search made, NaN for a rule without steps."""
    steps = read_rule(text).options.get("steps")
    return float(steps) if isinstance(steps, int | float) else np.nan


def without_steps(text: str) -> str:
    """A rule without its number of steps: equal for the same search at any of them."""
    rule = read_rule(text)
    return str(Variant(rule.name, tuple((key, value) for key, value in rule.options.items() if key != "steps")))


def statements(runs: pd.DataFrame) -> pd.Series:
    """What the certificates of runs are about, one of ABOUT, by their columns `sigma_rule` and `source`; str."""
    each = runs["sigma_rule"].map(lambda rule: rule != FIXED_SIGMA and is_per_image(rule)).astype(bool)
    about = pd.Series(np.where(each, PER_IMAGE, ONE_CLASSIFIER), runs.index)
    memory = runs["source"].map(lambda source: isinstance(source, str) and is_of_memory(source))
    return about.mask(memory.astype(bool), LATER_QUERIES)
