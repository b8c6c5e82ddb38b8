"""Runs in words: a caption states what all of them share, a name or a table's first cells what distinguishes each."""

import re
from collections.abc import Collection
from decimal import ROUND_CEILING, Context, Decimal, Inexact
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from raysmooth.pipeline.analysis.confidence import wrong_certificates_bound
from raysmooth.pipeline.analysis.log_names import are_capped, are_logged, log_names
from raysmooth.pipeline.analysis.metrics import COMPLEMENT, FIXED, NO_REJECTOR, UNANSWERED, is_rejecting
from raysmooth.pipeline.analysis.run_facts import (
    AGREEING,
    FACTS,
    LABELLED,
    PLAIN,
    UNLABELLED,
    differing,
    has_usual_bound,
    origins,
    own_draws,
    varies,
)
from raysmooth.pipeline.analysis.sigmas.rules import JOINED, read_rule
from raysmooth.pipeline.report.api_words import whose_labels
from raysmooth.pipeline.report.sigma_words import rules_in_full, short_rules, what_they_state, with_sigma

_IMAGES = ("dataset", "split", "index_set")
_SHORT_CAPTION = (*_IMAGES, "n", "alpha")

_MOST_EXPECTED_WRONG = 0.1
"""Up to this value of alpha times the images, a caption gives the probability that all certificates of a run hold.
Above it, that probability says little (of 10,000 images at 0.001, ten may be wrong), and the caption bounds the number
of wrong ones instead.
"""

FEW_WRONG = 0.001
"""Probability that more certificates of a run are wrong than a caption states."""

_DECIMALS = 12
"""Most decimals of a probability that is written out."""

_SAMPLING_WORDS = [
    ("adaptive:tolerance=([^,]+).*", r"adaptive \1", r"adaptive: tolerance \1"),
    ("decide:radius=([^,]+)", r"decide r=\1", r"decided at r = \1"),
]
"""Pattern of a value of the column `sampling`, its words in a label or a table's cell, its words in a caption."""


_LAST = ("sigma", "rejector", "sigma_rule")
"""Those of the FACTS that come after the networks in names and lines."""


class Caption(NamedTuple):
    """What all runs of a table or figure share, and what their certificates promise: phrases without a full stop."""

    facts: str
    guarantee: str

    def __str__(self) -> str:
        return f"{self.facts}: {self.guarantee}" if self.guarantee else self.facts


def caption(runs: pd.DataFrame, without: Collection[str] = ()) -> Caption:
    """The FACTS that all runs share, except those in `without`, and the guarantee of their certificates.

    A denoiser or rejector that is shortened elsewhere appears here in full, and an unknown fact as "unknown".
    """
    left_out = {*differing(runs), *without}
    shared = [column for column in FACTS if column not in left_out]
    words = {column: _fact(runs, column) for column in shared}
    if words.get("bound") == FACTS["bound"].format(COMPLEMENT):
        del words["bound"]  # the default
    for column in ("alpha_share", "rejector", "sigma_rule"):
        words.pop(column, None)
    n0, _, _, alpha = (words.pop(column, "") for column in ("n0", "n", "sampling", "alpha"))
    sampling = filter(None, [n0, _draws(runs, "n" in shared, "sampling" in shared), _alpha(own_draws(runs), alpha)])
    networks = [
        f"{column} {value}"
        for column, short in (("denoiser", short_denoisers(runs)), ("rejector", short_rejectors(runs)))
        for value in runs[column][runs[column].notna() & (runs[column] != short)].unique()
    ]
    rules = [] if "sigma_rule" in without else rules_in_full(runs)
    return Caption(", ".join([*words.values(), *networks, *rules, *sampling]), guarantee(runs))


def _alpha(runs: pd.DataFrame, alpha: str) -> str:
    """`alpha`, which is "" where it differs, and the share of it that pA has, if all runs with a separate bound on the
    other classes have the same.
    """
    splits = runs["alpha_share"] < 1
    if len(shares := runs["alpha_share"][splits].unique()) != 1:
        return alpha
    others = runs["bound"][~splits]  # not only the complement's: a decision with two bounds shares no alpha
    but = f"; all of it with the {COMPLEMENT} bound" if others.eq(COMPLEMENT).any() else ""
    return f"{alpha} ({shares[0]:g} of it for pA{but})" if alpha else f"{_setting('alpha_share', shares[0])}{but}"


