"""JSON cards and model cards: valid by their own readers, and never better than the run."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from certificate_rows import BETTER, PLAIN
from counted_runs import EASY, HARD, LOST, stored_run
from exported_runs import RUN, written_run
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index
from simulated_runs import interval

import raysmooth
from raysmooth.pipeline.export.card import Cards
from raysmooth.pipeline.report.captions import guarantee

OTHER = "fedcba9876543210"
SHA = "ab" * 32


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with counts, weights and warnings, and the same with top-k certificates."""
    out = tmp_path_factory.mktemp("counted")
    recorded = {"weight_files": {"classifier_weights": SHA}, "assumed": ["labels mean the same"], "warnings": ["a | b"]}
    run = stored_run(out, [EASY, HARD, LOST], recorded=recorded)
    raysmooth.recertify(out, top_k=2)
    return out, run


def cards(out: Path, **settings: Any) -> Any:
    """The document, checked by its published schema."""
    document = json.loads(raysmooth.export(out, "json", **settings))
    jsonschema.validate(document, Cards.model_json_schema())
    assert Cards.model_validate(document).model_dump(mode="json") == document
    return document


def test_a_card_says_what_its_numbers_rest_on(counted: tuple[Path, str]) -> None:
    out, run = counted
    document = cards(out, run=run, radii=[0, 0.25], name="mine")
    (card,) = document["runs"]
    assert (document["format"], document["name"], card["run_id"]) == ("raysmooth-certificates", "mine", run)
    expected = {"dataset": "digits", "index_set": "some", "images": 3, "failed_images": 0, "n0": 20, "n": 160}
    expected |= {"alpha": 0.001, "sigma": 0.5, "norm": "l2", "seed": 0, "noise_bound": "complement", "device": "cpu"}
    assert {name: card[name] for name in expected} == expected
    assert card["classifier"] == {"name": "c", "fingerprint": "f", "weights_sha256": SHA}
    assert (card["denoiser"], card["rejector"], card["top_k"], card["sigma_rule"]) == (None, None, None, None)
    assert (card["assumed"], card["warnings"], card["data_fingerprint"]) == (["labels mean the same"], ["a | b"], "d")
    assert (
        card["promise"]
        == "each certificate holds with probability at least 0.999, all those of a run at once with 0.997"
    )
    low, high = interval(1, 3)
    assert card["certified"][1]["certified"] == 1
    assert card["certified"][1]["low"] <= low <= card["certified"][1]["low"] + 1e-6
    assert card["certified"][1]["high"] - 1e-6 <= high <= card["certified"][1]["high"]


def test_no_share_is_rounded_up(tmp_path: Path) -> None:
    for images in (3, 6, 7):
        out = written_run(tmp_path / str(images), [(1, 0.3)] * 2 + [(-1, 0.0)] * (images - 2))
        (card,) = cards(out, radii=[0.3])["runs"]
        (at,) = card["certified"]
        assert (at["certified"], at["images"]) == (2, images)
        assert Fraction(str(at["share"])) <= Fraction(2, images) < Fraction(str(at["share"])) + Fraction(1, 10**6)
        assert Fraction(str(card["average_certified_radius"])) <= Fraction(6, 10 * images)
        assert Fraction(str(card["abstained"])) >= Fraction(images - 2, images)
        metric = ModelCard(raysmooth.export(out, "model-card", radii=[0.3])).data.eval_results[0]
        assert Fraction(str(metric.metric_value)) <= Fraction(200, images) < Fraction(str(metric.metric_value)) + 1


def test_top_k_results_are_beside_the_ordinary_ones(counted: tuple[Path, str]) -> None:
    out, run = counted
    document = cards(out, radii=[0, 0.02])
    (card,) = [card for card in document["runs"] if card["run_id"] != run]
    assert card["source"] == f"recertified from {run}"
    assert card["command"].endswith("--top-k 2")
    assert card["top_k"]["k"] == 2
    assert [at["certified"] for at in card["top_k"]["certified"]] == [2, 2]
    assert [at["certified"] for at in card["certified"]] == [1, 1]


