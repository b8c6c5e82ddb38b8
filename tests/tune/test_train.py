"""Whole training jobs on the digits, a few epochs each."""

from pathlib import Path
from typing import Any

import pytest
import torch

from actors.architecture import Architecture
from actors.base_classifier import BaseClassifierSpec, load_base_classifier
from actors.classifiers import build_classifier
from actors.refusal import Refusal
from actors.weights import fingerprint, read_weights
from tune.settings import TrainClassifierSettings, TrainDenoiserSettings
from tune.train import train_classifier, train_denoiser
from tune.training_data import HOLD_OUT, read_training_data

DENOISER = "dncnn:channels=1,depth=3,width=8"


def classifier_settings(path: Path, /, **values: Any) -> TrainClassifierSettings:
    common = {"dataset": "digits", "classifier": "digits_cnn", "threads": 1, "epochs": 4, "out": str(path)}
    return TrainClassifierSettings.model_validate(common | values)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_classifier(classifier_settings(tmp_path_factory.mktemp("weights") / "c.safetensors"), show=False)


def denoiser_settings(path: Path, behind: Path | None, /, **values: Any) -> TrainDenoiserSettings:
    common: dict[str, Any] = {"dataset": "digits", "denoiser": DENOISER, "objective": "mse", "sigma": 0.4}
    common |= {"threads": 1, "epochs": 2, "out": str(path)}
    if behind is not None:
        common |= {"classifier": "digits_cnn", "classifier_weights": str(behind)}
    return TrainDenoiserSettings.model_validate(common | values)


def test_a_few_epochs_teach_the_digits(classifier: Path) -> None:
    weights = read_weights(classifier)
    assert weights.card["metrics"]["accuracy"] > 0.85
    loaded = load_base_classifier(BaseClassifierSpec("digits_cnn", str(classifier)), torch.device("cpu"))
    data = read_training_data(classifier_settings(classifier), torch.device("cpu"))
    assert (loaded.model(data.held_out.images) == data.held_out.labels).float().mean() > 0.85


def test_the_card_tells_everything(classifier: Path, tmp_path: Path) -> None:
    card = read_weights(classifier).card
    assert card["recipe"].pop("source")
    assert card["metrics"].keys() == {"accuracy"}
    assert card | {"metrics": {}} == {
        "raysmooth_format": 1, "architecture": "digits_cnn", "objective": "clean", "noise": None, "sigma": None,
        "dataset": "digits", "split": "train", "seed": 0, "metrics": {}, "parents": {}, "preprocess": "none",
        "recipe": {"name": "digits-classifier", "epochs": 4, "batch_size": 64, "optimizer": "adam", "gamma": 0.1,
                   "learning_rate": 0.01, "step_size": 40, "weight_decay": 0.001, "momentum": 0.9, "augment": "shift"},
    }  # fmt: skip