def guarantee(runs: pd.DataFrame) -> str:
    """The probability with which certificates of `runs` hold, each alone and all of a run together; after a full stop,
    what they are about, unless that is one classifier with one sigma.
    """
    one_alpha = not varies(runs["alpha"])
    some = " (unknown for some)" if not one_alpha and runs["alpha"].isna().any() else ""
    known = one_alpha and pd.notna(runs["alpha"].iloc[0])
    confidence = shown_confidence(shown_alpha(runs["alpha"].iloc[0])) if known else f"1 - alpha{some}"
    capped = ", those above the largest of their setting capped at it" if are_capped(runs).any() else ""
    logged = f", imported radii as in their logs (possibly rounded up){capped}" if are_logged(runs).any() else ""
    promise = f"each certificate holds with probability at least {confidence}{_all_at_once(runs)}{logged}"
    sentences = [*what_they_state(runs), *whose_labels(runs)]
    return ". ".join([promise, *(sentence.removesuffix(".") for sentence in sentences)])


def _all_at_once(runs: pd.DataFrame) -> str:
    """The guarantee for all images of any one of `runs` together: by the union bound the probability that no
    certificate is wrong or, where that says little, a bound on how many are; "" where alpha is unknown.
    """
    alpha = runs["alpha"].astype(float)
    delta = (runs["images"] * alpha).max(skipna=False)
    if np.isnan(delta):
        return ""
    if delta > _MOST_EXPECTED_WRONG:
        sizes = set(zip(runs["images"], alpha, strict=True))
        most = max(wrong_certificates_bound(int(images), level, FEW_WRONG) for images, level in sizes)
        of = str(runs["images"].iloc[0]) if not varies(runs["images"]) else "certificates"
        return f", and with probability {shown_confidence(FEW_WRONG)} at most {most} of a run's {of} are wrong"
    return f", all those of a run at once with {shown_confidence(shown_alpha(float(f'{delta:.12g}')))}"


def _fact(runs: pd.DataFrame, column: str) -> str:
    """The value of `column` that all `runs` share, in words; of draws and bounds, that of `own_draws`."""
    value = (own_draws(runs) if column in ("n0", "n", "bound") else runs)[column].iloc[0]
    return f"{column.replace('_', ' ')} unknown" if pd.isna(value) else _setting(column, value)


def _setting(column: str, value: object) -> str:
    if column == "rejector" and value in (NO_REJECTOR, UNANSWERED):
        return "no rejector"
    return FACTS[column].format(shown_alpha(value) if column == "alpha" else value)


def shown_alpha(alpha: object) -> str:
    """`alpha` as text; one with many digits, such as delta / images, is rounded up to three, so that the printed
    guarantee is never stronger than the real one.
    """
    if not isinstance(alpha, float) or len(str(alpha)) <= 8:
        return str(alpha)
    return str(float(Context(prec=3, rounding=ROUND_CEILING).create_decimal(str(float(alpha)))))


def shown_confidence(alpha: object) -> str:
    """1 - `alpha`, exactly: as a number, or as that difference where the number would be a long row of nines."""
    exact = Context(prec=_DECIMALS + 1, traps=[Inexact])
    try:
        return str(exact.subtract(Decimal(1), Decimal(str(alpha))))
    except Inexact:
        return f"1 - {alpha}"


def short_caption(runs: pd.DataFrame) -> str:
    """The images, n and alpha, as far as all runs share them; for places where `caption` would be too long."""
    return _shared_facts(runs, _SHORT_CAPTION)


def images_caption(runs: pd.DataFrame) -> str:
    """Which images they are, as far as all runs share them."""
    return _shared_facts(runs, _IMAGES)


def _shared_facts(runs: pd.DataFrame, columns: Collection[str]) -> str:
    return ", ".join(_fact(runs, column) for column in columns if not varies(runs[column]))


