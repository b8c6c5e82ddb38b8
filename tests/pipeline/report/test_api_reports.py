"""Runs of vision APIs in reports: agreement is not called accuracy, nor are draws without an answer called rejected."""

from pathlib import Path

import pandas as pd
import pytest
from api_runs import C, D, api_run, local_run

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import unanswered_draws
from raysmooth.pipeline.analysis.rejection import has_rejector
from raysmooth.pipeline.analysis.run_facts import AGREEING, LABELLED, describe_runs, has_usual_bound
from raysmooth.pipeline.analysis.summary import summarize
from raysmooth.pipeline.pictures.statement import evidence, statement
from raysmooth.pipeline.report.captions import caption, run_cells, run_labels
from raysmooth.pipeline.report.class_names import named, names_of_run
from raysmooth.pipeline.report.figures.curves import curves_caption
from raysmooth.pipeline.report.page.page import render_page
from raysmooth.pipeline.report.report import FIGURES
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.catalogue import TABLES
from raysmooth.pipeline.report.tables.comparison import comparison_table
from raysmooth.pipeline.report.tables.formats import markdown
from raysmooth.storage.location import located

API, LOCAL = api_run(), local_run()
BOTH = pd.concat([API, LOCAL], ignore_index=True)
AGREES = "Certified agreement is with what the API itself answers to the image without noise, which may be wrong."


def test_shares_of_references_are_agreement() -> None:
    summary = summarize(BOTH, [0.0, 0.25]).set_index("run_id")
    assert summary["quantity"].to_dict() == {C: AGREEING, D: LABELLED}
    # By hand: four, three of the eight images are certified as they are answered without noise.
    assert summary.loc[C, ["r=0", "r=0.25"]].tolist() == [0.5, 0.375]
    assert summary.loc[C, "unanswered"] == 80
    assert pd.isna(summary.loc[D, "unanswered"])
    assert "unanswered" not in summarize(LOCAL)
    assert describe_runs(api_run(reference=False))["quantity"].tolist() == [LABELLED]  # --accepted
    assert unanswered_draws(api_run(reference=False)) == 80


def test_the_caption_says_whose_labels_they_are() -> None:
    runs = describe_runs(API)
    words = str(caption(runs))
    assert words.endswith(f"all those of a run at once with 0.992. {AGREES[:-1]}")
    assert "reject" not in words
    assert "accuracy" not in words
    assert "rejector" not in run_cells(runs)
    assert has_usual_bound(runs).all()
    assert curves_caption(runs).startswith("Certified agreement against l2 radius.")
    mixed = describe_runs(BOTH)
    assert "certified agreement, which says nothing of accuracy and is not comparable with it" in str(caption(mixed))
    assert [label.endswith(", agreement") for label in run_labels(mixed)] == [True, False]
    assert "rejector" not in run_cells(mixed)
    assert "agree" not in str(caption(describe_runs(LOCAL)))


@pytest.mark.parametrize("name", TABLES)
def test_no_table_of_an_api_calls_it_accuracy_or_rejection(name: str) -> None:
    try:
        text = markdown(TABLES[name](ReportData(API), False))
    except RaysmoothError:
        assert name in ("sigmas", "steps", "top-k")
        return
    assert AGREES in text
    assert "accuracy" not in text.lower()
    assert "reject" not in text.lower()


def test_unanswered_draws_are_counted() -> None:
    data = ReportData(API)
    text = markdown(TABLES["rejection"](data, False))
    assert "Share of estimation draws that are unanswered, in percent" in text
    # By hand: 80 of 70,000 draws, of which 80 of 40,000 are of the images that agree.
    assert "| all      |      0.1 (7) |   0.2 (4) |" in text
    assert "|           80 |        1 |" in markdown(TABLES["runs"](data, False))
    assert "80 draws of 2 images have no answer" in markdown(TABLES["errors"](data, False))
    unfailed = API[API["status"] == "ok"]
    with pytest.raises(RaysmoothError, match="no image failed, but 80 draws of 2 images have no answer"):
        TABLES["errors"](ReportData(unfailed), False)
    figure = FIGURES["rejection"]
    assert [axes.get_xlabel() for axes in figure.plot(data, 3.3).axes[:1]] == ["unanswered draws"]
    assert figure.caption(data).startswith(
        "Images by their unanswered estimation draws and those of the selected class"
    )
    assert not has_rejector(api_run(unanswered=0))
    with pytest.raises(RaysmoothError, match="no run has a rejector"):
        TABLES["rejection"](ReportData(api_run(unanswered=0)), False)


def test_a_comparison_says_by_which_labels_images_count() -> None:
    table = comparison_table(ReportData(BOTH), C, D, 0.1)  # whose labels are others
    note = "An image counts in A by what the API answers to it without noise, in B by its true label"
    assert note in table.note
    others = pd.concat([API, api_run("e" * 16, classifier="google").assign(label=7)], ignore_index=True)
    table = comparison_table(ReportData(others), C, "e", 0.1)
    assert "In both an image counts by what the run's own API answers" in table.note
    with pytest.raises(RaysmoothError, match="not the same data"):
        comparison_table(ReportData(pd.concat([LOCAL, local_run("f" * 16).assign(label=3)])), D, "f", 0.1)


def test_the_page(tmp_path: Path) -> None:
    page = render_page(ReportData(API), located(tmp_path), {})
    assert "provably keep what the API answers to them unchanged under any change" in page
    assert "True labels are not used: what the API answers to an image without noise counts as right." in page
    assert "A copy that the API gives no label votes for no class." in page
    assert ">Unanswered draws</h2>" in page
    assert "rejected" not in page
    assert "rejector" not in page
    assert "accuracy" not in page
    mixed = render_page(ReportData(BOTH), located(tmp_path), {})
    assert "best of 2" not in mixed  # agreement and accuracy do not compete


def test_show_says_what_an_image_is_compared_with() -> None:
    rows = [{key: None if pd.isna(value) else value for key, value in row.items()} for row in API.to_dict("records")]
    assert "as the API answers to it without noise" in statement(rows[0], {1: "Bird"})
    assert "not as the API answers to it without noise, 1 (Bird)" in statement(rows[4], {1: "Bird"})
    assert "the API has no answer to it without noise" in statement({**rows[0], "label": None, "correct": None})
    assert "40 unanswered" in evidence(rows[0])
    assert "rejector" not in evidence(rows[0])
    assert "with rejection" not in statement(rows[0])


def test_numbers_of_an_apis_labels_are_not_shown() -> None:
    """They count the order of first use; those of data and networks are names in papers."""
    names = {0: "4", 3: "3", 7: "Dog"}
    of_api, of_network = names_of_run(names, "unanswered"), names_of_run(names, "none")
    assert [named(label, of_api) for label in (0, 3, 7, 9)] == ["4", "3", "Dog", "9"]
    assert [named(label, of_network) for label in (0, 3, 7, 9)] == ["0 (4)", "3", "7 (Dog)", "9"]
