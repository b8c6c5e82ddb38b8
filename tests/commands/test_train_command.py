"""Training from the command line: flags, YAML, one-line refusals, exit codes, and the weights at work afterwards."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from command import command

import raysmooth
from raysmooth.actors.models.weights import read_weights
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings, TrainRejectorSettings
from raysmooth.tune.training.trainer import Trainer

SMALL = {"dataset": "digits", "max": "100", "epochs": "1", "threads": "1", "device": "cpu", "precision": "float32"}
CLASSIFIER = {**SMALL, "classifier": "digits_cnn"}
DENOISER = {**SMALL, "denoiser": "dncnn:channels=1,depth=2,width=4", "objective": "mse", "sigma": "0.3"}


def train(capsys: pytest.CaptureFixture[str], kind: str, flags: dict[str, str | None]) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of `raysmooth train KIND --FLAG VALUE ...`."""
    given = [part for flag, value in flags.items() if value is not None for part in (f"--{flag}", value) if part]
    return command(capsys, "train", kind, *given)


def test_objective_options_and_recipe_in_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "weights/w.safetensors"
    flags = {
        **CLASSIFIER,
        "objective": "consistency:m=3,lambda=2,loss=kl",
        "sigma": "0.25",
        "recipe": "jeong2020-mnist",
    }
    flags |= {"learning-rate": "0.001", "batch-size": "45", "clip-norm": "1", "epochs": "2", "out": str(out)}
    code, printed, err = train(capsys, "classifier", flags)
    assert code == 0, err
    text = "digits_cnn, consistency:lambda=2,loss=kl,m=3 at sigma 0.25: accuracy "
    assert printed.startswith(text)
    assert printed.count("\n") == 1
    said, *lines = err.splitlines()
    assert said == (
        "raysmooth: data: digits, split train: 1,397 images (every image of 1397, 0 to 99 (100 images)), 10 classes "
        "(0, 1, 2, 3, 4, 5, ...) from the data set, 1 x 8 x 8, 17 levels of grey; normalisation none"
    )
    assert [line.partition(", loss")[0] for line in lines] == [
        f"digits_cnn consistency:lambda=2,loss=kl,m=3: epoch {epoch}/2" for epoch in (1, 2)
    ]
    card = read_weights(out).card
    assert card["options"] == {"lambda": 2.0, "m": 3, "eta": 0.5, "loss": "kl"}
    assert (card["recipe"]["name"], card["recipe"]["clip_norm"]) == ("jeong2020-mnist", 1.0)


def test_yaml_and_flags_over_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    values: dict[str, Any] = {"dataset": "digits", "classifier": "digits_cnn", "max": 100, "epochs": 1, "threads": 1}
    values |= {"phases": "adam:epochs=1,learning_rate=1e-3; sgd:epochs=1,learning_rate=1e-3", "precision": "float32"}
    values |= {"out": str(tmp_path / "w.safetensors")}
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values))
    code, _, err = train(capsys, "classifier", {"config": str(tmp_path / "training.yaml"), "seed": "3", "epochs": "2"})
    assert code == 0, err
    card = read_weights(tmp_path / "w.safetensors").card
    assert (card["seed"], card["epochs_done"]) == (3, 2)
    assert [phase["optimizer"] for phase in card["recipe"]["phases"]] == ["adam", "sgd"]


