"""Weights trained for other noise than a run draws are warned of, once a command, and nothing else is."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import REPOSITORY
from preloaded import PreloadedCommand

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.loading import Loaded
from raysmooth.actors.models.weights import save_weights
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.settings import user_settings
from raysmooth.common.variant import Variant
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.runs.noise_mismatch import describe, find_mismatch
from raysmooth.pipeline.runs.procedures import PROCEDURES

DENOISER = "dncnn:channels=1,depth=2,width=2"
PREFIX = "raysmooth: warning: "
CARDS: dict[str, dict[str, Any]] = {
    "gaussian": {"objective": "gaussian", "noise": "gaussian", "sigma": 0.25},
    "clean": {"objective": "clean", "noise": None, "sigma": None},
}


def denoiser_weights(path: Path, sigma: float | None) -> str:
    card = {"architecture": DENOISER, "noise": None if sigma is None else "gaussian", "sigma": sigma}
    save_weights(path, build_denoiser(Variant.parse(DENOISER)), card)
    return str(path)


@pytest.fixture(scope="module")
def classifier_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One untrained digits_cnn in a file for each of the CARDS."""
    folder, module = tmp_path_factory.mktemp("classifiers"), build_classifier(Variant.parse("digits_cnn"))
    for name, card in CARDS.items():
        save_weights(folder / f"{name}.safetensors", module, {"architecture": "digits_cnn", **card})
    return {name: str(folder / f"{name}.safetensors") for name in CARDS}


def settings_of(out: Path, weights: str, **changes: Any) -> dict[str, Any]:
    values = {"dataset": "digits", "classifier": "digits_cnn", "classifier_weights": weights, "max": 1, "n": 20}
    return {**values, "replicas": 1, "sigma": 0.25, "out": str(out), **changes}


