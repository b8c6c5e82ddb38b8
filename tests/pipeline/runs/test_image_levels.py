"""Levels that do not belong to a run, and settings that do not go with them, are refused with the reason."""

from pathlib import Path
from typing import Any

import pytest
from own_levels import searched
from search_rows import SELECTOR

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.run_differences import RunFacts, differences, what_to_write

RUN: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 3, "n0": 10, "n": 120,
    "alpha": 0.05,
}  # fmt: skip
LEVELS = {0: 0.1, 1: 0.25, 2: 0.4}


def prepared(out: Path, procedure: str = "certify", **settings: Any) -> Run:
    chosen = PROCEDURES[procedure]
    left = {"n0"} if procedure == "predict" else set()
    values = {name: value for name, value in {**RUN, **settings}.items() if name not in left}
    (run,) = prepare(chosen, user_settings(chosen.settings, {"out": str(out), **values}))
    return run


def refusal(out: Path, **settings: Any) -> str:
    with pytest.raises(RaysmoothError) as refused:
        prepared(out, **settings)
    return str(refused.value)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("levels")


@pytest.fixture(scope="module")
def search(out: Path) -> str:
    return searched(out, RUN, LEVELS)


def test_a_run_has_the_levels_of_its_search(out: Path, search: str) -> None:
    run = prepared(out, sigmas=search[:5])
    assert run.image_sigmas is not None
    assert run.image_sigmas.sigmas == LEVELS
    assert [run.facts_of(image_id)["image_sigma"] for image_id in LEVELS] == [*LEVELS.values()]
    assert run.noise.scale == 0.25
    predict = prepared(out, "predict", sigmas=search)
    assert predict.image_sigmas is not None
    assert predict.rule_of(0).first == predict.rule.first
    plain = prepared(out)
    assert (plain.image_sigmas, plain.facts["sigma_rule"], plain.rule_of(0)) == (None, None, plain.rule)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max": 2}, "another index set (every image of 400, 0 to 2 (3 images) there"),
        ({"classifier": "base_classifiers:Slow"}, "another classifier (base_classifiers:Linear there"),
        ({"classifier": "base_classifiers:Linear:seed=4"}, "another classifier"),
        ({"preprocess": "0.5/0.5"}, "another normalisation (none there, 0.5/0.5 here)"),
        ({"noise": "uniform"}, "another noise (gaussian there, uniform here)"),
        ({"sigma": 0.5}, "another sigma to begin at (0.25 there, 0.5 here)"),
    ],
)
def test_a_search_of_something_else_is_refused(out: Path, search: str, changes: dict[str, Any], words: str) -> None:
    said = refusal(out, sigmas=search, **changes)
    assert said.startswith(f"--sigmas {search}: that search had another ")
    assert words in said
    assert said.endswith("name a search of these, or write --search in place of --sigmas")


def test_other_weights_and_data_are_refused(tmp_path: Path) -> None:
    search = searched(tmp_path, RUN, LEVELS, classifier_fingerprint="0" * 64)
    assert "another content of the classifier's weights: name" in refusal(tmp_path, sigmas=search)
    search = searched(tmp_path, RUN, LEVELS, data_fingerprint="0" * 64)
    assert "another content of the data: name" in refusal(tmp_path, sigmas=search)


def test_runs_that_are_no_finished_search_are_refused(out: Path, search: str, tmp_path: Path) -> None:
    assert "there are no runs in" in refusal(tmp_path, sigmas="0123")
    begun = searched(tmp_path, RUN, {0: 0.1})
    assert "there is no such run" in refusal(tmp_path, sigmas="zz")
    assert "has searched 1 of 3 images: continue it" in refusal(tmp_path, sigmas=begun)
    assert "--steps 123: run" in refusal(out, sigmas=search, steps=123)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 100}, "--steps 100 belongs to --sigmas or --search: write one of them too, or leave it out"),
        ({"sigmas": ""}, "--sigmas names no search: write the run id that raysmooth optimize-sigma printed"),
        ({"sigmas": "ab", "search": "ddrs"}, "--sigmas names levels that were found, and --search finds others"),
        ({"sigmas": "ab", "sigma": "0.25,0.5"}, "--sigmas names 1 search, each of which began at one sigma, and"),
        ({"search": "ddrs:speed=1"}, "no option 'speed'"),
        ({"search": "ddrs:least=0.5"}, "the search begins at sigma 0.25 and goes from 0.5"),
        ({"search": "ddrs", "steps": 150}, "--steps 150: --search ddrs keeps no level there: write a multiple of 100"),
        ({"search": "selector", "steps": 100}, "--search selector keeps no level there: it has no steps"),
        ({"search": "selector:alpha=0.01"}, "--alpha 0.05: the selector has alpha=0.01, half of which is for the"),
        ({"search": "ddrs", "sampling": "decide", "radius": 0.1}, "--sampling decide tests one radius"),
        ({"search": "ddrs", "sampling": "adaptive", "tolerance": "0.01"}, "--tolerance 0.01 is in pixel units"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    assert words in refusal(tmp_path, **settings)


def test_a_selector_needs_the_runs_alpha_and_enough_draws_for_half_of_it(tmp_path: Path) -> None:
    text = SELECTOR.replace("0.001", "0.05")
    search = searched(tmp_path, RUN, LEVELS, text, dict.fromkeys(LEVELS, 1.0))
    assert "--alpha 0.1: the selector has alpha=0.05" in refusal(tmp_path, sigmas=search, alpha=0.1)
    # 5 draws: 0.05^(1/5) = 0.55, 0.025^(1/5) = 0.478.
    assert "alpha=0.025 can only abstain" in refusal(tmp_path, sigmas=search, n=5)
    run = prepared(tmp_path, sigmas=search)
    assert (run.ruled_settings.alpha, run.settings.alpha, run.facts["alpha"]) == (0.025, 0.05, 0.05)


def test_what_differs_is_said_as_flags() -> None:
    one = RunFacts("a", {"sigma_rule": "ddrs:steps=900", "sigmas_run": "ab"}, {"sigmas": "ab", "steps": None})
    other = RunFacts("b", {"sigma_rule": "ddrs:steps=100", "sigmas_run": "ab"}, {"sigmas": "ab", "steps": 100})
    plain = RunFacts("c", {}, {"sigmas": None, "steps": None})
    found = differences(one, other)
    assert [str(difference) for difference in found] == ["--steps (none there, 100 here)"]
    found = differences(other, plain)
    assert [one.what for one in found] == ["--steps", "--sigmas"]
    assert what_to_write(found) == "write --steps 100 --sigmas ab"


def test_libraries_that_follow_from_the_search_are_not_named() -> None:
    ascent = RunFacts("a", {"search": "ddrs:steps=900"}, {"search": "ddrs:steps=900"})
    selector = RunFacts("b", {"search": "selector:n=100", "scipy": "1.17.1"}, {"search": "selector:n=100"})
    assert what_to_write(differences(ascent, selector)) == "write --search ddrs:steps=900"