def test_a_run_that_decides_one_radius_has_that_alone(tmp_path: Path) -> None:
    out = written_run(tmp_path, [(1, 0.3), (-1, 0.0)], sampling="decide:radius=0.3", decision="certified")
    (card,) = cards(out, radii=[0.3, 0.5])["runs"]
    assert [at["radius"] for at in card["certified"]] == [0.3]
    assert (card["average_certified_radius"], card["abstained"]) == (None, None)


def test_runs_without_labels_or_facts(tmp_path: Path) -> None:
    out = written_run(tmp_path, PLAIN, label=None, alpha=None, denoiser=None, n=None)
    (card,) = cards(out, radii=[0.25])["runs"]
    assert card["quantity"] == "certified (class unchecked)"
    assert (card["alpha"], card["n"], card["denoiser"], card["certified"][0]["low"]) == (None, None, None, None)
    text = raysmooth.export(out, "model-card", radii=[0.25])
    assert "No labels: an image counts as certified for any class" in text
    assert "unknown |" in text


def test_a_model_card_is_read_by_the_hubs_own_reader(counted: tuple[Path, str], tmp_path: Path) -> None:
    out, run = counted
    file = tmp_path / "README.md"
    text = raysmooth.export(out, "model-card", radii=[0, 0.25], name="my-model", out=file)
    assert file.read_text() == text
    card = ModelCard.load(file)
    assert card.data.model_name == "my-model"
    assert card.data.pipeline_tag == "image-classification"
    results = card.data.eval_results
    assert results is not None
    assert {result.task_type for result in results} == {"image-classification"}
    assert {(result.dataset_type, result.dataset_split) for result in results} == {("digits", "test")}
    own = [result for result in results if result.metric_args["run"] == run]
    assert [(result.metric_type, result.metric_value) for result in own] == [("certified_accuracy", 33.3)] * 2
    assert own[1].metric_name == "certified accuracy, l2 radius 0.25, sigma 0.5"
    assert own[1].metric_args["alpha"] == 0.001
    assert own[1].metric_args["low"] < 33.3 < own[1].metric_args["high"]
    assert [result.metric_value for result in results if "top_2" in result.metric_type] == [66.6, 33.3]
    # The reader's results give the same results again.
    again = ModelCard(f"---\n{card.data.to_yaml()}\n---\n")
    assert again.data.eval_results == results
    assert eval_results_to_model_index("my-model", results)[0]["name"] == "my-model"


def test_the_text_of_a_model_card_has_tables_and_the_promise(counted: tuple[Path, str]) -> None:
    out, run = counted
    text = raysmooth.export(out, "model-card", run=run, radii=[36 / 255])
    assert "| l2 radius | certified accuracy (%) | 95 % interval |" in text
    assert "| 0.1411764705882353 | 33.3 | " in text
    assert "Each certificate holds with probability at least 0.999" in text
    assert f"SHA-256 of its weights `{SHA}`" in text
    assert "- Assumed: labels mean the same" in text
    assert "- Warning: a \\| b" in text
    assert "# c\n" in text  # the classifier's name, where none is given


def test_each_run_has_a_card_of_its_own(tmp_path: Path) -> None:
    written_run(tmp_path, PLAIN)
    written_run(tmp_path, BETTER, OTHER, sigma=0.5)
    document = cards(tmp_path, radii=[0.25])
    assert {card["run_id"] for card in document["runs"]} == {RUN, OTHER}
    rows = raysmooth.read_certificates(tmp_path)
    facts = raysmooth.summarize(rows).set_index("run_id")
    assert document["runs"][0]["promise"] == guarantee(facts.loc[[document["runs"][0]["run_id"]]])
    assert raysmooth.export(tmp_path, "model-card").count("\n## ") == 2
