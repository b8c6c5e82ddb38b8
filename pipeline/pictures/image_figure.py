"""The figure of one image: its noisy copies, its label counts, and its certificate."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter

from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import named_image
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.sigmas.limits import limits_of_all
from raysmooth.pipeline.pictures.image_replay import ReplayedImage
from raysmooth.pipeline.pictures.picture import plot_picture, verdict
from raysmooth.pipeline.pictures.statement import evidence, level_of, set_aside, statement
from raysmooth.pipeline.report.captions import run_names
from raysmooth.pipeline.report.class_names import IN_CELLS, named
from raysmooth.pipeline.report.figures.palette import BLACK, BLUE, SKY
from raysmooth.pipeline.report.rounding import floored

_PALE = 0.5
"""Opacity of bars of rejected draws."""

CLASSES = 5
"""Classes with bars of their own, besides the label's; the others share one bar."""

PANEL, ROW, LEAST, BARS, WORDS, NOTE = 1.3, 1.5, 2.0, 3.8, 0.7, 0.25
"""Inches: a picture's width and its row's height, the minimum height of a run's rows, the width of the bars, the
heights of a run's text and of the footnote.
"""


def plot_image(images: Sequence[ReplayedImage]) -> Figure:
    """One image, one strip per run: its pictures, its label counts as shares of the draws (selection and estimation
    separately), and its certificate in words.
    """
    copies = max((len(one.copies.answers) for one in images if one.copies is not None), default=1)
    heights = [WORDS + max(LEAST, ROW * len(_picture_rows(one))) for one in images]
    width = PANEL * (1 + copies) + BARS
    figure = Figure(figsize=(width, sum(heights) + NOTE), layout="constrained")
    strips = figure.subfigures(len(images) + 1, 1, height_ratios=[*heights, NOTE], squeeze=False)[:, 0]
    for strip, heading, one in zip(strips, headings(images), images, strict=False):
        words = [heading, _sentence(statement(one.row, one.class_names)), _sentence(evidence(one.row))]
        strip.suptitle("\n".join(fill(line, int(width * 16)) for line in words), x=0.01, ha="left", fontsize=8)
        _plot_strip(strip, one, copies)
    strips[-1].text(0.01, 0.4, fill(_note(images), int(width * 18)), fontsize=7, color="0.4")
    return figure


def headings(images: Sequence[ReplayedImage]) -> list[str]:
    """The heading of each: the image, and its run in words."""
    rows = [one.row for one in images]
    names = run_names(describe_runs(pd.DataFrame(rows)))
    return [
        f"{row['dataset']} {row['split']} {named_image(row['image_id'], row.get('file'))}, {names[row['run_id']]}, "
        f"sigma {level_of(row)}"
        for row in rows
    ]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _picture_rows(one: ReplayedImage) -> list[tuple[str, np.ndarray, list[int]]]:
    """The rows of pictures beside the clean one: title, images (N, C, H, W), and the answer below each."""
    if (copies := one.copies) is None:
        return []
    if copies.denoised is None:
        return [("noisy", copies.noisy, copies.answers)]
    return [("noisy", copies.noisy, copies.bare_answers or []), ("denoised", copies.denoised, copies.answers)]


def _plot_strip(strip: SubFigure, one: ReplayedImage, copies: int) -> None:
    rows, label = _picture_rows(one), one.row["label"]
    grid = strip.add_gridspec(max(1, len(rows)), copies + 2, width_ratios=[PANEL] * (copies + 1) + [BARS])
    clean = strip.add_subplot(grid[:, 0])
    if one.clean is None:
        clean.set_axis_off()
    else:
        answer, names = one.clean_answer, one.class_names
        below, colour = ("", BLACK) if answer is None else verdict(answer, label, names, one.num_classes)
        plot_picture(clean, one.clean, f"clean: {below}" if below else "clean", colour)
    for place, (title, pictures, answers) in enumerate(rows):
        for number, (image, answer) in enumerate(zip(pictures, answers, strict=True)):
            axes = strip.add_subplot(grid[place, number + 1])
            plot_picture(axes, image, *verdict(answer, label, one.class_names, one.num_classes))
            axes.set_ylabel(title if number == 0 else "", fontsize=8)
    if one.counts:
        _plot_counts(strip.add_subplot(grid[:, -1]), one)


