"""Runs with a sigma for each image in captions, labels, tables, figures and on the page."""

import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from certificate_rows import run_of
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sigma_rows import (
    BEFORE,
    DDRS,
    ENVELOPE,
    GRID,
    SELECTOR,
    envelope_run,
    fixed_run,
    memory_run,
    of_steps,
    searched_run,
)

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.sigmas.limits import MEMORY, PER_IMAGE
from raysmooth.pipeline.analysis.summary import summarize
from raysmooth.pipeline.report.captions import caption, run_cells, run_labels
from raysmooth.pipeline.report.figures.figure_text import WIDTHS, wrapped
from raysmooth.pipeline.report.figures.sigmas import sigma_histograms
from raysmooth.pipeline.report.figures.steps import step_panels
from raysmooth.pipeline.report.page.headline import headline
from raysmooth.pipeline.report.page.page import render_page
from raysmooth.pipeline.report.report import FIGURES
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.sigma_words import SELECTED
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.comparison import comparison_table
from raysmooth.pipeline.report.tables.runs import best_of, runs_table
from raysmooth.storage.location import located

SELECTED_SIGMAS = (0.25, 0.5, 1.0, 0.25, 0.5, 0.25, 0.25, None)
EVERY = [
    fixed_run(),
    searched_run(),
    searched_run("2" * 16, GRID),
    searched_run("3" * 16, SELECTOR, sigmas=SELECTED_SIGMAS),
    envelope_run(),
    memory_run(),
]
KINDS = ReportData(pd.concat(EVERY, ignore_index=True))
STEPS = ReportData(
    pd.concat([fixed_run(), *of_steps(100, 200, 300), *of_steps(100, 200, sigma=0.5)], ignore_index=True),
    [0, 0.25, 0.5],
)


def described(*runs: pd.DataFrame) -> pd.DataFrame:
    return describe_runs(pd.concat(runs, ignore_index=True))


def test_the_caption_says_what_each_row_certifies() -> None:
    words = str(caption(described(searched_run())))
    assert words.endswith(f"all those of a run at once with 0.992. {PER_IMAGE.removesuffix('.')}")
    options = "anchor=off, clamp=0.02, draws=1, gradient=backward, learning_rate=0.0001"
    assert f", sigma of each image by DDRS ({options}, K=400), n0=100" in words
    memory = str(caption(described(memory_run())))
    assert MEMORY.removesuffix(".") in memory
    assert PER_IMAGE.removesuffix(".") not in memory
    for run, rule in ((searched_run(rule=SELECTOR), "certified selector (alpha=0.001"), (envelope_run(), ENVELOPE[:9])):
        one = str(caption(described(run)))
        assert rule in one
        assert "no statement about" not in one
    assert SELECTED.removesuffix(".") in str(caption(described(searched_run(rule=SELECTOR))))
    assert "envelope of sigma 0.25, 0.5, 1, n0=100" in str(caption(described(envelope_run())))


def test_where_only_some_runs_have_image_sigmas_the_caption_names_their_searches() -> None:
    words = KINDS.caption.guarantee
    assert f"DDRS and grid search: {PER_IMAGE[0].lower()}{PER_IMAGE[1:]}" in words
    assert words.endswith(MEMORY.removesuffix("."))
    assert "K=" not in KINDS.caption.facts  # labels have it


def test_runs_with_one_sigma_are_described_as_ever() -> None:
    old, new = described(run_of("a" * 16)), described(fixed_run("a" * 16))
    assert caption(old).facts.replace("8 images", "") == caption(new).facts.replace("8 images", "")
    assert not {"sigma_rule", "source"} & set(run_cells(new))
    assert run_labels(described(fixed_run(), fixed_run("b" * 16, sigma=0.5))) == [
        "no denoiser, sigma 0.25",
        "no denoiser, sigma 0.5",
    ]


