"""Runs with a rejector in captions, labels, tables, figures and on the page."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rejecting_runs import CONFIDENCE, N, plain_run, rejecting_run, without_rejection

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.envelope import default_groups
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.run_selection import where
from raysmooth.pipeline.analysis.summary import summarize
from raysmooth.pipeline.report.captions import caption, run_cells, run_labels
from raysmooth.pipeline.report.figures.figure_text import WIDTHS
from raysmooth.pipeline.report.figures.rejection import BINS, image_steps, plot_rejection, step_colours
from raysmooth.pipeline.report.page.page import render_page
from raysmooth.pipeline.report.page.svg_paths import Box, cell_paths
from raysmooth.pipeline.report.report import FIGURES
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.comparison import comparison_table
from raysmooth.pipeline.report.tables.rejection import rejection_table
from raysmooth.pipeline.report.tables.runs import best_of
from raysmooth.storage.location import located

WITH = rejecting_run()
OFF = without_rejection(WITH)
PAIR = pd.concat([WITH, OFF], ignore_index=True)


def described(*runs: pd.DataFrame) -> pd.DataFrame:
    return describe_runs(pd.concat(runs, ignore_index=True))


def test_the_caption_names_the_rejector_the_bound_and_the_share_of_alpha() -> None:
    words = str(caption(described(WITH)))
    assert "runner-up bound, denoiser dncnn:channels=1,depth=5,width=16, rejector confidence:threshold=0.6" in words
    assert "n0=100, n=10000, alpha=0.001 (0.5 of it for pA): each certificate holds" in words
    nine = WITH.assign(alpha_share=0.9, noise_bound="rejection")
    assert "rejection bound, " in str(caption(described(nine)))
    assert "alpha=0.001 (0.9 of it for pA): each" in str(caption(described(nine)))
    both = str(caption(described(WITH, OFF)))
    assert "bound, denoiser" not in both
    assert (
        "rejector confidence:threshold=0.6, n0=100, n=10000, alpha=0.001 (0.5 of it for pA; all of it with the 1 - pA "
        "bound)" in both
    )
    assert "(0.5 of alpha" not in both
    assert "n=10000, 0.5 of alpha for pA: each" in str(
        caption(described(WITH, WITH.assign(run_id="d" * 16, alpha=0.01)))
    )


def test_runs_without_a_rejector_are_described_as_ever() -> None:
    old = described(plain_run())
    assert old[["rejector", "alpha_share", "bound"]].iloc[0].tolist() == ["none", 1.0, "1 - pA"]
    assert "reject" not in str(caption(old))
    assert "of it for pA" not in str(caption(old))
    assert not {"rejector", "alpha_share", "bound"} & set(run_cells(old))
    new = described(plain_run().assign(rejector=None, noise_bound="complement", alpha_share=1.0, count_rejected=None))
    assert caption(new) == caption(old)


def test_labels_and_cells_tell_the_runs_apart() -> None:
    never = plain_run()
    runs = described(never, WITH, OFF)
    assert run_labels(runs) == [
        "STAB+MSE denoiser, no rejector",
        "recertified, STAB+MSE denoiser, no rejector",
        "STAB+MSE denoiser, rejector confidence",
    ]
    cells = run_cells(runs)
    assert list(cells) == ["bound", "source", "denoiser", "objective", "rejector", "sigma"]
    assert cells["rejector"].tolist() == ["none", "none", "confidence"]
    other = rejecting_run("d" * 16, "confidence:threshold=0.7")
    assert run_labels(described(WITH, other)) == [
        "STAB+MSE denoiser, rejector confidence:threshold=0.6",
        "STAB+MSE denoiser, rejector confidence:threshold=0.7",
    ]
    assert list(run_cells(described(WITH, other))) == ["denoiser", "objective", "rejector", "sigma"]


def test_a_bound_or_a_share_that_certify_does_not_use_by_itself_is_in_the_label() -> None:
    theorem = WITH.assign(run_id="d" * 16, noise_bound="rejection", alpha_share=0.9)
    assert run_labels(described(OFF, WITH, theorem)) == [
        "recertified, STAB+MSE denoiser, no rejector",
        "STAB+MSE denoiser, rejector confidence",
        "rejection bound, 0.9 of alpha for pA, STAB+MSE denoiser, rejector confidence",
    ]
    cells = run_cells(described(OFF, WITH, theorem))
    assert cells[["bound", "alpha_share"]].to_numpy().tolist() == [
        ["1 - pA", "1"],
        ["runner-up", "0.5"],
        ["rejection", "0.9"],
    ]


def test_runs_are_chosen_by_their_rejector() -> None:
    assert set(where(PAIR, ["rejector=confidence"])["run_id"]) == {WITH["run_id"].iloc[0]}
    assert set(where(PAIR, [f"rejector={CONFIDENCE}"])["run_id"]) == {WITH["run_id"].iloc[0]}
    assert set(where(PAIR, ["rejector=none"])["run_id"]) == {OFF["run_id"].iloc[0]}
    assert len(where(plain_run(), ["rejector=none"])) == 8
    assert set(where(PAIR, ["alpha_share=0.5"])["run_id"]) == {WITH["run_id"].iloc[0]}


def test_with_and_without_a_rejector_compete_for_the_best() -> None:
    better = OFF.assign(radius=WITH["radius"] / 2)
    summary = summarize(pd.concat([WITH, better]), [0.3])
    assert best_of(summary)["r=0.3"].tolist() == [False, True]
    theorem = WITH.assign(noise_bound="rejection")
    assert not best_of(summarize(pd.concat([theorem, better]), [0.3])).any(axis=None)
    assert default_groups(summary) == ["bound", "denoiser", "objective", "rejector"]


def test_the_table_of_rates_by_hand() -> None:
    table = TABLES["rejection"](ReportData(PAIR), False)
    cells = table.cells[["rejector", "class", "all images", "correct", "wrong", "abstained"]]
    assert cells.to_numpy().tolist() == [
        ["confidence", "all", "31.8 (7)", "11.0 (4)", "59.0 (1)", "60.0 (2)"],  # 22,300 of 70,000
        ["confidence", "0", "9.0 (1)", "9.0 (1)", "-", "-"],
        ["confidence", "1", "31.3 (3)", "17.5 (2)", "59.0 (1)", "-"],
        ["confidence", "2", "40.0 (3)", "0.0 (1)", "-", "60.0 (2)"],
    ]  # fmt: skip
    assert "class unchecked" not in table.cells
    assert "failed images are left out" in table.note
    assert table.values["rejected"].tolist() == [22_300, 900, 9400, 12_000]
    named = rejection_table(ReportData(WITH.assign(label_name=WITH["label"].map({0: "cat", 1: "dog", 2: "owl"}))))
    assert named.cells["class"].tolist() == ["all", "0 (cat)", "1 (dog)", "2 (owl)"]


def test_of_many_classes_those_with_the_most_rejected_draws_are_shown() -> None:
    table = rejection_table(ReportData(WITH), most=3)
    assert table.cells["class"].tolist() == ["all", "1", "2"]
    assert "Of 4 lines, only each run's 2 classes with the most rejected draws are shown." in table.note


def test_without_a_rejector_there_is_no_table_and_no_figure() -> None:
    data = ReportData(plain_run())
    with pytest.raises(RaysmoothError, match="no run has a rejector, and a number of draws that does not depend"):
        TABLES["rejection"](data, False)
    with pytest.raises(RaysmoothError, match="no run has a rejector"):
        plot_rejection(data)


def test_a_run_and_itself_without_rejection_are_compared_image_by_image() -> None:
    off = OFF.assign(radius=OFF["radius"].where(OFF["image_id"] != 100, 0.1))  # one falls below 0.2
    table = comparison_table(ReportData(pd.concat([WITH, off])), "0123", "fedc", 0.2)
    assert "A: STAB+MSE denoiser, rejector confidence, sigma 0.5 (01234567)" in table.note
    assert "B: recertified, STAB+MSE denoiser, no rejector, sigma 0.5 (fedcba98)" in table.note
    assert "Only A certifies 1, only B 0" in table.note
    assert (
        "A's share minus B's: +12.5 percentage points on these images; 95 % interval for images like these"
        in table.note
    )


def test_the_figure_has_a_panel_for_each_run_with_a_rejector() -> None:
    other = rejecting_run("d" * 16, "network")
    for rows, titles in ((PAIR, [""]), (pd.concat([PAIR, other]), ["rejector confidence", "rejector network"])):
        data = ReportData(rows)
        figure = FIGURES["rejection"].plot(data, 6.75)
        panels = [axes for axes in figure.axes if axes.get_xlabel() != "images"]
        assert len(panels) == len(titles)
        for axes, title in zip(panels, titles, strict=True):
            assert axes.get_title().replace("\n", " ").endswith(title)
            assert axes.get_xlim() == axes.get_ylim() == (0, N)
            (diagonal,) = axes.lines
            assert diagonal.get_xydata().tolist() == [[0, N], [N, 0]]
            (mesh,) = axes.collections
            counts = mesh.get_array().reshape(BINS, BINS)  # rows are kept draws
            assert counts.sum() == 7
            assert counts[14, 8] == 1  # 6,000 kept, 3,500 rejected
            assert np.ma.is_masked(counts[0, 0])
            assert mesh.norm.vmin == 1
        assert panels[0].get_ylabel() == "kept draws of the top class"
        assert "the dashed diagonal, no draw is kept for another class" in FIGURES["rejection"].caption(data)
        figure.draw_without_rendering()


@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize("panels", [1, 2, 3])
def test_the_figure_is_as_wide_as_a_column_and_nothing_is_cut_off(width: float, panels: int) -> None:
    runs = [rejecting_run(name * 16, sigma=sigma, n=100) for name, sigma in zip("def", (0.25, 0.5, 1.0), strict=True)]
    figure = plot_rejection(ReportData(pd.concat(runs[:panels])), width)
    assert figure.get_figwidth() == width
    FigureCanvasAgg(figure).draw()
    inside = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert (box.x0, box.y0) >= (inside.x0, inside.y0)
        assert box.x1 <= inside.x1
        assert box.y1 <= inside.y1


def test_noise_levels_alone_are_the_titles_of_their_panels() -> None:
    rows = pd.concat([WITH, rejecting_run("d" * 16, sigma=1.0)])
    assert [axes.get_title() for axes in plot_rejection(ReportData(rows)).axes][:2] == ["sigma 0.5", "sigma 1.0"]


def test_the_steps_of_colours_hold_every_number_once() -> None:
    assert image_steps(0) == []
    assert image_steps(3) == [(1, 1), (2, 3)]
    assert image_steps(150) == [(1, 1), (2, 4), (5, 9), (10, 19), (20, 49), (50, 99), (100, 150)]
    assert image_steps(1000) == [(1, 9), (10, 99), (100, 999), (1000, 1000)]


@pytest.mark.parametrize("on_dark", [False, True])
def test_more_images_stand_out_more(on_dark: bool) -> None:
    def light(colour: str) -> float:
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lights = [light(colour) for colour in step_colours(6, on_dark)]
    assert lights == sorted(lights, reverse=not on_dark)


def test_cells_are_filled_from_below() -> None:
    counts = np.array([[0, 3], [1, 0]])
    one, more = cell_paths(counts, [(1, 1), (2, 3)], Box(40, 40, 1.0))
    assert one == "M20 40h20v-20h-20z"
    assert more == "M0 20h20v-20h-20z"


def test_the_page_shows_the_table_and_the_figure(tmp_path: Path) -> None:
    better = pd.concat([WITH, OFF.assign(radius=OFF["radius"] / 4)], ignore_index=True)
    text = render_page(ReportData(better), located(tmp_path), {})
    assert 'id="rejection"' in text
    (drawing,) = re.findall(r'<svg[^>]*aria-label="Images by rejected draws.*?</svg>', text, re.DOTALL)
    assert drawing.count("M0 0L240 240") == 1
    # 2 images with 10,000 or 9,500 kept draws are in different bins of 400: all seven have a cell of their own.
    (cells,) = re.findall(r'<path d="([^"]*)" style="fill: var\(--h0\)"/>', drawing)
    assert cells.count("z") == 7
    assert "A copy that the rejector (confidence:threshold=0.6) rejects votes for no class." in unescape(text)
    lost = WITH.assign(n_used=WITH["n_used"].mask(WITH.index == 5), n=None)
    page = unescape(render_page(ReportData(lost), located(tmp_path), {}))
    assert "rejection: run 0123456789012345 has images without count_rejected, count_top and n_used" in page
    decided = WITH.assign(sampling="decide:radius=0.5", decision="certified", p_upper=None)
    assert 'id="rejection"' not in render_page(ReportData(decided), located(tmp_path), {})
    without = render_page(ReportData(plain_run()), located(tmp_path), {})
    assert "reject" not in without.partition("</style>")[2].lower()