def test_denoisers_one_after_the_other(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_weights(classifier).state_dict
    mse = train_denoiser(denoiser_settings(tmp_path / "mse.safetensors", classifier, epochs=4), show=False)
    settings = denoiser_settings(tmp_path / "stab.safetensors", classifier, objective="stab+mse", init_weights=str(mse))
    stab = train_denoiser(settings)
    first, second = read_weights(mse), read_weights(stab)
    assert (first.card["objective"], second.card["objective"]) == ("mse", "stab+mse")
    assert (second.card["noise"], second.card["sigma"]) == ("gaussian", 0.4)
    assert second.card["architecture"] == DENOISER
    assert second.card["metrics"].keys() == {"psnr", "noisy_accuracy", "denoised_accuracy"}
    assert second.card["metrics"]["denoised_accuracy"] > second.card["metrics"]["noisy_accuracy"]
    assert first.card["metrics"]["psnr"] > second.card["metrics"]["psnr"]
    # Under noise of sigma 0.4 alone the PSNR is 10 log10(1 / 0.16) = 7.96 dB.
    assert first.card["metrics"]["psnr"] > 7.96
    parents = {"classifier": fingerprint_of(classifier, "digits_cnn"), "init_weights": None}
    loaded = load_base_classifier(
        BaseClassifierSpec("digits_cnn", str(classifier), None, "dncnn", str(mse)), torch.device("cpu")
    )
    parents["init_weights"] = loaded.spec.denoiser_fingerprint
    assert second.card["parents"] == parents
    assert all(torch.equal(before[key], tensor) for key, tensor in read_weights(classifier).state_dict.items())
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith(f"{DENOISER}, stab+mse at sigma 0.4: psnr ")


def fingerprint_of(path: Path, name: str) -> str:
    network = build_classifier(Architecture.parse(name))
    network.load_state_dict(read_weights(path).state_dict)
    return fingerprint(network)


def test_only_the_denoiser_learns(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier keeps its weights and its mode, and gets no gradient."""
    import tune.train

    seen: list[Any] = []

    def remember(*arguments: Any) -> Any:
        seen.append(load_base_classifier(*arguments))
        return seen[0]

    monkeypatch.setattr(tune.train, "load_base_classifier", remember)
    train_denoiser(
        denoiser_settings(tmp_path / "w.safetensors", classifier, objective="stab", recipe="digits-mse"), False
    )
    network = seen[0].model.classifier
    assert fingerprint(network) == fingerprint_of(classifier, "digits_cnn")
    assert not any(module.training for module in network.modules())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


def test_the_same_seed_gives_the_same_file(classifier: Path, tmp_path: Path) -> None:
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = denoiser_settings(tmp_path / f"{name}.safetensors", classifier, epochs=1, seed=seed)
        files.append(train_denoiser(settings, show=False).read_bytes())
    assert files[0] == files[1] != files[2]


def test_mse_needs_no_classifier(tmp_path: Path) -> None:
    out = train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, epochs=1), show=False)
    assert read_weights(out).card["metrics"].keys() == {"psnr"}


def test_gaussian_objective_is_measured_under_its_noise(tmp_path: Path) -> None:
    settings = classifier_settings(tmp_path / "w.safetensors", objective="gaussian", sigma=0.25, epochs=1)
    card = read_weights(train_classifier(settings, show=False)).card
    assert (card["noise"], card["sigma"]) == ("gaussian", 0.25)
    assert card["metrics"].keys() == {"accuracy", "noisy_accuracy"}


def test_the_held_out_tenth_is_every_tenth_image(tmp_path: Path) -> None:
    data = read_training_data(classifier_settings(tmp_path / "w.safetensors"), torch.device("cpu"))
    assert (HOLD_OUT, len(data.held_out.labels), len(data.train.labels)) == (10, 139, 1258)
    assert data.train.images.shape[1:] == (1, 8, 8)
    assert 0.0 <= data.train.images.min() < data.train.images.max() <= 1.0


def test_threads_are_given_back(classifier: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    train_denoiser(denoiser_settings(tmp_path / "w.safetensors", classifier, epochs=1, threads=before + 1), show=False)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classifier": "digits_cn"}, "did you mean 'digits_cnn'"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"objective": "gausian", "sigma": 0.1}, "did you mean 'gaussian'"),
        ({"objective": "gaussian"}, "trains on noisy images: write --sigma 0.25"),
        ({"classifier": "lenet"}, r"classifier 'lenet' rejects images of shape \(1, 8, 8\)"),
        ({"classifier": "digits_cnn:num_classes=5"}, r"tells 5 classes apart, .* labels up to 9: .*num_classes=10"),
        ({"classifier": "operator:length_hint"}, "cannot be built|parameters to train"),
        ({"preprocess": "cifar10"}, "constants for 3 channels, images have 1"),
        ({"learning_rate": 1e20}, "the loss is .* at step"),
        ({"device": "gpu"}, "unknown device 'gpu': write auto"),
        ({"device": "cuda:99"}, "torch sees"),
        ({"split": "tset"}, "digits has no split 'tset'"),
        ({"out": "w.pth"}, r"ends in \.safetensors"),
        ({"out": "/dev/null/w.safetensors"}, "cannot be made"),
    ],
)
def test_classifier_refusals(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        train_classifier(classifier_settings(tmp_path / "w.safetensors", **values), show=False)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"objective": "stab+mse"},
            r"starts from mse weights: train them with --objective mse --out mse\.safetensors, then",
        ),
        ({"objective": "stab+mse", "init_weights": "absent.pth"}, r"absent\.pth does not exist"),
        ({"objective": "stab"}, "no recipe is made for stab on digits"),
        ({"objective": "mes"}, "did you mean 'mse'"),
        ({"denoiser": "dncnn"}, r"denoiser 'dncnn' rejects images of shape \(1, 8, 8\): .*channels=1"),
        ({"denoiser": "none"}, "unknown denoiser 'none'"),
        ({"classifier_weights": "absent.pth"}, r"absent\.pth does not exist"),
        ({"classifier_weights": None}, "has no weights: give --classifier-weights"),
    ],
)
def test_denoiser_refusals(values: dict[str, Any], message: str, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        train_denoiser(denoiser_settings(tmp_path / "w.safetensors", classifier, **values), show=False)
    assert "\n" not in str(refusal.value)


def test_stability_needs_a_classifier_with_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels_only.py").write_text(
        "class Labels:\n    num_classes = 10\n    def __call__(self, x):\n        return x.flatten(1).long().sum(1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"classifier": "labels_only:Labels", "recipe": "digits-mse"}
    with pytest.raises(Refusal, match="needs gradients through the classifier, 'labels_only:Labels' gives none"):
        train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, objective="stab", **own), show=False)
    with pytest.raises(Refusal, match="objective 'stab' needs --classifier"):
        train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, objective="stab"), show=False)
    train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, epochs=1, **own), show=False)


def test_weights_of_another_objective_are_no_start(classifier: Path, tmp_path: Path) -> None:
    settings = denoiser_settings(
        tmp_path / "s.safetensors", classifier, objective="stab+mse", init_weights=str(classifier)
    )
    with pytest.raises(Refusal, match="were trained with clean: give weights that mse gave"):
        train_denoiser(settings, show=False)