def run(
    *all_settings: dict[str, Any], procedure: str = "certify", show: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of `all_settings`, and their Python warnings about weights."""
    chosen = PROCEDURES[procedure]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = run_procedure(
            chosen, [user_settings(chosen.settings, settings) for settings in all_settings], show_progress=show
        )
    return rows, [text for warning in caught if "were trained for" in (text := str(warning.message))]


def manifests(out: Path) -> dict[float, dict[str, Any]]:
    """By sigma."""
    read = [json.loads(path.read_text()) for path in out.glob("runs/*/manifest.json")]
    return {manifest["identity"]["sigma"]: manifest for manifest in read}


def line(part: str, weights: str, trained: str, drawn: str) -> str:
    return f"{part} weights {weights} were trained for gaussian noise of sigma {trained}, this {drawn}"


def loaded(classifier_card: dict[str, Any], denoiser_card: dict[str, Any] | None = None) -> Loaded:
    """What find_mismatch reads of a base classifier."""
    denoiser = ("none", None) if denoiser_card is None else ("dncnn", "d.safetensors")
    spec = BaseClassifierSpec("lenet", "c.safetensors", None, *denoiser)
    return Loaded(None, spec, classifier_card, denoiser_card or {})


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"arch": "cifar_resnet110"},
        {"noise": None, "sigma": None},
        {"noise": "gaussian", "sigma": 0.3},
        {"noise": "gaussian", "sigma": 0.1 + 0.2},
        {"noise": "gaussian", "sigma": 0.3 * (1 + 5e-10)},
        {"noise": "gaussian", "sigma": None},
        {"noise": None, "sigma": 0.5},
        {"sigma": 0.5},
        {"noise": "gaussian", "sigma": "0.5"},
        {"noise": "gaussian", "sigma": True},
        {"noise": "gaussian", "sigma": float("nan")},
        {"noise": ["gaussian"], "sigma": [0.5, 1.0]},
    ],
)
def test_a_card_that_agrees_or_names_no_noise_is_not_a_mismatch(card: dict[str, Any]) -> None:
    assert find_mismatch(loaded(card), Gaussian(0.3)) is None
    assert find_mismatch(loaded({"noise": "gaussian", "sigma": 9.0}, card), Gaussian(0.3)) is None


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ({"noise": "gaussian", "sigma": 1}, "gaussian noise of sigma 1, this run draws gaussian noise of sigma 0.3"),
        ({"noise": "uniform", "sigma": 0.3}, "uniform noise of sigma 0.3, this run draws gaussian noise of sigma 0.3"),
        (
            {"noise": "gaussian", "sigma": 0.3000000006},
            "gaussian noise of sigma 0.3000000006, this run draws gaussian noise of sigma 0.3",
        ),
    ],
)
def test_another_sigma_or_another_family_is_named_with_both(card: dict[str, Any], expected: str) -> None:
    assert describe([find_mismatch(loaded(card), Gaussian(0.3))]) == [
        f"classifier weights c.safetensors were trained for {expected}"
    ]
    assert describe([find_mismatch(loaded({}, card), Gaussian(0.3))]) == [
        f"denoiser weights d.safetensors were trained for {expected}"
    ]


@pytest.mark.usefixtures("ray_cluster")
def test_one_line_for_a_weights_file_however_many_runs_and_replicas(
    tmp_path: Path, classifier_weights: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = denoiser_weights(tmp_path / "mse.safetensors", 0.25)
    settings = settings_of(
        tmp_path / "out", classifier_weights["clean"], denoiser="dncnn", denoiser_weights=weights, max=3
    )
    settings |= {"sigma": "0.12,0.25,0.5", "replicas": 2}
    expected = line("denoiser", weights, "0.25", "command draws gaussian noise of sigma 0.12, 0.5")
    # Two settings, as the demo has several; then both again, where all is finished.
    for _ in range(2):
        rows, caught = run(settings, {**settings, "n": 30}, show=True)
        assert len(rows) == 18
        assert caught == []
        lines = capsys.readouterr().err.splitlines()
        assert [text for text in lines if "were trained for" in text] == [PREFIX + expected]
        assert [text for text in lines if text.startswith("raysmooth: data: ")] == [
            "raysmooth: data: digits, split test: 400 images (every image of 400, 0 to 2 (3 images)), 10 classes (0, "
            "1, 2, 3, 4, 5, ...) from the data set, 1 x 8 x 8, 17 levels of grey; normalisation none (assumed)"
        ]
    rows, caught = run(settings)
    assert len(rows) == 9
    assert caught == [expected]
    assert "were trained for" not in capsys.readouterr().err
    assert {sigma: manifest["warnings"] for sigma, manifest in manifests(tmp_path / "out").items()} == {
        0.12: [line("denoiser", weights, "0.25", "run draws gaussian noise of sigma 0.12")],
        0.25: [],
        0.5: [line("denoiser", weights, "0.25", "run draws gaussian noise of sigma 0.5")],
    }


@pytest.mark.usefixtures("one_pool")
def test_weights_by_sigma_are_each_compared_with_their_own(tmp_path: Path, classifier_weights: dict[str, str]) -> None:
    for named, trained in (("0.12", 0.12), ("0.25", 0.5), ("0.5", 0.5), ("1", None)):
        denoiser_weights(tmp_path / f"mse-{named}.safetensors", trained)
    by_sigma = str(tmp_path / "mse-{sigma}.safetensors")
    settings = settings_of(tmp_path, classifier_weights["clean"], denoiser="dncnn", denoiser_weights=by_sigma)
    rows, caught = run({**settings, "sigma": "0.12,0.25,0.5,1.0"})
    assert len(rows) == 4
    wrong = str(tmp_path / "mse-0.25.safetensors")
    assert caught == [line("denoiser", wrong, "0.5", "run draws gaussian noise of sigma 0.25")]


@pytest.mark.usefixtures("one_pool")
@pytest.mark.parametrize("procedure", ["certify", "predict"])
def test_a_classifiers_card_counts_only_where_it_meets_the_noise(
    tmp_path: Path, classifier_weights: dict[str, str], procedure: str
) -> None:
    weights = classifier_weights["gaussian"]
    plain = settings_of(tmp_path, weights, sigma=0.5)
    _, caught = run(plain, procedure=procedure)
    assert caught == [line("classifier", weights, "0.25", "run draws gaussian noise of sigma 0.5")]
    matching = denoiser_weights(tmp_path / "mse.safetensors", 0.5)
    _, caught = run({**plain, "denoiser": "dncnn", "denoiser_weights": matching}, procedure=procedure)
    assert caught == []


@pytest.mark.usefixtures("one_pool")
def test_a_warning_is_no_part_of_the_run_id(tmp_path: Path, classifier_weights: dict[str, str]) -> None:
    """The same tensors under another card continue the run that the first began, and its rows say the same."""
    ids = []
    for name in CARDS:
        rows, caught = run(settings_of(tmp_path, classifier_weights[name], sigma=0.5))
        assert bool(caught) == (name == "gaussian")
        assert set(rows.objective) == {"gaussian"}
        ids += [*rows.run_id]
        shutil.rmtree(tmp_path / "certificates")  # so that the rows are written again, from the counts
    assert len(ids) == 2
    assert len(set(ids)) == 1


@pytest.mark.usefixtures("one_pool")
def test_a_notebook_sees_a_python_warning_at_its_own_line(tmp_path: Path, classifier_weights: dict[str, str]) -> None:
    import raysmooth  # the front door knows all rooms; the other tests here need none above the pipeline

    weights = classifier_weights["gaussian"]
    with pytest.warns(UserWarning, match=r"sigma 0\.25, this run draws gaussian noise of sigma 0\.5") as caught:
        raysmooth.certify(progress=False, **settings_of(tmp_path, weights, sigma=0.5))
    assert [warning.filename for warning in caught if "trained for" in str(warning.message)] == [__file__]


def test_the_command_says_it_on_standard_error(
    tmp_path: Path, ray_cluster: dict[str, str], classifier_weights: dict[str, str]
) -> None:
    flags = settings_of(tmp_path, classifier_weights["gaussian"], sigma=0.5)
    given = [part for flag, value in flags.items() for part in (f"--{flag.replace('_', '-')}", str(value))]
    process = PreloadedCommand(["certify", *given], ray_cluster, REPOSITORY)
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    expected = line("classifier", flags["classifier_weights"], "0.25", "run draws gaussian noise of sigma 0.5")
    assert [text for text in errors.splitlines() if "were trained for" in text] == [PREFIX + expected]
    assert "were trained for" not in out
