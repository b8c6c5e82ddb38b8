"""The runs of an export: their rows, facts and results, and what their manifests know besides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pandas as pd

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.analysis.columns import by_run
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.run_selection import find_run
from raysmooth.pipeline.analysis.summary import heading, radius_columns, summarize
from raysmooth.pipeline.report.captions import guarantee
from raysmooth.pipeline.report.report_data import DELTA
from raysmooth.pipeline.report.rounding import floored
from raysmooth.pipeline.store.manifest import ManifestError, RunFolder, manifests, read_manifest
from raysmooth.storage.location import Where

DIGITS = 6
"""Decimals of shares and mean radii, which are rounded against the result."""


@dataclass(frozen=True)
class CertifiedAt:
    """Of `images` images `certified` count as certified at `radius`. `low` and `high` are the ends of the interval for
    more images like these (95 %), None where alpha is unknown; `low` is rounded down, `high` up.
    """

    radius: float
    certified: int
    images: int
    low: float | None
    high: float | None

    @property
    def share(self) -> float:
        """Rounded down."""
        return self.certified * 10**DIGITS // self.images / 10**DIGITS


@dataclass(frozen=True, eq=False)
class ExportedRun:
    """`rows` are its certificate rows in the order of images, `facts` its line of `describe_runs`, `results` that of
    `summarize` with intervals, `manifest` its manifest, empty where it has none.
    """

    run_id: str
    rows: pd.DataFrame
    facts: pd.DataFrame
    results: Mapping[str, Any]
    manifest: Mapping[str, Any]

    def fact(self, name: str) -> Any:
        """A column of `describe_runs` or of all its rows, as a Python value; None where it is unknown."""
        if name in self.facts:
            return plain(self.facts[name].iloc[0])
        return plain(self.rows[name].iloc[0]) if name in self.rows else None

    @property
    def identity(self) -> Mapping[str, Any]:
        identity: Mapping[str, Any] = self.manifest.get("identity", {})
        return identity

    @property
    def quantity(self) -> str:
        """What its shares are: one of LABELLED, AGREEING and UNLABELLED of `run_facts`."""
        return str(self.facts["quantity"].iloc[0])

    @property
    def promise(self) -> str:
        """The probability with which its certificates hold, in words."""
        return guarantee(self.facts)

    @property
    def images(self) -> int:
        """The number of finished images."""
        return len(self.rows)

    @property
    def planned(self) -> int:
        return int(self.facts["images"].iloc[0])

    @property
    def errors(self) -> int:
        return int((self.rows["status"] == "error").sum())

    @property
    def own_levels(self) -> bool:
        """Whether its images have noise levels of their own."""
        return bool("image_sigma" in self.rows and self.rows["image_sigma"].notna().any())

    @property
    def certified(self) -> list[CertifiedAt]:
        """At each radius of its results that it says anything about."""
        found = []
        for name, radius in radius_columns(self.results).items():
            if (share := plain(self.results[name])) is None:  # a run that decides one radius knows no larger one
                continue
            low, high = plain(self.results[f"{name} low"]), plain(self.results[f"{name} high"])
            count = round(share * self.images)
            found.append(CertifiedAt(radius, count, self.images, rounded(low), rounded(high, up=True)))
        return found


def exported_runs(
    results: Where, chosen: Sequence[str] | None = None, radii: Sequence[float] | None = None
) -> list[ExportedRun]:
    """The runs in `results` whose ids begin as in `chosen`, by default all with certificates, at `radii` (None: those
    of `summarize`). Raises RaysmoothError where there are none, and for a run without certificates.
    """
    rows = read_certificates(results)
    parts = by_run(rows)
    wanted = list(parts) if chosen is None else [_find(results, parts, text) for text in chosen]
    found = []
    for run in dict.fromkeys(wanted):
        own = parts[run].sort_values("image_id", ignore_index=True)
        facts = describe_runs(own)
        line = summarize(own, radii, DELTA, facts).iloc[0].to_dict()
        found.append(
            ExportedRun(run, own, facts, {str(name): value for name, value in line.items()}, _known(results, run))
        )
    return found


def _find(results: Where, runs: Mapping[str, Any], text: str) -> str:
    if not any(run.startswith(text) for run in runs):
        for folder, manifest in manifests(results, "identity", skip_bad=True):
            if text and folder.run_id.startswith(text):
                kind = f"run {folder.run_id} ({manifest.procedure})"
                raise RaysmoothError(f"--run {text}: {kind} has no certificates: choose a run of certify or recertify")
    return find_run(runs, text, "--run")


def _known(results: Where, run: str) -> Mapping[str, Any]:
    try:
        return read_manifest(RunFolder.of(results, run), "identity")
    except ManifestError as error:
        if error.is_missing:
            return {}
        raise RaysmoothError(f"{error}: {error.remedy}") from None


def plain(value: Any) -> Any:
    """A cell as a Python value; None for null."""
    if value is None or (not isinstance(value, str) and bool(pd.isna(value))):
        return None
    return value.item() if hasattr(value, "item") else value


def rounded(value: float | None, up: bool = False) -> float | None:
    """With DIGITS decimals, downwards unless `up`."""
    if value is None:
        return None
    return -float(floored(-value, DIGITS)) if up else float(floored(value, DIGITS))


def percent_down(share: float) -> float:
    """A share in percent with one decimal, rounded down."""
    return float(floored(100 * Fraction(str(share)), 1))


def percent_up(share: float) -> float:
    """A share in percent with one decimal, rounded up."""
    return -float(floored(-100 * Fraction(str(share)), 1))


def shown_radius(radius: float) -> str:
    """With all its digits: with fewer it might be another, larger one."""
    return heading(radius).removeprefix("r=")
