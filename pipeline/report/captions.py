"""The words for runs: what all of them share is said once, in a caption; what differs names each."""

import re
from collections.abc import Collection
from decimal import ROUND_CEILING, Context, Decimal, Inexact
from math import ceil

import numpy as np
import pandas as pd

from raysmooth.pipeline.analysis.confidence import wrong_certificates_bound
from raysmooth.pipeline.analysis.metrics import COMPLEMENT, FIXED
from raysmooth.pipeline.analysis.run_facts import FACTS, PLAIN, UNLABELLED, differing, is_imported, origins, varies

_BRIEF = ("dataset", "split", "index_set", "n", "alpha")


_WORTH_SAYING = 0.1
"""Where alpha times the images is below this, it is said that all hold at once: of 10,000 at 0.001 ten may be wrong."""

FEW_WRONG = 0.001
"""With what probability more certificates of a run may be wrong than is said."""

_DECIMALS = 12
"""Of a probability, at most, to be written out."""

_WAYS = [
    ("adaptive:tolerance=([^,]+).*", r"adaptive \1", r"adaptive: tolerance \1"),
    ("decide:radius=([^,]+)", r"decide r=\1", r"decided at r = \1"),
]
"""Patterns of the ways of sampling as rows have them, how a column or a label names each, and how a caption does."""


def caption(runs: pd.DataFrame, without: Collection[str] = ()) -> str:
    """One line: the FACTS that all runs share, except those in `without`, and what the certificates promise.

    A denoiser that is shortened elsewhere stands there in full. What no run tells is said to be unknown.
    """
    left_out = {*differing(runs), *without}
    shared = [column for column in FACTS if column not in left_out]
    words = {column: _fact(runs, column) for column in shared}
    if words.get("bound") == FACTS["bound"].format(COMPLEMENT):
        del words["bound"]  # as everywhere else
    n0, _, _, alpha = (words.pop(column, "") for column in ("n0", "n", "sampling", "alpha"))
    sampling = filter(None, [n0, _draws(runs, "n" in shared, "sampling" in shared), alpha])
    denoisers = runs["denoiser"][runs["denoiser"].notna() & (runs["denoiser"] != short_denoisers(runs))].unique()
    some = " (unknown of some)" if "alpha" not in shared and runs["alpha"].isna().any() else ""
    known = "alpha" in shared and pd.notna(runs["alpha"].iloc[0])
    sure = assured(shown_alpha(runs["alpha"].iloc[0])) if known else f"1 - alpha{some}"
    phrases = [*words.values(), *(f"denoiser {denoiser}" for denoiser in denoisers), *sampling]
    logged = ", imported radii as their logs have them (perhaps rounded up)" if is_imported(runs).any() else ""
    return f"{', '.join(phrases)}: each certificate holds with probability at least {sure}{_at_once(runs)}{logged}"


def _at_once(runs: pd.DataFrame) -> str:
    """What holds of all images of any of `runs` together: that none is wrong, by the union bound, or where that is
    worth no word how few are; "" where it is unknown.
    """
    alpha = runs["alpha"].astype(float)
    delta = (runs["images"] * alpha).max(skipna=False)
    if np.isnan(delta):
        return ""
    if delta > _WORTH_SAYING:
        sizes = set(zip(runs["images"], alpha, strict=True))
        most = max(wrong_certificates_bound(int(images), level, FEW_WRONG) for images, level in sizes)
        of = str(runs["images"].iloc[0]) if not varies(runs["images"]) else "certificates"
        return f", and with {assured(FEW_WRONG)} at most {most} of a run's {of} are wrong"
    return f", all those of a run at once with {assured(shown_alpha(float(f'{delta:.12g}')))}"


def _fact(runs: pd.DataFrame, column: str) -> str:
    """What all `runs` have in `column`, in words."""
    value = runs[column].iloc[0]
    return f"{column.replace('_', ' ')} unknown" if pd.isna(value) else _said(column, value)


def _said(column: str, value: object) -> str:
    return FACTS[column].format(shown_alpha(value) if column == "alpha" else value)


def shown_alpha(alpha: object) -> str:
    """`alpha` as it is; where it has many digits, as delta / images has, three of them, rounded up: what is printed
    promises no more than what holds.
    """
    if not isinstance(alpha, float) or len(str(alpha)) <= 8:
        return str(alpha)
    return str(float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(str(float(alpha)))))


def assured(alpha: object) -> str:
    """1 - `alpha`, exactly: as a number, or as that difference where the number would be mere nines."""
    sure = Context(prec=_DECIMALS + 1, traps=[Inexact])
    try:
        return str(sure.subtract(Decimal(1), Decimal(str(alpha))))
    except Inexact:
        return f"1 - {alpha}"


