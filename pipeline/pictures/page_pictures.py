"""A replayed image as the page shows it: its pictures as PNG, its votes, its certificate in words."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from raysmooth.actors.models.base_classifier import INVALID
from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import named_image
from raysmooth.pipeline.analysis.sigmas.limits import limits_of
from raysmooth.pipeline.pictures.image_figure import any_invalid, shown_classes
from raysmooth.pipeline.pictures.image_replay import ReplayedImage
from raysmooth.pipeline.pictures.picture import LARGE
from raysmooth.pipeline.pictures.statement import evidence, set_aside, statement
from raysmooth.pipeline.report.class_names import name_of, named
from raysmooth.pipeline.report.page.context import CertifiedImage, Shown

MOST_PIXELS = 512
"""Pixels a side of the largest picture on a page."""


def as_certified_image(one: ReplayedImage, missing: str) -> CertifiedImage:
    """`missing` is the reason why there are no noisy copies, "" where there are."""
    row = one.row
    heading = f"{row['dataset']} {row['split']} {named_image(row['image_id'], row.get('file'))}"
    if row["label"] is not None:
        heading += f", label {named(row['label'], one.class_names)}"
    title, votes = _votes(one)
    note = "Below pictures: the answer of the classifier that is smoothed. Pictures are clipped to [0, 1]."
    if missing or one.copies is None:
        note = f"Noisy copies are not shown: {missing or 'there are none'}."
    elif not one.copies.own:
        note += " The noise is not the run's own, which requires its version of raysmooth and its kind of GPU."
    if (limits := limits_of(row.get("sigma_rule"), row.get("source"))) is not None:
        note += f" {limits}"
    words = statement(row, one.class_names)
    return CertifiedImage(
        heading,
        _rows(one, heading),
        votes,
        title,
        f"{words[0].upper()}{words[1:]}.",
        f"{_first_upper(evidence(row))}.",
        note,
    )


def _first_upper(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}"


def _rows(one: ReplayedImage, heading: str) -> list[list[Shown | None]]:
    if one.clean is None:
        return []

    def shown(pixels: np.ndarray, title: str, number: int | str, answer: int | None) -> Shown:
        label = one.row["label"]
        below, right = "", None
        if answer is not None:
            rejected = None if one.num_classes is None or answer < one.num_classes else answer - one.num_classes
            below = "no answer" if answer == INVALID else named(answer, one.class_names)
            if rejected is not None:
                below = f"rejected ({name_of(rejected, one.class_names) or rejected})"
            right = None if label is None or rejected is not None else answer == label
        return Shown(
            _png(pixels), title, f"{heading}, {title} {number}".rstrip(), below, right, max(pixels.shape) <= LARGE
        )

    first: list[Shown | None] = [shown(one.clean, "clean", "", one.clean_answer)]
    if (copies := one.copies) is None:
        return [first]
    noisy_answers = copies.answers if copies.denoised is None else [None] * len(copies.answers)
    first += [
        shown(pixels, "noisy", number, answer)
        for number, (pixels, answer) in enumerate(zip(copies.noisy, noisy_answers, strict=True), 1)
    ]
    if copies.denoised is None:
        return [first]
    second: list[Shown | None] = [None]
    second += [
        shown(pixels, "denoised", number, answer)
        for number, (pixels, answer) in enumerate(zip(copies.denoised, copies.answers, strict=True), 1)
    ]
    return [first, second]


def _votes(one: ReplayedImage) -> tuple[str, Sequence[tuple[str, int, float]]]:
    """What is counted, and class, count and share of the most frequent classes."""
    if not one.counts:
        return "", []
    role = max(one.counts)
    counted = one.counts[role]
    draws = int(counted.counts.sum()) + counted.invalid
    classes, kept = shown_classes(one), one.kept(role)
    bars = [(named(label, one.class_names), int(kept[label])) for label in classes]
    bars.append(("others", int(kept.sum()) - sum(count for _, count in bars)))
    if one.num_classes is not None:
        bars.append((set_aside(one.row), int(one.rejected(role).sum())))
    if any_invalid(one):
        bars.append(("no answer", counted.invalid))
    what = "noisy copies" if role == Role.ESTIMATION else "noisy copies of the selection"
    return f"Votes of {draws:,} {what}", [(name, count, count / draws) for name, count in bars]


def _png(pixels: np.ndarray) -> bytes:
    levels = np.rint(255 * np.clip(pixels.transpose(1, 2, 0), 0, 1)).astype(np.uint8)
    picture = Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