def test_labels_distinguish_the_rules() -> None:
    assert run_labels(KINDS.runs) == [
        "no denoiser, fixed sigma",
        "no denoiser, DDRS K=400",
        "memory, no denoiser, DDRS K=400",
        "no denoiser, grid search",
        "no denoiser, certified selector",
        "no denoiser, envelope of 0.25, 0.5, 1",
    ]
    assert run_labels(STEPS.runs)[:2] == ["no denoiser, fixed sigma 0.25", "no denoiser, DDRS K=100, sigma 0.25"]
    faster = searched_run("b" * 16, DDRS.replace("0.0001", "0.001"))
    assert run_labels(described(searched_run(), faster)) == [
        "no denoiser, DDRS K=400, learning_rate=0.0001",
        "no denoiser, DDRS K=400, learning_rate=0.001",
    ]
    cells = run_cells(KINDS.runs)
    assert cells["sigma"].tolist() == ["0.25"] * 5 + ["-"]
    assert cells["source"].tolist() == ["own", "own", "memory", "own", "own", "envelope"]
    assert list(cells)[-2:] == ["sigma", "sigma_rule"]


def test_only_runs_about_the_same_compete_for_the_best() -> None:
    better = searched_run(outcomes=[(1, 0.9)] * 8, sigmas=[0.3] * 8)
    summary = summarize(pd.concat([fixed_run(), better, searched_run("3" * 16, SELECTOR)]), [0.5])
    assert best_of(summary)["r=0.5"].tolist() == [False, False, True]
    assert "Bold: the best of those whose certificates are about the same." in runs_table(summary).note
    assert "Bold" not in runs_table(summary.head(1)).note


def test_an_envelope_over_results_says_that_it_is_no_certificate() -> None:
    sentence = "a line is no certificate of one classifier"
    rows = pd.concat([*of_steps(100, 200), *of_steps(100, sigma=0.5)], ignore_index=True)
    table = TABLES["envelope"](ReportData(rows, [0.25], ["objective"]), False)
    assert "Best of sigma 0.25, 0.5, and of DDRS K=100, DDRS K=200, at each radius" in table.note
    assert sentence in table.note
    alone = TABLES["envelope"](KINDS, False)
    assert alone.cells["sigma_rule"].tolist()[1:4] == ["DDRS K=400", "DDRS K=400", "grid search"]
    assert sentence not in alone.note


def test_the_table_of_sigmas_by_hand() -> None:
    table = TABLES["sigmas"](ReportData(pd.concat([fixed_run(), searched_run()])), False)
    assert set(table.cells["sigma_rule"]) == {"DDRS K=400"}
    lines = table.cells.drop(columns=["denoiser", "objective", "sigma", "sigma_rule"]).agg(" ".join, axis=1)
    assert lines.tolist() == [
        "all 7 0.3732 0.0625 0.2500 0.3000 0.3500 1.0000 14.2 14.2 28.5",
        "correct 4 0.2531 0.0625 0.0625 0.2500 0.3000 0.4000 25.0 0.0 50.0",
        "wrong 1 0.3500 0.3500 0.3500 0.3500 0.3500 0.3500 0.0 0.0 0.0",
        "abstained 2 0.6250 0.2500 0.2500 0.2500 0.2500 1.0000 0.0 50.0 0.0",
    ]
    assert "larger radius" not in TABLES["sigmas"](ReportData(searched_run()), False).cells
    with pytest.raises(RaysmoothError, match="one sigma for all images: certify with --sigmas"):
        TABLES["sigmas"](ReportData(fixed_run()), False)


