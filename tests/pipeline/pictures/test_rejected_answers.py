"""Rejected draws in the pictures of an image: answers name the class, and counts stand beside the kept ones."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raysmooth.actors.models.base_classifier import INVALID
from raysmooth.actors.noise.role import Role
from raysmooth.pipeline.pictures.image_figure import plot_image, shown_classes
from raysmooth.pipeline.pictures.image_replay import Copies, ReplayedImage
from raysmooth.pipeline.pictures.page_pictures import as_certified_image
from raysmooth.pipeline.pictures.picture import verdict
from raysmooth.pipeline.runs.stored_run import RoleCounts

ROW: dict[str, Any] = {
    "run_id": "ab" * 8, "dataset": "digits", "split": "test", "index_set": "all 1", "classifier": "digits_cnn",
    "denoiser": "none", "objective": "none", "noise": "gaussian", "norm": "l2", "sigma": 0.25, "n0": 10, "n": 1000,
    "alpha": 0.01, "images": 1, "image_id": 0, "label": 2, "prediction": 2, "abstain": False, "correct": True,
    "radius": 0.25, "p_lower": 0.6, "p_upper": 0.05, "count_top": 650, "count_rejected": 300, "n_used": 1000,
    "draws": 1010, "status": "ok", "error": None, "rejector": "confidence:threshold=0.6", "alpha_share": 0.5,
    "noise_bound": "runner-up", "source": None,
}  # fmt: skip
PIXELS = np.zeros((1, 8, 8), np.float32)

# Three classes, kept and rejected: class 2 has 650 and 200 draws, class 0 has 50 and 0, class 1 has 0 and 100.
ESTIMATION = RoleCounts(np.array([50, 0, 650, 0, 100, 200]), 0, 1000)
SELECTION = RoleCounts(np.array([0, 0, 7, 0, 2, 1]), 0, 10)
COPIES = Copies(Role.ESTIMATION, True, np.stack([PIXELS] * 4), None, [2, 5, 0, INVALID], None)
IMAGE = ReplayedImage(
    ROW, PIXELS, 4, COPIES, {Role.ESTIMATION: ESTIMATION, Role.SELECTION: SELECTION}, {1: "dog", 2: "cat"}, 3
)


def axes_of(figure: Figure) -> list[Axes]:
    return list(figure.axes) or [axes for strip in figure.subfigs for axes in strip.axes]


def test_a_rejected_answer_names_its_class_and_is_neither_right_nor_wrong() -> None:
    assert verdict(5, 2, {2: "cat"}, 3) == ("rejected\n(cat)", "0.4")
    assert verdict(3, 2, {2: "cat"}, 3) == ("rejected\n(0)", "0.4")
    assert verdict(2, 2, {2: "cat"}, 3)[0] == "cat \N{CHECK MARK}"
    assert verdict(5, 2)[0] == "5 \N{BALLOT X}"  # without a rejector 5 is a class
    assert verdict(INVALID, 2, {}, 3)[0] == "no answer"


def test_kept_and_rejected_counts_stand_beside_each_other() -> None:
    assert shown_classes(IMAGE) == [2, 1, 0]  # 860, 102 and 50 draws, rejected ones too
    figure = plot_image([IMAGE])
    *pictures, bars = axes_of(figure)
    below = [axes.get_xlabel() for axes in pictures]
    assert below == ["clean: rejected\n(dog)", "cat \N{CHECK MARK}", "rejected\n(cat)", "0 \N{BALLOT X}", "no answer"]
    kept, rejected = bars.containers[:2]
    np.testing.assert_allclose([bar.get_width() for bar in kept], [0.65, 0, 0.05, 0])
    np.testing.assert_allclose([bar.get_width() for bar in rejected], [0.2, 0.1, 0, 0])
    np.testing.assert_allclose([bar.get_x() for bar in rejected], [0.65, 0, 0.05, 0])
    texts = [text.get_text() for text in bars.texts]
    assert texts[:4] == ["650 + 200 rejected", "0 + 100 rejected", "50", "0"]
    assert texts[4:] == ["7 + 1 rejected", "0 + 2 rejected", "0", "0"]
    assert "estimation: 1,000 draws, 300 of them rejected (hatched)" in bars.get_legend_handles_labels()[1]
    figure.draw_without_rendering()


def test_the_page_counts_votes_of_kept_draws_and_rejected_ones_apart() -> None:
    image = as_certified_image(IMAGE, "")
    assert image.votes == [
        ("2 (cat)", 650, 0.65), ("1 (dog)", 0, 0.0), ("0", 50, 0.05), ("others", 0, 0.0), ("rejected", 300, 0.3)
    ]  # fmt: skip
    (pictures,) = image.rows
    answers = [(one.below, one.right) for one in pictures if one is not None]
    assert answers == [
        ("rejected (dog)", None), ("2 (cat)", True), ("rejected (cat)", None), ("0", False),
        ("no answer", False),
    ]  # fmt: skip
    assert "300 rejected" in image.evidence
    assert "the smoothed classifier with rejection predicts 2 (cat)" in image.statement