def _draws(runs: pd.DataFrame, one_n: bool, one_sampling: bool) -> str:
    """The value of n and how much of it was drawn, as far as all runs share it; "" where they do not."""
    n = own_draws(runs)["n"].iloc[0]
    fixed = runs["sampling"] == FIXED
    if fixed.all() or pd.isna(n) or not (one_n or one_sampling):
        return _fact(runs, "n") if one_n else ""
    if not one_sampling:
        return f"n up to {n}{' (fixed: all of them)' if fixed.any() else ''}"
    sampling = _sampling_in_words(runs["sampling"].iloc[0], long=True)
    if runs["draws"].notna().any():
        means = {f"{ceil(draws):,}": None for draws in (runs["draws"].min(), runs["draws"].max())}
        sampling += f", mean {' to '.join(means)} draws per image"
    return f"n up to {n} ({sampling})" if one_n else sampling


def _sampling_in_words(sampling: str, long: bool = False) -> str:
    """A value of the column `sampling` in words; unchanged where _SAMPLING_WORDS has no pattern for it."""
    for pattern, label, phrase in _SAMPLING_WORDS:
        if found := re.fullmatch(pattern, sampling):
            return found.expand(phrase if long else label)
    return sampling


def short_samplings(runs: pd.DataFrame) -> pd.Series:
    """Each run's sampling method, short unless two would then look the same; str, by run_id."""
    short = runs["sampling"].map(_sampling_in_words)
    return short if len(set(short)) == len(set(runs["sampling"])) else runs["sampling"]


def short_denoisers(runs: pd.DataFrame) -> pd.Series:
    """Each run's denoiser, without its options unless two would then look the same; str or null, by run_id."""
    return _without_options(runs["denoiser"])


def short_rejectors(runs: pd.DataFrame) -> pd.Series:
    """Each run's rejector, shortened in the same way; str, by run_id."""
    return _without_options(runs["rejector"])


def _without_options(networks: pd.Series) -> pd.Series:
    short = networks.map(lambda network: network.split(":")[0], na_action="ignore")
    return short if short.nunique() == networks.nunique() else networks


def look_alike(runs: pd.DataFrame) -> pd.Series:
    """Which runs are equal to another in every column, so that only their run ids distinguish them; bool, by run_id.

    Weights, seed and kind of device, for example, have no column.
    """
    return _known(runs).assign(log=log_names(runs)).duplicated(keep=False)