def test_the_table_of_steps_by_hand() -> None:
    table = TABLES["steps"](STEPS, False)
    assert table.cells.drop(columns=["denoiser", "objective"]).to_numpy().tolist() == [
        ["0.25", "0", "62.5", "37.5", "12.5", "0.200"],
        ["0.25", "100", "50.0", "25.0", "12.5", "0.202"],  # 0.41 + 0.21 + 0.9 + 0.1 of 8
        ["0.25", "200", "50.0", "25.0", "12.5", "0.205"],
        ["0.25", "300", "37.5", "25.0", "12.5", "0.195"],  # 0.43 + 0.23 + 0.9
        ["0.5", "100", "50.0", "25.0", "12.5", "0.202"],
        ["0.5", "200", "50.0", "25.0", "12.5", "0.205"],
    ]
    assert "choosing by the result" in table.note
    assert TABLES["steps"](STEPS, True).cells["r=0.25 95 %"].str.contains(" to ").all()
    with pytest.raises(RaysmoothError, match="no runs differ in the steps of their search alone"):
        TABLES["steps"](KINDS, False)
    draws = [
        run.assign(sigma_rule=run["sigma_rule"].str.replace("draws=1", "draws=8"), run_id=f"{place:016d}")
        for place, run in enumerate(of_steps(100, 200))
    ]
    both = ReportData(pd.concat([*of_steps(100, 200), *draws], ignore_index=True), [0])
    assert TABLES["steps"](both, False).cells["sigma_rule"].unique().tolist() == ["DDRS draws=1", "DDRS draws=8"]


def test_the_histogram_has_every_image_once() -> None:
    found = sigma_histograms(KINDS)
    assert list(found.kinds) == ["radius grew", "other images"]
    assert [run[0] for run in found.shares] == ["1", "2", "3", "e"]  # a memory has the sigmas of its run
    for run, shares in found.shares.items():
        assert shares.sum() == pytest.approx(1)
        assert shares[0].sum() == pytest.approx(0 if run[0] == "e" else 2 / 7)  # an envelope has no counterpart
    assert "e" * 16 not in found.marks
    alone = sigma_histograms(ReportData(searched_run()))
    assert list(alone.kinds) == ["images"]
    counts = np.round(7 * alone.shares["1" * 16][0])
    assert dict(zip(np.round(alone.edges, 3), counts, strict=False))[0.25] == 3  # 0.25 twice, and what else is in it


def test_of_the_steps_of_a_search_the_histogram_has_the_last() -> None:
    assert sorted(sigma_histograms(STEPS).shares) == ["2000.5aaaaaaaaaa", "3000.25aaaaaaaaa"]
    assert "that with most is shown" in FIGURES["sigmas"].caption(STEPS)


def test_draws_and_bounds_of_joined_runs_make_no_difference() -> None:
    joined = envelope_run().assign(n0=300, n=30_000, noise_bound="runner-up", p_upper=None)
    runs = described(fixed_run(), searched_run(), joined)
    assert run_labels(runs)[0] == "no denoiser, fixed sigma"
    facts = caption(runs).facts
    assert facts.endswith("envelope with the draws of all their runs, n0=100, n=10000, alpha=0.001")
    assert "n=30000" in caption(described(joined)).facts
    worst = joined.assign(run_id="d" * 16, sigma_rule="worst of 0.25, 0.5", source="worst sigma of a,b")
    assert run_labels(described(fixed_run(), worst)) == ["no denoiser, fixed sigma", "no denoiser, worst of 0.25, 0.5"]


def test_a_sigma_stays_beside_its_number() -> None:
    assert wrapped("no denoiser, sigma 0.25", 19) == "no denoiser,\nsigma 0.25"


def test_panels_of_steps() -> None:
    names, (first, second) = step_panels(STEPS)
    assert names == ["r=0", "r=0.25", "r=0.5"]
    assert (first.title, second.title) == ("sigma 0.25", "sigma 0.5")
    assert first.steps.tolist() == [0, 100, 200, 300]
    assert first.shares[0].tolist() == [5 / 8, 4 / 8, 4 / 8, 3 / 8]
    assert step_panels(ReportData(pd.concat(of_steps(100, 200)), [0]))[1][0].title == ""