def brief(runs: pd.DataFrame) -> str:
    """Of which images the numbers are and at which n and alpha, as far as that is the same for all runs: what stands
    where `caption` would be too long.
    """
    return ", ".join(_fact(runs, column) for column in _BRIEF if not varies(runs[column]))


def _draws(runs: pd.DataFrame, one_n: bool, one_way: bool) -> str:
    """What n is, and how much of it was drawn, as far as that is the same for all runs; "" where it is not."""
    n = runs["n"].iloc[0]
    fixed = runs["sampling"] == FIXED
    if fixed.all() or pd.isna(n) or not (one_n or one_way):
        return _fact(runs, "n") if one_n else ""
    if not one_way:
        return f"n up to {n}{' (fixed: all of them)' if fixed.any() else ''}"
    way = _worded(runs["sampling"].iloc[0], long=True)
    if runs["draws"].notna().any():
        means = {f"{ceil(draws):,}": None for draws in (runs["draws"].min(), runs["draws"].max())}
        way += f", mean {' to '.join(means)} draws an image"
    return f"n up to {n} ({way})" if one_n else way


def _worded(sampling: str, long: bool = False) -> str:
    """A way of sampling in words; as it is where _WAYS has no words for it."""
    for pattern, label, phrase in _WAYS:
        if found := re.fullmatch(pattern, sampling):
            return found.expand(phrase if long else label)
    return sampling


def short_samplings(runs: pd.DataFrame) -> pd.Series:
    """Each run's way of sampling, short unless that would not tell two of them apart; str, by run_id."""
    short = runs["sampling"].map(_worded)
    return short if len(set(short)) == len(set(runs["sampling"])) else runs["sampling"]


def short_denoisers(runs: pd.DataFrame) -> pd.Series:
    """Each run's denoiser without its options, unless these tell two of them apart; str, or null, by run_id."""
    short = runs["denoiser"].map(lambda denoiser: denoiser.split(":")[0], na_action="ignore")
    return short if short.nunique() == runs["denoiser"].nunique() else runs["denoiser"]


def twins(runs: pd.DataFrame) -> pd.Series:
    """Which runs no column tells apart, so that they need their run id; bool, by run_id.

    Weights, seed and kind of device, for example, have no column.
    """
    told = runs[[*FACTS, "denoiser", "objective", "measure"]].assign(origin=origins(runs))
    return told.duplicated(keep=False)


def run_names(runs: pd.DataFrame) -> pd.Series:
    """What tells each run from the others apart from sigma, as short as can be; str, by run_id."""
    short = short_denoisers(runs)
    one_denoiser = not varies(short[short != "none"])
    names = []
    differ = [column for column in differing(runs) if column != "sigma"]
    one_measure, one_origin = not varies(runs["measure"]), not varies(origins(runs))
    records = runs.reset_index().assign(origin=origins(runs).to_numpy()).to_dict("records")
    for facts, way, denoiser, twin in zip(records, short_samplings(runs), short, twins(runs), strict=True):
        known = [column for column in differ if not pd.isna(facts[column])]
        said = {column: _said(column, facts[column]) for column in known}
        if "n" in said and facts["sampling"] != FIXED:
            said["n"] = f"n up to {facts['n']}"
        if "sampling" in said:
            said["sampling"] = way
        words = [*said.values()]
        if not one_origin and facts["origin"] != "own":
            words.insert(0, facts["origin"])
        if pd.isna(denoiser):
            words.append("denoiser unknown" if pd.isna(facts["objective"]) else facts["objective"])
        elif denoiser == "none" and (pd.isna(facts["objective"]) or facts["objective"] in PLAIN):
            words.append("no denoiser")
        elif denoiser == "none":
            words.append(f"{facts['objective']} classifier")
        elif pd.isna(facts["objective"]):
            words.append(denoiser)
        else:
            words.append(f"{facts['objective'].upper()} {'denoiser' if one_denoiser else denoiser}")
        if facts["measure"] == UNLABELLED and not one_measure:
            words.append("class unchecked")
        if twin:
            words.append(f"run {facts['run_id'][:8]}")
        names.append(", ".join(words))
    return pd.Series(names, runs.index)


def run_labels(runs: pd.DataFrame) -> list[str]:
    """A legend's line for each run: its name, its sigma if sigmas differ, its mean draws if ways of sampling differ,
    how far it is if unfinished.
    """
    labels = []
    levels, ways = varies(runs["sigma"]), varies(runs["sampling"])
    for name, facts in zip(run_names(runs), runs.to_dict("records"), strict=True):
        sigma = f", {FACTS['sigma'].format(facts['sigma'])}" if levels else ""
        done, images = facts["rows"], facts["images"]
        mean = facts["sampling"] != FIXED and ways and not pd.isna(facts["draws"])
        draws = f", mean {ceil(facts['draws']):,} draws" if mean else ""
        unfinished = f" (unfinished: {done} of {images})" if done < images else ""
        labels.append(name + sigma + draws + unfinished)
    return labels
