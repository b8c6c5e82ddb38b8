"""The certificate of one image in words."""

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Any

from raysmooth.pipeline.analysis.metrics import FIXED, UNANSWERED, decided_at
from raysmooth.pipeline.analysis.sigmas.limits import is_of_memory
from raysmooth.pipeline.certification.sequential_test import UNDECIDED
from raysmooth.pipeline.report.captions import shown_alpha, shown_confidence
from raysmooth.pipeline.report.class_names import named
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.store.sigma_rules import WORST, envelope_levels, is_certified_rule


def statement(row: Mapping[str, Any], class_names: Mapping[int, str] = MappingProxyType({})) -> str:
    """One sentence about a certificate row (a mapping with None for unknown values): the guarantee with its
    probability, and whether the class is right. Radii are rounded down.
    """
    if row["status"] == "error":
        return f"no certificate: {row['error']}"
    decided = decided_at(row.get("sampling") or FIXED)
    smoothed = _classifier(row) + ("" if row.get("rejector") in (None, UNANSWERED) else " with rejection")
    if is_of_memory(row.get("source")):
        return _of_memory(row, smoothed, class_names)
    if not row["abstain"]:
        return (
            f"with probability at least {shown_confidence(shown_alpha(row['alpha']))} {smoothed} predicts "
            f"{named(row['prediction'], class_names)} everywhere within {row['norm']} distance "
            f"{floored(row['radius'], 3)}: {_judged(row, class_names)}"
        )
    if levels := envelope_levels(row.get("sigma_rule")):
        if row["sigma_rule"].startswith(WORST):
            return (
                f"abstains: it is not shown that the classifiers smoothed with sigma {_listed(levels)} have one class"
            )
        return f"{smoothed} abstains: it is not shown that the selected class stands above every other"
    if decided == inf and is_certified_rule(row.get("sigma_rule")) and _is_sure(row):
        return f"{smoothed} abstains: it is not shown which sigma that is"
    if decided == inf:
        other = "1/2" if row.get("p_upper") is None else "that of every other class"
        return f"{smoothed} abstains: it is not shown that the selected class's probability exceeds {other}"
    if row.get("decision") == UNDECIDED:
        return f"undecided: n={row['n']} draws do not show whether {row['norm']} radius {decided:g} is certified"
    return f"not certified at {row['norm']} radius {decided:g}; other radii were not tested"


def _classifier(row: Mapping[str, Any]) -> str:
    """What the row is about."""
    rule = row.get("sigma_rule")
    if levels := envelope_levels(rule):
        if str(rule).startswith(WORST):
            return f"each of the classifiers smoothed with sigma {_listed(levels)}"
        return f"the envelope of the classifiers smoothed with sigma {_listed(levels)}"
    if is_certified_rule(rule):
        return "the classifier smoothed with the sigma that its selector chooses"
    if rule is not None and (own := row.get("image_sigma")) is not None:
        return f"the classifier smoothed with this image's own sigma {own:.4g}"
    return "the smoothed classifier"


def _of_memory(row: Mapping[str, Any], smoothed: str, class_names: Mapping[int, str]) -> str:
    if row["abstain"]:
        return f"{smoothed} abstains: the memory keeps nothing of this image"
    return (
        f"once this image is stored, every later query within {row['norm']} distance {floored(row['radius'], 3)} gets "
        f"{named(row['prediction'], class_names)}: {_judged(row, class_names)}"
    )


def _is_sure(row: Mapping[str, Any]) -> bool:
    """Whether the class is certified, so that an abstention is for the sake of the level."""
    p_lower, p_upper = row["p_lower"], row.get("p_upper")
    return p_lower is not None and p_lower > (1 - p_lower if p_upper is None else p_upper)


def _listed(levels: tuple[float, ...]) -> str:
    return ", ".join(f"{level:.4g}" for level in levels)


def level_of(row: Mapping[str, Any]) -> str:
    """The sigma of the draws, and where it comes from."""
    rule, own = row.get("sigma_rule"), row.get("image_sigma")
    if levels := envelope_levels(rule):
        return _listed(levels)
    if rule is None or own is None:
        return str(row["sigma"])
    return f"{own:.4g}, this image's own (by {rule.partition(':')[0]}, from {row['sigma']:.6g})"


def evidence(row: Mapping[str, Any]) -> str:
    """The basis of the statement: draws, bound and settings; for an error row the settings only."""
    used = row["n"] if row.get("n_used") is None else row["n_used"]
    counted = []
    if row["status"] != "error" and used and row["count_top"] is not None:
        counted.append(f"{row['count_top']:,} of {used:,} estimation draws in the selected class")
        if row.get("count_rejected") is not None:
            counted.append(f"{row['count_rejected']:,} {set_aside(row)}")
        if row["p_lower"]:
            counted.append(f"p_lower {floored(row['p_lower'], 4)}")
        if row.get("p_upper") is not None:  # rounded up, as it is an upper bound
            counted.append(f"p_upper {floored(-row['p_upper'], 4).removeprefix('-')}")
    sampling = row.get("sampling") or FIXED
    method = [] if sampling == FIXED else [sampling]
    settings = [f"n0={row['n0']}", f"n={row['n']}", *method, f"alpha={row['alpha']}"]
    if (share := row.get("alpha_share")) is not None:
        settings[-1] += f" ({share:g} of it for p_lower)"
    if is_certified_rule(row.get("sigma_rule")):
        settings[-1] += ", half of it for the choice of sigma"
    if row.get("rejector") not in (None, UNANSWERED):
        settings += [f"rejector {row['rejector']}", f"{row['noise_bound']} bound"]
    return ", ".join([*counted, *settings, f"{row['noise']} noise of sigma {level_of(row)}"])


def _judged(row: Mapping[str, Any], class_names: Mapping[int, str]) -> str:
    if row["label"] is None and row.get("reference"):
        return "the API has no answer to it without noise"
    if row["label"] is None:
        return "there is no label to compare with"
    if row.get("reference"):
        agrees = "as the API answers to it without noise"
        return agrees if row["correct"] else f"not {agrees}, {named(row['label'], class_names)}"
    return "right" if row["correct"] else f"wrong, the label is {named(row['label'], class_names)}"


def set_aside(row: Mapping[str, Any]) -> str:
    """What the draws of a row are called that count for no class."""
    return "unanswered" if row.get("rejector") == UNANSWERED else "rejected"