def test_black_box_from_the_command_line_then_certified(
    ray_cluster: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = {name: str(tmp_path / f"{name}.safetensors") for name in ("protected", "a", "b", "denoiser")}
    for seed, name in enumerate(("protected", "a", "b")):
        code, _, err = train(capsys, "classifier", {**CLASSIFIER, "seed": str(seed), "out": files[name]})
        assert code == 0, err
    flags = {**DENOISER, "objective": "stab", "recipe": "digits-stab+mse", "out": files["denoiser"]}
    flags |= {"surrogates": f"{files['a']}, digits_cnn@{files['b']}"}
    flags |= {"classifier": "digits_cnn", "classifier-weights": files["protected"]}
    code, printed, err = train(capsys, "denoiser", flags)
    assert code == 0, err
    assert ", protected accuracy " in printed
    card = read_weights(files["denoiser"]).card
    assert (card["access"], len(card["parents"]["surrogates"])) == ("black-box", 2)
    rows = raysmooth.certify(
        dataset="digits", max=3, sigma=0.3, n=50, replicas=1, out=str(tmp_path / "results"), progress=False,
        classifier="digits_cnn", classifier_weights=files["protected"],
        denoiser="dncnn", denoiser_weights=files["denoiser"],
    )  # fmt: skip
    assert list(rows.status) == ["ok"] * 3

    code, _, err = train(capsys, "denoiser", {**flags, "surrogates": f"{files['a']},{files['protected']}", "seed": "1"})
    assert (code, err.count("\n")) == (2, 1)
    assert "holds the protected classifier itself" in err


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("classifier", {"objective": "consistancy"}, "unknown classifier objective 'consistancy': did you mean 'cons"),
        ("classifier", {"objective": "gaussian:m=2", "sigma": "0.1"}, "has no option 'm': it takes none"),
        ("classifier", {"recipe": "jeong2020-minst"}, "unknown recipe 'jeong2020-minst': did you mean 'jeong2020-mn"),
        ("classifier", {"out": None}, "--out is missing: Weights file to write"),
        ("classifier", {"keep": "first"}, "--keep first: input should be 'last' or 'best'"),
        ("classifier", {"workers": "0"}, "--workers 0: input should be greater than or equal to 1"),
        ("classifier", {"learning-rate": "1e20"}, "the loss is nan at step 2 (epoch 1, learning rate 1e+20): write a"),
        ("denoiser", {"objective": "stabb"}, "unknown denoiser objective 'stabb': did you mean 'stab'?"),
        ("denoiser", {"objective": "stab", "recipe": "digits-mse"}, "or --surrogates without access"),
        (
            "denoiser",
            {"surrogates": "nowhere.pth"},
            "objective 'mse' does not use a classifier: leave --surrogates out",
        ),
        ("denoiser", {"sigma": None}, "--sigma is missing: Noise level"),
        ("denoiser", {"sigma": "0"}, "--sigma 0: input should be greater than 0"),
    ],
)
def test_refused_in_one_line_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str, changes: dict[str, str | None], expected: str
) -> None:
    good: dict[str, str | None] = {**(CLASSIFIER if kind == "classifier" else DENOISER)}
    code, out, err = train(capsys, kind, {**good, "out": str(tmp_path / "w.safetensors"), **changes})
    assert (code, out) == (2, "")
    refusal = [line for line in err.splitlines() if not line.startswith(("raysmooth: data: ", "raysmooth: recipe "))]
    assert len(refusal) == 1, err
    assert expected in refusal[0]
    assert refusal[0].startswith("raysmooth: ")
    assert not list(tmp_path.iterdir())


def test_ctrl_c_leaves_the_epochs_so_far(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch = Trainer.train_epoch

    def interrupt(self: Trainer, *arguments: Any) -> Any:
        if self.epochs_done == 2:
            raise KeyboardInterrupt
        return train_epoch(self, *arguments)

    flags = {**CLASSIFIER, "epochs": "3", "out": str(tmp_path / "w.safetensors")}
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", interrupt)
        code, out, err = train(capsys, "classifier", flags)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == (
        "raysmooth: interrupted; finished work is on disk, rerun the same command to resume"
    )
    code, out, err = train(capsys, "classifier", flags)
    assert code == 0
    assert "digits_cnn clean: resumes after epoch 2 of 3" in err.splitlines()
    assert "epoch 2/3" not in err


def test_other_settings_into_the_same_file_until_overwrite(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = {**CLASSIFIER, "out": str(tmp_path / "w.safetensors")}
    assert train(capsys, "classifier", flags)[0] == 0
    code, _, err = train(capsys, "classifier", {**flags, "seed": "1"})
    assert (code, err.count("\n")) == (2, 1)
    assert err.rstrip().endswith("holds a training with seed 0, not 1: write another --out, or --overwrite")
    assert train(capsys, "classifier", {**flags, "seed": "1", "overwrite": ""})[0] == 0
    assert read_weights(tmp_path / "w.safetensors").card["seed"] == 1


def test_every_setting_and_every_name_is_in_the_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    for kind, model, objectives in (
        ("classifier", TrainClassifierSettings, CLASSIFIER_OBJECTIVES),
        ("denoiser", TrainDenoiserSettings, DENOISER_OBJECTIVES),
        ("rejector", TrainRejectorSettings, REJECTOR_OBJECTIVES),
    ):
        code, out, _ = train(capsys, kind, {"help-all": ""})
        assert code == 0
        for field in model.model_fields:
            assert f"--{field.replace('_', '-')} " in out, field
        for name in (*objectives, "raysmooth list recipes", "uniform", "float32"):
            assert name in out, name