def _plot_counts(axes: Axes, one: ReplayedImage) -> None:
    classes = shown_classes(one)
    for role, colour, offset in ((Role.ESTIMATION, BLUE, -0.2), (Role.SELECTION, SKY, 0.2)):
        if (stored := one.counts.get(role)) is None:
            continue
        draws = int(stored.counts.sum()) + stored.invalid
        bars, rejected = (_with_others(counts, classes) for counts in (one.kept(role), one.rejected(role)))
        if any_invalid(one):
            bars, rejected = [*bars, stored.invalid], [*rejected, 0]
        places, texts = np.arange(len(bars)) + offset, [f"{count:,}" for count in bars]
        what = f"{role.name.lower()}: {draws:,} draws"
        container = axes.barh(places, [count / draws for count in bars], 0.4, color=colour, label=what)
        if one.num_classes is not None:
            aside = set_aside(one.row)
            what += f", {sum(rejected):,} of them {aside}"
            container.set_label(f"{what} (hatched)")
            texts = [f"{text} + {also:,} {aside}" if also else text for text, also in zip(texts, rejected, strict=True)]
            lefts = [count / draws for count in bars]
            shares = [count / draws for count in rejected]
            container = axes.barh(
                places, shares, 0.4, lefts, color=colour, alpha=_PALE, hatch="/////", edgecolor="white", linewidth=0
            )
        axes.bar_label(container, texts, fontsize=7, padding=2)
    p_lower, prediction = one.row["p_lower"], one.row["prediction"]
    if p_lower and prediction in classes:
        place = classes.index(prediction)
        axes.plot([p_lower] * 2, [place - 0.45, place + 0.05], color=BLACK, label=f"p_lower {floored(p_lower, 4)}")
    axes.axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
    texts = [named(label, one.class_names, IN_CELLS) for label in classes]
    ticks = [
        f"{text} (label)" if label == one.row["label"] else text for label, text in zip(classes, texts, strict=True)
    ]
    ticks += ["others", *(["no answer"] if any_invalid(one) else [])]
    axes.set_yticks(range(len(ticks)), ticks)
    slots, reach = max(len(ticks), CLASSES + 1), 1.18  # equally thick bars, however few
    if one.num_classes is not None:  # with room for longer texts, and for the legend below them
        slots, reach = slots + 2, 1.45
    axes.set(xlim=(0, reach), xticks=[0, 0.25, 0.5, 0.75, 1], ylim=(slots - 0.5, -0.6))
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="lower right")


def _with_others(counts: np.ndarray, classes: Sequence[int]) -> list[int]:
    """The counts of `classes`, and the sum of all others."""
    own = [int(counts[name]) for name in classes]
    return [*own, int(counts.sum()) - sum(own)]


def any_invalid(one: ReplayedImage) -> bool:
    """Whether any draw of the image has no answer."""
    return any(stored.invalid for stored in one.counts.values())


def shown_classes(one: ReplayedImage) -> list[int]:
    """The classes with the most draws, rejected ones too, in descending order, and the label's class."""
    total = np.sum([one.kept(role) + one.rejected(role) for role in one.counts], axis=0)
    shown = [int(name) for name in np.argsort(-total, kind="stable")[:CLASSES] if total[name]]
    label = one.row["label"]
    return shown if label is None or label in shown or label >= len(total) else [*shown, int(label)]


def _note(images: Sequence[ReplayedImage]) -> str:
    said = limits_of_all(one.row for one in images)
    copies_of = [one.copies for one in images if one.copies is not None]
    if not copies_of:
        return " ".join(said)
    words = ["Below each picture: the prediction of the base classifier"]
    if any(copies.denoised is not None for copies in copies_of):
        words.append("below noisy ones, that of its classifier without the denoiser")
    if any(one.num_classes is not None for one in images):
        words.append("a rejected copy votes for no class, that of its answer is in parentheses")
    words.append("pictures are clipped to [0, 1]")
    if not all(copies.own for copies in copies_of):
        words.append("the noise is not the run's own, which requires its version of raysmooth and its kind of GPU")
    return " ".join([f"{'; '.join(words)}.", *said])