@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize(("name", "data"), [("sigmas", KINDS), ("steps", STEPS), ("sigma", KINDS)])
def test_figures_are_as_wide_as_a_column_and_nothing_is_cut_off(name: str, data: ReportData, width: float) -> None:
    figure = FIGURES[name].plot(data, width)
    assert figure.get_figwidth() == width
    FigureCanvasAgg(figure).draw()
    for artist in (*figure.axes, *figure.legends):
        box = artist.get_tightbbox()
        assert box is not None
        assert (box.x0, box.y0) >= (figure.bbox.x0, figure.bbox.y0)
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    assert PER_IMAGE[1:].removesuffix(".") in FIGURES[name].caption(data)


def test_a_comparison_names_the_rules() -> None:
    note = comparison_table(KINDS, "1", "0", 0.45).note
    assert note.startswith("A: no denoiser, DDRS K=400, sigma 0.25 (11111111). B: no denoiser, fixed sigma 0.25 (0000")
    assert "Only A certifies 1, only B 0" in note
    assert "B: no denoiser, envelope of 0.25, 0.5, 1 (eeeeeeee)." in comparison_table(KINDS, "1", "e", 0.45).note


def test_a_page_opens_with_the_strongest_statement() -> None:
    better = searched_run(outcomes=[(1, 0.9)] * 8, sigmas=[0.3] * 8)
    head = headline(ReportData(pd.concat([better, fixed_run()]), [0.25]))
    assert (head.run_id, head.certified, head.others) == ("0" * 16, 3, [])
    assert headline(ReportData(pd.concat([memory_run(), better]), [0.25])).run_id == "1" * 16


def test_the_page_shows_tables_and_figures(tmp_path: Path) -> None:
    text = unescape(render_page(KINDS, located(tmp_path), {}))
    assert 'id="sigmas"' in text
    assert 'id="steps"' not in text
    assert len(re.findall(r'<svg[^>]*aria-label="sigma of an image of ', text)) == 4
    assert "<h3>sigma 0.25</h3>" in text
    assert "<h3>several sigmas</h3>" in text
    assert PER_IMAGE[1:] in text
    steps = unescape(render_page(STEPS, located(tmp_path), {}))
    (panel,) = re.findall(
        r'<svg[^>]*K=0 is the run with one sigma for all images. sigma 0.5">.*?</svg>', steps, re.DOTALL
    )
    assert panel.count('class="curve"') == 3
    assert len(set(re.findall(r"stroke: var\((--c\d+)\)", panel))) == 3
    plain = render_page(ReportData(fixed_run()), located(tmp_path), {})
    assert 'id="sigmas"' not in plain


@pytest.mark.parametrize(
    ("run", "result", "classifier"),
    [
        (
            searched_run(),
            "cannot be misread because of any change of at most ℓ₂ 0.25, each by a classifier with a sigma of its own.",
            "of a sigma that is chosen for each image (DDRS K=400, from sigma 0.25).",
        ),
        (
            memory_run(),
            "are in a memory with their class, which every later query gets after any change of at most ℓ₂ 0.25.",
            "of a sigma that is chosen for each image",
        ),
        (
            envelope_run(),
            "provably cannot be misread because of any change of at most ℓ₂ 0.25.",
            "of several sigmas (envelope of 0.25, 0.5, 1), of which that counts which certifies most.",
        ),
    ],
)
def test_the_opening_says_what_is_certified(run: pd.DataFrame, result: str, classifier: str, tmp_path: Path) -> None:
    text = unescape(render_page(ReportData(run), located(tmp_path), {}))
    assert result in text
    assert classifier in text


def test_costs_leave_the_search_out() -> None:
    assert "search of image sigmas is not part" in TABLES["cost"](KINDS, False).note
    assert "search" not in TABLES["cost"](ReportData(fixed_run(outcomes=BEFORE)), False).note
