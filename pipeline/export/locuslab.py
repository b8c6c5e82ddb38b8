"""The log of certify.py of Cohen et al. 2019: tab-separated `idx label predict radius correct time`, a line per image.
Every analysis script of the field reads it, and so does `raysmooth import`.

Radii are written in full, so that each reads back as the number that is stored. An image that failed is an abstention,
as in the field's own logs, which have nothing else for it. Where images have noise levels of their own, a column
`sigma` follows.
"""

import shlex
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.analysis.metrics import is_rejecting
from raysmooth.pipeline.analysis.run_facts import LABELLED
from raysmooth.pipeline.analysis.sigmas.rules import JOINED, read_rule
from raysmooth.pipeline.export.exported_run import ExportedRun, plain
from raysmooth.pipeline.store.row_checks import index_set_of
from raysmooth.pipeline.store.sigma_rules import MEMORY_OF
from raysmooth.storage.object_store import notify

HEADER = ("idx", "label", "predict", "radius", "correct", "time")

ABSTAINS = -1


def locuslab_log(runs: Sequence[ExportedRun], out: str | None) -> str:
    """The log of one run. Raises RaysmoothError for a run whose certificates such a log cannot state."""
    (run,) = runs
    _refuse(run)
    timed = run.rows["seconds"].notna().all()
    columns = [*(HEADER if timed else HEADER[:-1]), *(["sigma"] if run.own_levels else [])]
    lines = ["\t".join(columns)]
    for row in run.rows.to_dict("records"):
        line = _line(row)
        lines.append("\t".join(line[column] for column in columns))
    for note in _notes(run):
        notify(note)
    notify(f"to read it back: raysmooth import {shlex.quote(out or 'LOG')} {shlex.join(import_flags(run))}")
    return "\n".join(lines) + "\n"


def _line(row: dict[Any, Any]) -> dict[str, str]:
    failed = row["status"] == "error"
    prediction = ABSTAINS if failed else int(row["prediction"])
    radius = 0.0 if failed or prediction == ABSTAINS else float(row["radius"])
    seconds, sigma = plain(row["seconds"]), plain(row.get("image_sigma"))
    return {
        "idx": str(int(row["image_id"])),
        "label": str(int(row["label"])),
        "predict": str(prediction),
        "radius": repr(radius),
        "correct": str(int(prediction == row["label"])),
        "time": "" if seconds is None else str(timedelta(seconds=seconds)),
        "sigma": "" if sigma is None else repr(float(sigma)),
    }


def _refuse(run: ExportedRun) -> None:
    """Raises RaysmoothError where a log would say something else than the run."""
    if run.quantity != LABELLED:
        raise _cannot(run, f"its shares are '{run.quantity}', and such a log needs the labels of the data")
    if read_rule(run.fact("sigma_rule")).name in JOINED:
        raise _cannot(run, "it joins several noise levels, and such a log is of one")
    if str(run.fact("source") or "").startswith(MEMORY_OF):
        raise _cannot(run, "its certificates hold for a classifier that remembers its answers, which no log says")
    if str(run.fact("sampling")).startswith("decide"):
        raise _cannot(run, f"it decides one radius ({run.fact('sampling')}), beside which a log's others are unknown")
    if run.fact("norm") == "linf":
        raise _cannot(
            run, "such a log is read as l2, and its radii are in linf: 'raysmooth recertify --norm l2' first, or"
        )
    if run.rows["label"].isna().any():
        image = int(run.rows.loc[run.rows["label"].isna(), "image_id"].iloc[0])
        raise _cannot(run, f"image {image} failed before its label was known, and a log without it would be too good")
    if run.own_levels and run.rows["image_sigma"].isna().any():
        raise _cannot(run, "an image has no noise level, as its search failed")


def _cannot(run: ExportedRun, why: str) -> RaysmoothError:
    joint = " " if why.endswith("or") else ": "
    return RaysmoothError(f"run {run.run_id} has no locuslab log, as {why}{joint}write --format json")


def _notes(run: ExportedRun) -> Iterator[str]:
    """What the log does not say."""
    if run.errors:
        yield f"{counted(run.errors, 'image')} failed: written as abstentions, as such logs do"
    if run.images < run.planned:
        yield f"the run is unfinished: {run.images} of {run.planned} images"
    if is_rejecting(run.facts["rejector"]).any():
        yield f"the log does not name the rejector, {run.fact('rejector')}: say it where you publish the log"
    if run.own_levels:
        yield f"each image has its own sigma ({run.fact('sigma_rule')}): in the column sigma"


def import_flags(run: ExportedRun) -> list[str]:
    """The flags of `raysmooth import` that give the log the facts of the run."""
    flags = []
    for name in ("dataset", "split", "classifier", "denoiser", "objective", "noise", "sigma", "n0", "n", "alpha"):
        if (value := run.fact(name)) is not None:
            flags += [f"--{name}", str(value)]
    if (ids := index_set_of(run.fact("index_set"))) is not None:
        size = str(run.fact("index_set")).split(" (")[0].split(",")[0].split()[-1]
        flags += ["--start", str(ids.start), "--skip", str(ids.step), "--images", str(len(ids)), "--dataset-size", size]
    return [*flags, *(["--image-sigmas"] if run.own_levels else [])]
