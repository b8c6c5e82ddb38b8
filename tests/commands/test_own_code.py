"""Code of the user's own runs where the user names it on this command line, and nowhere else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from bare_command import outcomes
from command import command, refused
from forged import forge
from small_runs import certified

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked, user_settings
from raysmooth.common.variant import Variant
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.tune.experiments.request import ExperimentRequest
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.training.surrogates import load_surrogates

MODULE = """
from pathlib import Path
import torch
Path(__file__).with_name("executed").touch()

def make():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""
DIGITS = {"dataset": "digits", "sigma": 0.25}
CERTIFY = {**DIGITS, "max": 2, "n0": 10, "n": 40, "alpha": 0.1}
TRAIN = {"dataset": "digits", "epochs": 1, "out": "w.safetensors"}


@pytest.fixture(autouse=True)
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once the module own_code_7a, which lies in the current folder, was imported."""
    (tmp_path / "own_code_7a.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # findable even where nothing adds the current folder
    monkeypatch.delitem(__import__("sys").modules, "own_code_7a", raising=False)
    return tmp_path / "executed"


def written(name: str, values: Mapping[str, Any]) -> str:
    Path(name).write_text(yaml.safe_dump(dict(values)))
    return name


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights whose card names code as their architecture."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    save_weights(tmp_path / "s.safetensors", network, {"architecture": "own_code_7a:make"})
    return tmp_path / "s.safetensors"


@pytest.mark.parametrize("name", ["own_code_7a:make", "own_code_7a:make:width=3"])
def test_files_of_settings(name: str, executed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    denoiser = {**TRAIN, "denoiser": "dncnn", "objective": "mse", "sigma": 0.25}
    gallery = {**DIGITS, "denoiser_weights": "d.safetensors", "denoiser": "dncnn"}
    for command_line, values in {
        ("certify", "--dry-run"): CERTIFY,
        ("predict",): {name: value for name, value in CERTIFY.items() if name != "n0"},
        ("optimize-sigma",): {name: CERTIFY[name] for name in CERTIFY if name not in ("n", "n0", "alpha")},
        ("train", "classifier"): TRAIN,
        ("train", "denoiser"): denoiser,
        ("gallery",): gallery,
    }.items():
        file = written("c.yaml", {**values, "classifier": name})
        if command_line == ("gallery",):
            save_weights(
                Path("d.safetensors"),
                _denoiser(),
                {"objective": "mse", "architecture": "dncnn:channels=1,depth=3,width=2"},
            )
        line = refused(capsys, *command_line, "--config", file)
        assert line.startswith("classifier 'own_code_7a:make' is code, of the module 'own_code_7a'"), line
        assert "write --trust-code" in line
        assert not executed.exists()


def _denoiser() -> torch.nn.Module:
    from raysmooth.actors.models.denoisers import build_denoiser

    return build_denoiser(Variant.parse("dncnn:channels=1,depth=3,width=2"))


@pytest.mark.parametrize(
    "surrogates",
    ["own_code_7a:make@w.safetensors", "a.safetensors,own_code_7a:make@w.safetensors",
     ["own_code_7a:make@w.safetensors"], ["own_code_7a:make:a=1,b=2@w.safetensors"]],
)  # fmt: skip
def test_surrogates_that_a_file_names_are_not_trusted(surrogates: Any) -> None:
    values = {**TRAIN, "denoiser": "dncnn", "objective": "clf", "sigma": 0.25}
    file = written("c.yaml", {**values, "surrogates": surrogates})
    assert not user_settings(TrainDenoiserSettings, {}, file).trust_code
    assert user_settings(TrainDenoiserSettings, {"surrogates": surrogates}, file).trust_code  # the user's own words


def test_named_on_the_command_line_it_runs(executed: Path) -> None:
    certify = PROCEDURES["certify"]
    file = written("c.yaml", {**CERTIFY, "classifier": "digits_cnn"})
    prepare(certify, user_settings(certify.settings, {"classifier": "own_code_7a:make", "out": "out"}, file))
    assert executed.exists()


def test_a_file_runs_code_where_that_is_allowed(executed: Path) -> None:
    certify = PROCEDURES["certify"]
    file = written("c.yaml", {**CERTIFY, "classifier": "own_code_7a:make"})
    prepare(certify, user_settings(certify.settings, {"trust_code": True, "out": "out"}, file))
    assert executed.exists()


def test_a_file_cannot_allow_itself(executed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written("c.yaml", {**CERTIFY, "classifier": "own_code_7a:make", "trust_code": True})
    assert "a file cannot say that it is trusted: write --trust-code" in refused(capsys, "certify", "--config", file)
    sweep: dict[str, Any] = {"train": "classifier", "metric": "acr"}
    for place in ("settings", "search", "certify", ""):
        values = {**sweep, "settings": {**TRAIN, **DIGITS, "classifier": "own_code_7a:make"}}
        values["settings"].pop("out")
        (values.setdefault(place, {}) if place else values)["trust_code"] = [True] if place == "search" else True
        assert "trust_code" in refused(capsys, "sweep", written("s.yaml", values))
    stage = {"train classifier": {"classifier": "own_code_7a:make", "trust_code": True}}
    assert "trust_code" in refused(capsys, "run", written("e.yaml", experiment(stage)))
    assert not executed.exists()


def experiment(*stages: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": "t", "paper": {"source": "s", "claim": "c"}, "differences": ["all"], "data": {"dataset": "digits"},
        "out": "out", "stages": {f"s{number}": dict(stage) for number, stage in enumerate(stages)},
    }  # fmt: skip


def test_sweeps_and_experiments(executed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = "own_code_7a:make"
    training = {"dataset": "digits", "sigma": 0.25, "epochs": 1}
    for part in (
        {"settings": {**training, "classifier": own}},
        {"settings": training, "search": {"classifier": [own]}},
    ):
        assert "--trust-code" in refused(capsys, "sweep", written("s.yaml", {"train": "classifier", **part}))
    weights = {"classifier_weights": "none.safetensors", "sigma": 0.25}
    for stage in (
        {"train classifier": {"classifier": own}},
        {"certify": {**weights, "classifier": "{net}"}, "matrix": {"case": [{"name": "mine", "net": own}]}},
        {"certify": {**weights, "classifier": "{a}:{b}"}, "matrix": {"a": ["own_code_7a"], "b": ["make"]}},
    ):
        assert "--trust-code" in refused(capsys, "run", written("e.yaml", experiment(stage)))
    assert not executed.exists()
    assert ExperimentRequest("e.yaml").trust_code is False


def test_a_card_never_names_code(weights: Path, executed: Path) -> None:
    """Not even where own code is trusted: the user may have meant another."""
    for trusted in (False, True):
        with pytest.raises(
            RaysmoothError, match=r"names code .*: to import that, write it yourself, own_code_7a:make@"
        ):
            load_surrogates([str(weights)], None, torch.device("cpu"), trusted)
    assert not executed.exists()
    load_surrogates([f"own_code_7a:make@{weights}"], None, torch.device("cpu"), True)
    assert executed.exists()


def test_results_of_others(executed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = build_classifier(Variant.parse("digits_cnn:width=2"))
    save_weights(tmp_path / "w.safetensors", network, {})
    run = certified(
        tmp_path / "out", **CERTIFY, classifier="digits_cnn:width=2", classifier_weights=str(tmp_path / "w.safetensors")
    )
    forge(tmp_path / "out", run, classifier="own_code_7a:make")
    assert "write --trust-code" in refused(capsys, "show", "out", "0")
    assert "write --trust-code" in refused(capsys, "show", "out", "0", "--classifier", "own_code_7a:other")
    for reader in (["report", "out"], ["status", "out"], ["recertify", "out", "--alpha", "0.05"]):
        command(capsys, *reader)
    assert not executed.exists()
    code, _, err = command(capsys, "show", "out", "0", "--classifier", "own_code_7a:make")
    assert code == 2
    assert "write --trust-code" not in err
    assert executed.exists()  # named by the user; its weights are then refused as not the run's


@pytest.mark.processes
def test_results_of_others_are_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    network = build_classifier(Variant.parse("digits_cnn:width=2"))
    save_weights(tmp_path / "w.safetensors", network, {})
    run = certified(
        tmp_path / "out", **CERTIFY, classifier="digits_cnn:width=2", classifier_weights=str(tmp_path / "w.safetensors")
    )
    commands = ["show out 0 --run zz", "show out 7", "show out 0"]
    no_run, no_image, whole = outcomes(commands, blocked=("torch",))
    assert (no_run[0], no_image[0], whole[0]) == (2, 2, "torch")
    assert "--run zz" in no_run[2]
    assert "a certificate of image 7" in no_image[2]
    assert whole[2] == "raysmooth: loading torch, then reading the run's image and weights ...\n"
    forge(tmp_path / "out", run, classifier="own_code_7a:make")
    ((code, _, err),) = outcomes(["show out 0"], blocked=("torch",))
    assert code == 2
    assert "write --trust-code" in err


def test_what_decides_nothing_is_in_no_manifest_card_or_hash() -> None:
    values = {**TRAIN, "classifier": "digits_cnn"}
    trusted, other = (checked(TrainClassifierSettings, {**values, "trust_code": trust}) for trust in (True, False))
    assert trusted.trust_code
    assert trusted.model_dump() == other.model_dump()
    assert SweepSettings.model_fields["trust_code"].exclude