def _known(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[[*FACTS, "denoiser", "objective", "quantity"]].assign(origin=origins(runs))


def distinguishing_logs(runs: pd.DataFrame) -> pd.Series:
    """`log_names` of the runs that would be equal to another in every column without them, "" of the others; str, by
    run_id.
    """
    return log_names(runs).where(_known(runs).duplicated(keep=False), "")


def run_names(runs: pd.DataFrame) -> pd.Series:
    """A name for each run that distinguishes it from the others, sigma aside, as short as possible; str, by run_id."""
    origin = origins(runs)
    quantity = runs["quantity"] if varies(runs["quantity"]) else pd.Series(LABELLED, runs.index)
    rules = runs["sigma_rule"].map(lambda rule: read_rule(rule).name)
    words = [
        origin.where((origin != "own") & varies(origin) & ~rules.isin(JOINED), ""),  # its rule says it
        *(_settings(runs, column) for column in differing(runs) if column not in _LAST),
        _models(runs),
        _rejectors(runs),
        short_rules(runs) if varies(runs["sigma_rule"]) else pd.Series("", runs.index),
        quantity.map({UNLABELLED: "class unchecked", AGREEING: "agreement", LABELLED: ""}),
        distinguishing_logs(runs),
        ("run " + runs.index.to_series().str[:8]).where(look_alike(runs), ""),
    ]
    names = [", ".join(filter(None, own)) for own in zip(*words, strict=True)]
    return pd.Series(names, runs.index)


def _settings(runs: pd.DataFrame, column: str) -> pd.Series:
    """Each run's value of one of the FACTS in words, "" where it is unknown; str, by run_id."""
    if column == "sampling":
        return short_samplings(runs)
    words = runs[column].map(lambda value: "" if pd.isna(value) else _setting(column, value)).astype(object)
    if column == "n":
        up_to = "n up to " + runs["n"].astype(str)
        words = words.where((runs["sampling"] == FIXED) | runs["n"].isna(), up_to)
    if column in ("bound", "alpha_share") and varies(runs["rejector"]):
        words = words.mask(has_usual_bound(runs), "")  # the rejector says it
    return words


def _rejectors(runs: pd.DataFrame) -> pd.Series:
    """Each run's rejector in words, "" where no run has one; str, by run_id."""
    if not is_rejecting(runs["rejector"]).any():
        return pd.Series("", runs.index)
    return short_rejectors(runs).map(lambda rejector: _setting("rejector", rejector))


def _models(runs: pd.DataFrame) -> pd.Series:
    """Each run's denoiser and objective in words, str, by run_id."""
    denoisers = short_denoisers(runs)
    one_denoiser = not varies(denoisers[denoisers != "none"])
    pairs = zip(denoisers, runs["objective"], strict=True)
    return pd.Series([_model(denoiser, objective, one_denoiser) for denoiser, objective in pairs], runs.index)


def _model(denoiser: Any, objective: Any, one_denoiser: bool) -> str:
    known = not pd.isna(objective)
    if pd.isna(denoiser):
        return str(objective) if known else "denoiser unknown"
    if denoiser == "none":
        return f"{objective} classifier" if known and objective not in PLAIN else "no denoiser"
    if not known:
        return str(denoiser)
    return f"{objective.upper()} {'denoiser' if one_denoiser else denoiser}"


def run_labels(runs: pd.DataFrame) -> list[str]:
    """A legend's label for each run: its name, its sigma if sigmas differ, its mean draws if sampling methods differ,
    and its progress if it is unfinished.
    """
    labels = []
    sigmas_vary, samplings_vary = varies(runs["sigma"].dropna()), varies(runs["sampling"])
    for name, facts in zip(run_names(runs), runs.to_dict("records"), strict=True):
        named = with_sigma(name, facts["sigma"]) if sigmas_vary else name
        done, images = facts["rows"], facts["images"]
        mean = facts["sampling"] != FIXED and samplings_vary and not pd.isna(facts["draws"])
        draws = f", mean {ceil(facts['draws']):,} draws" if mean else ""
        unfinished = f" (unfinished: {done} of {images})" if done < images else ""
        labels.append(named + draws + unfinished)
    return labels


def run_cells(runs: pd.DataFrame) -> pd.DataFrame:
    """The first cells of each run's line in any table, as text, by run_id: its facts, as far as the caption does not
    state them, and its progress if any run is unfinished. `runs` are those of `describe_runs`.
    """
    columns = [column for column in differing(runs) if column not in _LAST]
    cells = runs[columns].astype(str).where(runs[columns].notna(), "-")
    if "sampling" in cells:
        cells["sampling"] = short_samplings(runs)
    if "n" in cells:
        cells["n"] = cells["n"].where(runs["sampling"] == FIXED, "up to " + cells["n"])
    if "alpha" in cells:
        cells["alpha"] = ["-" if pd.isna(alpha) else shown_alpha(alpha) for alpha in runs["alpha"]]
    if "alpha_share" in cells:
        cells["alpha_share"] = runs["alpha_share"].map("{:g}".format)
    if varies(origins(runs)):
        cells["source"] = origins(runs)
    if (logs := distinguishing_logs(runs)).any():
        cells["log"] = logs.replace("", "-")
    if look_alike(runs).any():
        cells["run"] = runs.index.str[:8]
    for column, values in (("denoiser", short_denoisers(runs)), ("objective", runs["objective"])):
        cells[column] = values.astype(object).where(values.notna(), "unknown")
    if is_rejecting(runs["rejector"]).any():
        cells["rejector"] = short_rejectors(runs).replace(UNANSWERED, NO_REJECTOR)
    cells["sigma"] = ["-" if pd.isna(sigma) else f"{sigma:.6}" for sigma in runs["sigma"]]
    if varies(runs["sigma_rule"]):
        cells["sigma_rule"] = short_rules(runs)
    if varies(runs["quantity"]):
        cells["quantity"] = runs["quantity"]
    if (runs["rows"] < runs["images"]).any():
        done = runs["rows"].astype(str) + " of " + runs["images"].astype(str)
        cells["finished"] = done.where(runs["rows"] < runs["images"], "all")
    return cells
