"""The opening of the page: what the runs show, in words for readers who do not know the field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt, prod

import pandas as pd

from raysmooth.pipeline.analysis.log_names import are_logged
from raysmooth.pipeline.analysis.metrics import FIXED_SIGMA, NO_REJECTOR, UNANSWERED, error_count
from raysmooth.pipeline.analysis.run_facts import AGREEING, UNLABELLED
from raysmooth.pipeline.analysis.sigmas.rules import LATER_QUERIES, PER_IMAGE
from raysmooth.pipeline.report.captions import guarantee, images_caption, run_names
from raysmooth.pipeline.report.page.headline import Headline
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.rounding import floored, percent
from raysmooth.pipeline.report.sigma_words import short_rules
from raysmooth.pipeline.report.symbols import norm_symbol

_ASSUMED = (
    "Pixels have values from 0 to 1. The classifier in use is {}, and it votes over noisy copies. Rounding in "
    "floating-point arithmetic does not matter. Nothing is said about larger changes, or about changes of another "
    "kind, such as rotations."
)
_THIS_NETWORK = "this very network, computed as here"
_THIS_API = "this very API, with the model that answered here, asked as here"


@dataclass(frozen=True)
class Opening:
    """`sentence` is the result, `terms` what its words mean, by heading."""

    sentence: str
    terms: Mapping[str, str]


def opening(data: ReportData, head: Headline, shape: Sequence[int] | None = None) -> Opening:
    """The `headline` of `data` in one sentence, and what it means; `shape` is (C, H, W), the images' size, if known."""
    runs = data.runs.loc[[head.run_id]]
    facts = runs.iloc[0]
    terms = {
        "The change": _change(str(facts["norm"]), head.radius, shape),
        "The classifier": _classifier(facts, run_names(data.runs)[head.run_id]),
        "The certainty": _sentence(guarantee(runs)),
        "The images": _images(runs, head, error_count(data.parts[head.run_id])),
        "Assumed": _ASSUMED.format(_THIS_API if facts["rejector"] == UNANSWERED else _THIS_NETWORK),
    }
    return Opening(_result(runs, head), terms)


def _result(runs: pd.DataFrame, head: Headline) -> str:
    facts = runs.iloc[0]
    progress = " finished so far" if head.images < facts["images"] else ""
    of = f"Of {head.images:,} {facts['dataset']} images{progress}"
    change = f"any change of at most {norm_symbol(str(facts['norm']))} {head.radius:.12g}"
    if not head.certified:
        return f"{of}, none is shown to be safe from {change}."
    some = f"{head.certified:,} ({percent(head.certified / head.images, head.images)} %)"
    about = facts["about"]
    if about == LATER_QUERIES:
        return f"{of}, {some} are in a memory with their class, which every later query gets after {change}."
    proved = "are logged as certified: they" if are_logged(runs).any() else "provably"
    each = ", each by a classifier with a sigma of its own" if about == PER_IMAGE else ""
    if facts["quantity"] == AGREEING:
        return f"{of}, {some} {proved} keep what the API answers to them unchanged under {change}{each}."
    if facts["quantity"] == UNLABELLED:
        return f"{of}, {some} {proved} keep their predicted class under {change}{each}."
    return f"{of}, {some} {proved} cannot be misread because of {change}{each}."


def _change(norm: str, radius: float, shape: Sequence[int] | None) -> str:
    """What a change of this size is; its numbers are rounded down."""
    levels = f"{floored(255 * Fraction(radius), 1)} of 255 levels"
    one = [f"one value of one pixel changed by {radius:.12g} ({levels})"] if radius <= 1 else []
    if norm == "linf":
        return _sizes(f"the largest change of any value, here {radius:.12g} ({levels})", [])
    if norm == "l1":
        return _sizes("the sum of the changes of all values", one)
    if norm != "l2":
        return _sizes(f"the norm {norm}", [])
    if shape:
        values = prod(shape)
        each = 255 * Fraction(radius) * Fraction(10**6, isqrt(values * 10**12) + 1)  # at most 255 radius / sqrt(values)
        one.append(f"all {values:,} values changed by {floored(each, 1)} levels each")
    return _sizes("the root of the sum of the squared changes of all values", one)


def _sizes(measure: str, examples: Sequence[str]) -> str:
    shown = f", for example {', or '.join(examples)}" if examples else ""
    return f"Its size is {measure}{shown}. The result holds for every such change, however it was found."


def _classifier(facts: pd.Series, name: str) -> str:
    network = "An unknown network" if pd.isna(facts["classifier"]) else str(facts["classifier"])
    noise = "noise" if pd.isna(facts["noise"]) else f"{facts['noise']} noise"
    rejected = ""
    if facts["rejector"] == UNANSWERED:
        rejected = " A copy that the API gives no label votes for no class."
    elif facts["rejector"] != NO_REJECTOR:
        rejected = f" A copy that the rejector ({facts['rejector']}) rejects votes for no class."
    return (
        f"{network} ({name}), smoothed: its answer is the class that wins a vote over many copies of the image, each "
        f"with {noise} of {_level(facts)}.{rejected}"
    )


def _level(facts: pd.Series) -> str:
    """The sigma of the noise, and how it is chosen."""
    rule = str(facts["sigma_rule"])
    if rule == FIXED_SIGMA:
        return f"sigma {facts['sigma']:.6}"
    words = short_rules(facts.to_frame().T).iloc[0]
    if pd.isna(facts["sigma"]):
        best = "least" if words.startswith("worst") else "most"
        return f"several sigmas ({words}), of which that counts which certifies {best}"
    return f"a sigma that is chosen for each image ({words}, from sigma {facts['sigma']:.6})"


def _images(runs: pd.DataFrame, head: Headline, failed: int) -> str:
    words = [f"Data: {images_caption(runs)}."]
    if failed:
        words.append(f"{failed:,} of these {head.images:,} failed, and count as not certified.")
    if runs["quantity"].iloc[0] == UNLABELLED:
        words.append("They have no labels: whether a class is right is not known.")
    if runs["quantity"].iloc[0] == AGREEING:
        words.append("True labels are not used: what the API answers to an image without noise counts as right.")
    if head.others:
        shares = sorted(head.others, key=lambda pair: Fraction(*pair))
        ends = dict.fromkeys(percent(certified / images, images) for certified, images in (shares[0], shares[-1]))
        words.append(
            f"The run is the best of {len(head.others) + 1} at this radius; of the images of the others, "
            f"{' to '.join(ends)} % are certified."
        )
    words.append("For other images like these, the tables have intervals.")
    return " ".join(words)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
