"""The noise of another tool's run: its level, and the largest radius that it can give."""

import re
from collections.abc import Sequence
from math import nextafter

from raysmooth.actors.noise.pixel_scale import refuse_grey_levels, scale_notes
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import largest_p_lower
from raysmooth.pipeline.derived.certification_log import CertificationLog, LogLine

_IN_NAME = re.compile(r"(?<![a-z])(?:sigma|noise)[_=-]?([0-9]+\.[0-9]+|[1-9])(?![0-9])", re.IGNORECASE)


def sigma_of(log: CertificationLog, given: float | None, notes: list[str]) -> float:
    """The noise level: as `given`, or that of the log's column or file name; adds to `notes` what the user should know.
    Raises RaysmoothError if there is none, or several, or if the column contradicts what is given.
    """
    in_name = {float(found) for found in _IN_NAME.findall(log.path.name)}
    given = given if given is not None else log.sigma
    if given is None and len(in_name) == 1:
        given = in_name.pop()
        notes.append(f"sigma {given:g}, from the file name")
    if given is None:
        why = "has no sigma" if not in_name else "has several sigmas"
        raise RaysmoothError(
            f"{log.shown}: its file name {why}: write --sigma 0.25, for example; import each sigma separately"
        )
    refuse_grey_levels(given, given, f"{log.shown}: sigma {given:g}", "--sigma ")
    notes.extend(scale_notes(given))
    if log.sigma not in (None, given):
        raise RaysmoothError(f"{log.shown}: its column sigma has {log.sigma:g}: leave --sigma {given:g} out")
    if in_name and given not in in_name:
        notes.append(f"sigma {given:g}, although its file name has {', '.join(f'{s:g}' for s in sorted(in_name))}")
    return given


def largest_radii(
    log: CertificationLog, noise: NoiseFamily, n: int | None, alpha: float | None
) -> dict[float | None, float]:
    """The largest radius that the noise, or n draws at level alpha, can give; where these are unknown, with the largest
    probability below 1 that a float64 holds: 8.2 sigma for Gaussian noise, which no number of draws reaches. By the
    level of the images, which is None where all have that of `noise`. Raises RaysmoothError for radii that even
    rounding cannot explain.
    """
    if not log.own_levels:
        return {None: _largest(log, log.lines, noise, n, alpha)}
    by_level: dict[float | None, list[LogLine]] = {}
    for line in log.lines:
        by_level.setdefault(line.sigma, []).append(line)
    return {
        level: _largest(log, lines, noise.at(level), n, alpha) for level, lines in by_level.items() if level is not None
    }


def _largest(
    log: CertificationLog, lines: Sequence[LogLine], noise: NoiseFamily, n: int | None, alpha: float | None
) -> float:
    """That of `lines`, which have draws of `noise`."""
    line = max(lines, key=lambda line: line.radius)
    if _exceeds(line.radius, largest := noise.radius(nextafter(1.0, 0.0))):
        raise RaysmoothError(
            f"{log.shown}, line {line.number}: radius {line.radius:g} is more than {noise.name} noise of "
            f"sigma={noise.scale:g} can give ({largest:.4f}): write the --noise and --sigma of these logs"
        )
    if n is None or alpha is None:
        return largest
    if _exceeds(line.radius, largest := noise.radius(largest_p_lower(n, alpha))):
        raise RaysmoothError(
            f"{log.shown}, line {line.number}: radius {line.radius:g} is more than sigma={noise.scale:g}, "
            f"n={n} and alpha={alpha:g} can give ({largest:.4f}): one of the three is wrong; "
            "leave --n and --alpha out if they are unknown"
        )
    return largest


def _exceeds(radius: float, largest: float) -> bool:
    """Whether a log's radius exceeds `largest`, allowing for rounding up to three digits or two decimals."""
    return radius > 1.005 * largest + 0.005
