"""Noise levels in words: the sigma of a run, the rule by which its images get theirs, and what such a run states."""

import pandas as pd

from raysmooth.common.variant import Option
from raysmooth.pipeline.analysis.metrics import FIXED_SIGMA
from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.analysis.sigmas.limits import MEMORY, PER_IMAGE
from raysmooth.pipeline.analysis.sigmas.rules import (
    JOINED,
    LATER_QUERIES,
    ONE_CLASSIFIER,
    SELECTOR,
    read_rule,
)
from raysmooth.pipeline.analysis.sigmas.rules import PER_IMAGE as A_CLASSIFIER_EACH

FIXED_WORDS = "fixed sigma"
"""The rule of a run with one sigma for all images."""

SEVERAL = "several sigmas"
"""Stands for the sigma of an envelope."""

SELECTED = "A certified selector's radius holds for one classifier, which chooses the level again for every input."

_NAMES = {FIXED_SIGMA: FIXED_WORDS, "ddrs": "DDRS", "grid": "grid search", SELECTOR: "certified selector"}
"""Words for the names of rules."""


def short_rules(runs: pd.DataFrame) -> pd.Series:
    """Each run's rule in a few words: its name, the number of its steps, and the options in which rules of this name
    differ; str, by run_id.
    """
    shared = _shared_options(runs)
    return runs["sigma_rule"].map(lambda text: _short(text, shared[read_rule(text).name]))


def _short(text: str, shared: dict[str, Option]) -> str:
    rule = read_rule(text)
    if rule.name in JOINED:
        return text
    steps = [f"K={rule.options['steps']}"] if "steps" in rule.options else []
    own = [f"{key}={value}" for key, value in rule.options.items() if key not in shared and key != "steps"]
    return " ".join([_NAMES.get(rule.name, rule.name), *filter(None, [", ".join([*steps, *own])])])


def _shared_options(runs: pd.DataFrame) -> dict[str, dict[str, Option]]:
    """By the name of a rule: the options that all rules of this name share."""
    shared: dict[str, dict[str, Option]] = {}
    for rule in map(read_rule, runs["sigma_rule"].unique()):
        known = shared.setdefault(rule.name, dict(rule.options))
        shared[rule.name] = {key: value for key, value in known.items() if rule.options.get(key) == value}
    return shared


def _name_of(text: str) -> str:
    return read_rule(text).name


def rules_in_full(runs: pd.DataFrame) -> list[str]:
    """How images get their sigma, for a caption: the rule that all runs share or, of several, the searches with the
    options that `short_rules` leaves out. Nothing of fixed sigmas.
    """
    if not varies(rules := runs["sigma_rule"]) and (rule := read_rule(rules.iloc[0])).name in JOINED:
        return [f"{rule.name} of sigma {rule.options['levels']}"]
    searches = []
    for name, options in _shared_options(runs).items():
        if name in (FIXED_SIGMA, *JOINED):
            continue
        words = [f"{'K' if key == 'steps' else key}={value}" for key, value in options.items()
                 if key != "steps" or not varies(rules)]  # fmt: skip
        searches.append(f"{_NAMES.get(name, name)} ({', '.join(words)})" if words else _NAMES.get(name, name))
    joined = dict.fromkeys(name for name in map(_name_of, rules) if name in JOINED)
    more = [f"{' and '.join(joined)} with the draws of all their runs"] if joined and len(joined) < len(rules) else []
    return [*([f"sigma of each image by {', '.join(searches)}"] if searches else []), *more]


def what_they_state(runs: pd.DataFrame) -> list[str]:
    """Sentences, with a full stop, on what certificates with a sigma for each image, or of a memory, are about; none
    where all runs are about one classifier with one sigma.
    """
    names, about, sentences = runs["sigma_rule"].map(lambda rule: read_rule(rule).name), runs["about"], []
    each = about == A_CLASSIFIER_EACH
    if each.all():
        sentences.append(PER_IMAGE)
    elif each.any():
        which = " and ".join(_NAMES.get(name, name) for name in names[each].unique())
        sentences.append(f"{which[0].upper()}{which[1:]}: {PER_IMAGE[0].lower()}{PER_IMAGE[1:]}")
    if ((names == SELECTOR) & (about == ONE_CLASSIFIER)).any():
        sentences.append(SELECTED)
    if (about == LATER_QUERIES).any():
        sentences.append(MEMORY)
    return sentences


def with_sigma(name: str, sigma: float) -> str:
    """A run's name and its sigma, "fixed sigma 0.25" where the name ends with the rule; the name alone for an envelope,
    which names its sigmas.
    """
    if pd.isna(sigma):
        return name
    return f"{name} {sigma:.6}" if name.endswith(FIXED_WORDS) else f"{name}, sigma {sigma:.6}"


def level_words(sigma: float) -> str:
    """The title of what has one sigma: "sigma 0.25"."""
    return SEVERAL if pd.isna(sigma) else f"sigma {sigma}"


def by_level(runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The runs of each sigma, ascending, after its title; envelopes, which have several, come last."""
    levels = sorted(runs["sigma"].dropna().unique())
    found = [(level_words(sigma), runs[runs["sigma"] == sigma]) for sigma in levels]
    several = runs[runs["sigma"].isna()]
    return [*found, (SEVERAL, several)] if len(several) else found
