"""What the certificate of one image says, in words."""

from collections.abc import Mapping
from math import inf
from typing import Any

from raysmooth.pipeline.analysis.metrics import FIXED, decided_at
from raysmooth.pipeline.certification.sequential_test import UNDECIDED
from raysmooth.pipeline.report.captions import shown_alpha, shown_confidence
from raysmooth.pipeline.report.rounding import floored


def statement(row: Mapping[str, Any]) -> str:
    """One sentence about a certificate row (a mapping with None where nothing is known): what is promised with which
    probability, and whether it is right. Radii are rounded down.
    """
    if row["status"] == "error":
        return f"no certificate: {row['error']}"
    asked = decided_at(row.get("sampling") or FIXED)
    if not row["abstain"]:
        return (
            f"with probability at least {shown_confidence(shown_alpha(row['alpha']))} the smoothed classifier predicts "
            f"{row['prediction']} everywhere within {row['norm']} distance {floored(row['radius'], 3)}: {_judged(row)}"
        )
    if asked == inf:
        if row.get("p_upper") is not None:
            return "the smoothed classifier abstains: no class is sure to have more draws than every other"
        return "the smoothed classifier abstains: no class is sure to have more than half of all draws"
    if row.get("decision") == UNDECIDED:
        return f"undecided: n={row['n']} draws leave open whether {row['norm']} radius {asked:g} is certified"
    return f"not certified at {row['norm']} radius {asked:g}; other radii were not asked about"


def evidence(row: Mapping[str, Any]) -> str:
    """What the statement rests on: draws, bound and settings; of an error row the settings alone."""
    used = row["n"] if row.get("n_used") is None else row["n_used"]
    counted = []
    if row["status"] != "error" and used:
        counted.append(f"{row['count_top']:,} of {used:,} estimation draws in the selected class")
        if row["p_lower"]:
            counted.append(f"p_lower {floored(row['p_lower'], 4)}")
        if row.get("p_upper") is not None:  # rounded up, as it bounds from above
            counted.append(f"p_upper {floored(-row['p_upper'], 4).removeprefix('-')}")
    sampling = row.get("sampling") or FIXED
    way = [] if sampling == FIXED else [sampling]
    settings = [f"n0={row['n0']}", f"n={row['n']}", *way, f"alpha={row['alpha']}"]
    return ", ".join([*counted, *settings, f"{row['noise']} noise of sigma {row['sigma']}"])


def _judged(row: Mapping[str, Any]) -> str:
    if row["label"] is None:
        return "there is no label to compare with"
    return "right" if row["correct"] else f"wrong, the label is {row['label']}"
