"""Whole trainings on the digits: their results, their cards, and their refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from digits_trainings import (
    DENOISER,
    classifier_settings,
    denoiser_settings,
    metrics,
    no_training,
    same_weights,
    stopped_after,
    trained_classifier,
    trained_mse,
)

import raysmooth.tune.training.denoiser_task
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.weights import fingerprint, read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.recipes.precision import settled_precision
from raysmooth.tune.recipes.recipes import RECIPES
from raysmooth.tune.training.train import train_classifier, train_denoiser
from raysmooth.tune.training.training_data import HOLD_OUT, TrainingData, read_training_data

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_classifier(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def mse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_mse(tmp_path_factory.getbasetemp())


def fingerprint_of(path: Path, name: str) -> str:
    network = build_classifier(Variant.parse(name))
    network.load_state_dict(read_weights(path).state_dict)
    return fingerprint(network)


def test_a_few_epochs_teach_the_digits(classifier: Path) -> None:
    weights = read_weights(classifier)
    assert weights.card["metrics"]["accuracy"] > 0.85
    loaded = load_base_classifier(BaseClassifierSpec("digits_cnn", str(classifier)), CPU)
    data = read_training_data(classifier_settings(classifier), "none", CPU)
    ((images, labels),) = data.held_out.in_order(1000)
    right = (loaded.model(images) == labels).double().mean().item()
    assert right == pytest.approx(weights.card["metrics"]["accuracy"], abs=1e-9)


def test_the_card_describes_the_training(classifier: Path) -> None:
    card = read_weights(classifier).card
    data = read_training_data(classifier_settings(classifier), "none", CPU)
    assert card.pop("metrics") == {"accuracy": metrics(classifier).accuracy.iloc[-1]}
    assert len(card.pop("training")) == 64
    assert card["recipe"].pop("source") == RECIPES["digits-classifier"].source
    summary = card.pop("data_summary")  # for the reader; no part of the training's identity
    assert (summary["images"], summary["used"], summary["channels"], summary["size"]) == (1397, "all 1397", 1, [8, 8])
    assert summary["class_names"] == {str(digit): str(digit) for digit in range(10)}
    assert card == {
        "raysmooth_format": 2, "architecture": "digits_cnn", "preprocess": "none", "source": None, "parents": {},
        "objective": "clean", "options": {}, "noise": None, "sigma": None, "measured_at": None, "data_dependent": None,
        "dataset": "digits", "split": "train", "seed": 0, "precision": "float32", "compile": False,
        "data": {"fingerprint": data.fingerprint, "fingerprint_of": "content", "skip": 1, "max": None,
                 "images": 1258, "held_out": 139},
        "recipe": {"name": "digits-classifier", "epochs": 4, "batch_size": 64, "weight_decay": 0.001, "momentum": 0.9,
                   "augment": "shift", "clip_norm": None,
                   "phases": [{"epochs": 4, "optimizer": "adam", "learning_rate": 0.01, "step_size": 40 * 4 / 60,
                               "gamma": 0.1, "schedule": "step"}]},
        "epochs_done": 4, "best_by": "accuracy",
        "run": {"device": "cpu", "workers": 1, "torch": torch.__version__},
    }  # fmt: skip


def test_what_the_supplement_trains_with_is_on_the_card(tmp_path: Path) -> None:
    """Consistency's lambda at this sigma, warm-ups in proportion; the user's options take precedence."""
    mnist = {"recipe": "jeong2020-mnist", "epochs": 9, "max": 60, "learning_rate": 1e-3}
    for objective, sigma, text, options in (
        ("consistency", 0.5, "consistency:lambda=5", {"lambda": 5, "m": 2, "eta": 0.5, "loss": "cross-entropy"}),
        ("consistency", 0.25, "consistency:lambda=10", {"lambda": 10}),
        ("consistency:m=3,lambda=1", 0.5, "consistency:lambda=1,m=3", {"lambda": 1, "m": 3}),
        ("macer:m=2", 1.0, "macer:beta=16,deferral=3.0,gamma=8,lambda=6,m=2", {"lambda": 6, "deferral": 3.0, "m": 2}),
        ("stability", 0.25, "stability:lambda=2", {"lambda": 2}),
    ):
        settings = classifier_settings(tmp_path / "w.safetensors", objective=objective, sigma=sigma, **mnist)
        card = read_weights(train_classifier(settings.model_copy(update={"overwrite": True}), show=False)).card
        assert card["objective"] == text
        assert card["options"] | options == card["options"]
        assert (card["noise"], card["sigma"]) == ("gaussian", sigma)
        assert card["recipe"]["name"] == "jeong2020-mnist"
        assert [phase["optimizer"] for phase in card["recipe"]["phases"]] == ["nesterov"]


def test_the_recipes_values_can_each_be_others(tmp_path: Path) -> None:
    phases = "adam:epochs=1,learning_rate=1e-3; sgd:epochs=2,learning_rate=1e-2,step_size=1,gamma=0.5"
    own = {"batch_size": 100, "weight_decay": 0.0, "momentum": 0.5, "clip_norm": 1.0, "augment": "none"}
    settings = classifier_settings(tmp_path / "w.safetensors", max=100, epochs=None, phases=phases, **own)
    recipe = read_weights(train_classifier(settings, show=False)).card["recipe"]
    assert recipe | own == recipe
    assert recipe["epochs"] == 3
    first, second = recipe["phases"]
    assert first == {"epochs": 1, "optimizer": "adam", "learning_rate": 1e-3, "step_size": None, "gamma": 0.1,
                     "schedule": "step"}  # fmt: skip
    assert second == {"epochs": 2, "optimizer": "sgd", "learning_rate": 1e-2, "step_size": 1, "gamma": 0.5,
                      "schedule": "step"}  # fmt: skip
    assert list(metrics(tmp_path / "w.safetensors").learning_rate) == pytest.approx([1e-3, 1e-2, 5e-3])


def test_denoisers_one_after_the_other(
    classifier: Path, mse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_weights(classifier).state_dict
    settings = denoiser_settings(tmp_path / "stab.safetensors", classifier, objective="stab+mse", init_weights=str(mse))
    stab = train_denoiser(settings)
    first, second = read_weights(mse), read_weights(stab)
    assert (first.card["objective"], second.card["objective"]) == ("mse", "stab+mse")
    assert (second.card["noise"], second.card["sigma"]) == ("gaussian", 0.4)
    assert (first.card["access"], second.card["access"]) == (None, "white-box")
    assert second.card["architecture"] == DENOISER
    assert second.card["metrics"].keys() == {"psnr", "noisy_accuracy", "denoised_accuracy"}
    rows = metrics(stab)
    assert second.card["metrics"] == {name: rows[name].iloc[-1] for name in second.card["metrics"]}
    assert second.card["metrics"]["denoised_accuracy"] > second.card["metrics"]["noisy_accuracy"]
    assert first.card["metrics"]["psnr"] > second.card["metrics"]["psnr"]
    # Under noise of sigma 0.4 alone the PSNR is 10 log10(1 / 0.16) = 7.96 dB.
    assert first.card["metrics"]["psnr"] > 7.96
    loaded = load_base_classifier(BaseClassifierSpec("digits_cnn", str(classifier), None, "dncnn", str(mse)), CPU)
    behind = {
        "architecture": "digits_cnn", "preprocess": "none", "fingerprint": fingerprint_of(classifier, "digits_cnn")
    }  # fmt: skip
    assert second.card["parents"] == {
        "classifier": behind, "init_weights": loaded.spec.denoiser_fingerprint, "surrogates": []
    }  # fmt: skip
    after = read_weights(classifier).state_dict
    assert all(torch.equal(before[key], tensor) for key, tensor in after.items())
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1
    assert printed[0].startswith(f"{DENOISER}, stab+mse at sigma 0.4: denoised accuracy ")
    assert " dB on held-out images; " in printed[0]
    assert printed[0].endswith(f" s; {stab}")


OPTIONS = {
    "consistency": "consistency:lambda=5,m=2",
    "smoothadv": "smoothadv:m=2,steps=2,epsilon=0.5,warmup=1",
    "macer": "macer:m=2,lambda=1,gamma=8",
}


@pytest.mark.parametrize("name", CLASSIFIER_OBJECTIVES)
def test_every_classifier_objective_lessens_its_loss(name: str, tmp_path: Path) -> None:
    text = OPTIONS.get(name, name)
    settings = classifier_settings(
        tmp_path / "w.safetensors", objective=text, sigma=0.1, max=300, epochs=3, learning_rate=3e-3, augment="none"
    )
    out = train_classifier(settings, show=False)
    card, rows = read_weights(out).card, metrics(out)
    assert rows.loss.iloc[-1] < rows.loss.iloc[0]
    assert rows.notna().all(axis=None)
    assert card["objective"].startswith(name)
    assert card["metrics"].keys() == {"accuracy", "noisy_accuracy"}
    assert (card["noise"], card["sigma"]) == ((None, None) if name == "clean" else ("gaussian", 0.1))
    assert card["measured_at"] == {"noise": "gaussian", "sigma": 0.1}
    # Where each image is seen m times, a batch of the recipe is split into as many steps.
    steps = -(-270 // (32 if name in ("consistency", "smoothadv") else 64))
    assert list(rows.steps) == [steps] * 3


@pytest.mark.parametrize("name", DENOISER_OBJECTIVES)
def test_every_denoiser_objective_trains_the_denoiser_alone(
    name: str, classifier: Path, mse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classifier keeps its weights and its mode, and gets no gradient."""
    seen: list[Any] = []

    def remember(*arguments: Any) -> Any:
        seen.append(load_base_classifier(*arguments))
        return seen[0]

    monkeypatch.setattr(raysmooth.tune.training.denoiser_task, "load_base_classifier", remember)
    values: dict[str, Any] = {"objective": name, "recipe": "digits-mse", "max": 300, "epochs": 3}
    values |= {"init_weights": str(mse), "learning_rate": 3e-3}
    out = train_denoiser(denoiser_settings(tmp_path / "w.safetensors", classifier, **values), show=False)
    card, rows = read_weights(out).card, metrics(out)
    assert rows.loss.iloc[-1] < rows.loss.iloc[0]
    assert not same_weights(out, mse)
    assert card["objective"] == name
    assert card["access"] == (None if name == "mse" else "white-box")
    assert card["metrics"].keys() == {"psnr", "noisy_accuracy", "denoised_accuracy"}
    network = seen[0].model.classifier
    assert fingerprint(network) == fingerprint_of(classifier, "digits_cnn")
    assert not any(module.training for module in network.modules())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    "denoiser",
    [
        "dncnn:channels=1,depth=4,width=4",
        "dncnn_wide:channels=1,depth=3,width=8",
        "memnet:channels=1,memory_blocks=2,residual_blocks=2,width=4",
    ],
)
def test_every_denoiser_is_trained_and_used_again(denoiser: str, classifier: Path, tmp_path: Path) -> None:
    values = {"denoiser": denoiser, "max": 200, "epochs": 3, "noise": "uniform", "sigma": 0.3}
    out = train_denoiser(denoiser_settings(tmp_path / "d.safetensors", classifier, **values), show=False)
    card = read_weights(out).card
    assert (card["noise"], card["sigma"]) == ("uniform", 0.3)
    rows = metrics(out)
    assert rows.loss.iloc[-1] < rows.loss.iloc[0]
    name = denoiser.partition(":")[0]
    loaded = load_base_classifier(BaseClassifierSpec("digits_cnn", str(classifier), None, name, str(out)), CPU)
    assert loaded.spec.denoiser == card["architecture"]
    assert loaded.denoiser_card == card


def test_uniform_noise_is_another_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"objective": "gaussian", "sigma": 0.25, "epochs": 1, "max": 100}
    for noise in ("gaussian", "uniform"):
        train_classifier(classifier_settings(tmp_path / f"{noise}.safetensors", noise=noise, **values))
    assert not same_weights(tmp_path / "gaussian.safetensors", tmp_path / "uniform.safetensors")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("digits_cnn, gaussian at sigma 0.25: accuracy ")
    assert second.startswith("digits_cnn, gaussian with uniform noise at sigma 0.25: accuracy ")


def test_the_same_seed_gives_the_same_file(classifier: Path, tmp_path: Path) -> None:
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = denoiser_settings(tmp_path / f"{name}.safetensors", classifier, epochs=1, seed=seed)
        torch.rand(7)  # nothing that others draw may matter
        files.append(train_denoiser(settings, show=False).read_bytes())
    assert files[0] == files[1] != files[2]


def test_torchs_own_generator_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train_classifier(classifier_settings(tmp_path / "w.safetensors", epochs=1, max=100), show=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_mse_needs_no_classifier(tmp_path: Path) -> None:
    out = train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, epochs=1), show=False)
    assert read_weights(out).card["metrics"].keys() == {"psnr"}


def test_clean_training_is_measured_under_noise_if_asked(classifier: Path, tmp_path: Path) -> None:
    """Its weights are those of any clean training; the card has the level, and another level is another training."""
    out = train_classifier(classifier_settings(tmp_path / "w.safetensors", sigma=0.25), show=False)
    card = read_weights(out).card
    assert same_weights(out, classifier)
    assert (card["noise"], card["sigma"], card["best_by"]) == (None, None, "noisy_accuracy")
    assert card["measured_at"] == {"noise": "gaussian", "sigma": 0.25}
    with no_training(), pytest.raises(RaysmoothError, match=r"holds a training with sigma 0\.25, not 0\.5"):
        train_classifier(classifier_settings(tmp_path / "w.safetensors", sigma=0.5), show=False)


def test_a_stopped_stability_training_goes_on_to_the_same_numbers(classifier: Path, mse: Path, tmp_path: Path) -> None:
    values = {"objective": "stab+mse", "init_weights": str(mse), "epochs": 3, "max": 300}
    whole = train_denoiser(denoiser_settings(tmp_path / "a.safetensors", classifier, **values), show=False)
    again = denoiser_settings(tmp_path / "b.safetensors", classifier, **values)
    with stopped_after(2):
        train_denoiser(again, show=False)
    out = train_denoiser(again, show=False)
    assert same_weights(out, whole)
    assert metrics(out).equals(metrics(whole))


def test_bfloat16_is_on_the_card_and_what_it_trains_is_float32(tmp_path: Path) -> None:
    values = {"epochs": 2, "max": 200}
    half = train_classifier(classifier_settings(tmp_path / "h.safetensors", precision="bfloat16", **values), show=False)
    full = train_classifier(classifier_settings(tmp_path / "f.safetensors", **values), show=False)
    assert read_weights(half).card["precision"] == "bfloat16"
    assert not same_weights(half, full)
    assert {tensor.dtype for tensor in read_weights(half).state_dict.values()} == {torch.float32}
    auto = train_classifier(classifier_settings(tmp_path / "a.safetensors", precision="auto", **values), show=False)
    assert read_weights(auto).card["precision"] == settled_precision("auto", CPU)


def test_the_held_out_tenth_is_every_tenth_image(tmp_path: Path) -> None:
    data = read_training_data(classifier_settings(tmp_path / "w.safetensors"), "none", CPU)
    assert (HOLD_OUT, len(data.held_out), len(data.train)) == (10, 139, 1258)
    first = data.train.first()
    assert first.shape == (1, 1, 8, 8)
    assert 0.0 <= first.min() < first.max() <= 1.0


def test_threads_are_given_back(classifier: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    values = {"epochs": 1, "max": 100, "threads": before + 1}
    train_denoiser(denoiser_settings(tmp_path / "w.safetensors", classifier, **values), show=False)
    assert torch.get_num_threads() == before


def test_a_log_gets_about_ten_lines_and_a_silent_training_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for show, epochs, lines in ((True, 20, 12), (False, 2, 0)):
        settings = classifier_settings(tmp_path / f"{show}.safetensors", epochs=epochs, max=20, learning_rate=1e-3)
        train_classifier(settings, show=show)
        captured = capsys.readouterr()
        assert len(captured.err.splitlines()) == lines
        assert len(captured.out.splitlines()) == (1 if show else 0)
        if show:
            assert captured.err.startswith("raysmooth: data: digits, split train: ")
            assert captured.err.splitlines()[1].startswith("raysmooth: recipe digits-classifier: 20 epochs of adam ")
            assert captured.err.splitlines()[-1].startswith("digits_cnn clean: epoch 20/20, loss ")
            assert captured.err.rstrip().endswith(" images/s")


def test_weights_to_start_from(classifier: Path, tmp_path: Path) -> None:
    values = {"init_weights": str(classifier), "optimizer": "sgd", "learning_rate": 1e-30, "weight_decay": 0.0}
    out = train_classifier(classifier_settings(tmp_path / "w.safetensors", epochs=1, **values), show=False)
    assert same_weights(out, classifier)
    assert read_weights(out).card["parents"] == {"init_weights": fingerprint_of(classifier, "digits_cnn")}


@pytest.mark.processes
def test_compiled_networks_have_the_same_weights_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of equal size an epoch, so that little is compiled; and without a pool of compilers."""
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    tiny = "dncnn:channels=1,depth=2,width=2"
    values = {"denoiser": tiny, "max": 80, "batch_size": 36, "epochs": 2, "learning_rate": 1e-3}
    plain = train_denoiser(denoiser_settings(tmp_path / "plain.safetensors", None, **values), show=False)
    again = denoiser_settings(tmp_path / "compiled.safetensors", None, compile="on", **values)
    with stopped_after(1):
        train_denoiser(again, show=False)
    compiled = train_denoiser(again, show=False)
    one, other = read_weights(compiled), read_weights(plain)
    assert (one.card["compile"], other.card["compile"]) == (True, False)
    assert one.state_dict.keys() == other.state_dict.keys()
    for key, tensor in one.state_dict.items():
        torch.testing.assert_close(tensor, other.state_dict[key], rtol=1e-3, atol=1e-5)
    spec = BaseClassifierSpec("base_classifiers:Linear", None, None, "dncnn", str(compiled), trust_code=True)
    assert load_base_classifier(spec, CPU).spec.denoiser == tiny


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classifier": "digits_cn"}, "did you mean 'digits_cnn'"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"objective": "gausian", "sigma": 0.1}, "did you mean 'gaussian'"),
        ({"objective": "consistency", "sigma": 0.1}, "option lambda is missing: write a number, 0 or more"),
        ({"objective": "stability:lamda=1", "sigma": 0.1}, "has no option 'lamda': did you mean 'lambda'"),
        ({"objective": "macer:m=0", "sigma": 0.1}, "option m=0: write a whole number above 0"),
        ({"objective": "gaussian"}, "trains on noisy images: write --sigma 0.25"),
        ({"noise": "unifrom", "sigma": 0.1}, "did you mean 'uniform'"),
        ({"recipe": "digits-classifer"}, "did you mean 'digits-classifier'"),
        ({"recipe": "salman2020-cifar10-stab-1", "learning_rate": 0.1}, "--learning-rate: recipe .* has 2 phases"),
        ({"optimizer": "admw"}, "did you mean 'adamw'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"augment": "shft"}, "did you mean 'shift'"),
        ({"phases": "adam:epoch=3,learning_rate=1e-3"}, "phase 'adam' has no option 'epoch': did you mean 'epochs'"),
        ({"phases": "adm:epochs=3,learning_rate=1e-3"}, "did you mean 'adam'"),
        ({"precision": "float16"}, "unknown precision 'float16': write auto, float32 or bfloat16"),
        ({"classifier": "lenet"}, r"classifier 'lenet' rejects images of shape \(1, 8, 8\)"),
        ({"classifier": "digits_cnn:num_classes=5"}, r"has 5 classes, .* labels up to 9: .*num_classes=10"),
        ({"classifier": "operator:length_hint"}, "cannot be built|parameters to train"),
        ({"preprocess": "cifar10"}, "constants for 3 channels, images have 1"),
        ({"learning_rate": 1e20}, "the loss is .* at step"),
        ({"device": "gpu"}, "unknown device 'gpu': write auto"),
        ({"device": "cuda:99"}, "torch sees"),
        ({"device": "mps"}, "unknown device 'mps': write auto"),
        ({"address": "127.0.0.1:1"}, "--address 127.0.0.1:1 is for --workers"),
        ({"noise": "uniform"}, "--noise uniform without --sigma"),
        ({"classifier": "base_classifiers:AnswersPairs"}, "answers with a tuple in training, .* aux_logits=false"),
        ({"classifier": "base_classifiers:frozen"}, "has no parameters to train: leave requires_grad on"),
        ({"split": "tset"}, "digits has no split 'tset'"),
        ({"max": 9}, "has 9 images: training needs 10 or more"),
        ({"out": "w.pth"}, r"ending in \.safetensors"),
        ({"out": "/dev/null/w.safetensors"}, "cannot be created"),
        ({"init_weights": "absent.safetensors"}, r"absent\.safetensors does not exist"),
    ],
)
def test_classifier_refusals(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=message) as refusal:
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
        ({"objective": "clf+mse"}, "objective 'clf[+]mse' starts from mse weights"),
        ({"objective": "stab+mse", "init_weights": "absent.pth"}, r"absent\.pth does not exist"),
        ({"recipe": "stab"}, "for mse on digits write one of digits-mse, general-denoiser-few-small"),
        ({"objective": "mes"}, "did you mean 'mse'"),
        ({"objective": "mse:weight=1"}, "has no option 'weight': it takes none, write mse"),
        (
            {"denoiser": "dncnn:channels=3"},
            "'dncnn:channels=3' is for 3 channels, the images have 1: leave channels out, or write --channels 3",
        ),
        ({"denoiser": "memnt"}, "did you mean 'memnet'"),
        ({"denoiser": "none"}, r"unknown denoiser 'none': known: dncnn, dncnn_wide, memnet"),
        ({"classifier": None}, "--classifier-weights without --classifier: name the classifier too"),
        (
            {
                "objective": "clf",
                "recipe": "digits-mse",
                "classifier": "base_classifiers:FiveClasses",
                "classifier_weights": None,
            },
            "has 5 classes, the images have labels up to 9",
        ),
        ({"classifier_weights": "absent.pth"}, r"absent\.pth does not exist"),
        ({"classifier_weights": None}, "has no weights: give --classifier-weights"),
    ],
)
def test_denoiser_refusals(values: dict[str, Any], message: str, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=message) as refusal:
        train_denoiser(denoiser_settings(tmp_path / "w.safetensors", classifier, **values), show=False)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_stability_needs_a_classifier_with_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels_only.py").write_text(
        "class Labels:\n    num_classes = 10\n    def __call__(self, x):\n        return x.flatten(1).long().sum(1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"classifier": "labels_only:Labels", "recipe": "digits-mse"}
    with pytest.raises(RaysmoothError, match="needs gradients through the classifier, 'labels_only:Labels' has none"):
        train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, objective="stab", **own), show=False)
    with pytest.raises(RaysmoothError, match="objective 'stab' needs --classifier"):
        train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, objective="stab"), show=False)
    train_denoiser(denoiser_settings(tmp_path / "w.safetensors", None, epochs=1, **own), show=False)


def test_weights_of_another_objective_are_no_start(classifier: Path, tmp_path: Path) -> None:
    settings = denoiser_settings(
        tmp_path / "s.safetensors", classifier, objective="stab+mse", init_weights=str(classifier)
    )
    with pytest.raises(RaysmoothError, match="were trained with clean: give weights trained with mse"):
        train_denoiser(settings, show=False)


def test_images_without_labels(classifier: Path, tmp_path: Path, picture_file: Any) -> None:
    """They are enough for mse and stab; not for a classifier, nor for clf."""
    pictures = {"dataset": "parquet", "data_root": picture_file([(number / 20, None) for number in range(20)])}
    with pytest.raises(RaysmoothError, match="has images without a label: a classifier needs one for each"):
        train_classifier(
            classifier_settings(tmp_path / "c.safetensors", recipe="digits-classifier", **pictures), show=False
        )
    values = {**pictures, "recipe": "digits-mse", "epochs": 1}
    with pytest.raises(
        RaysmoothError, match=r"objective 'clf' needs a label for each image .*: write --objective stab"
    ):
        train_denoiser(denoiser_settings(tmp_path / "d.safetensors", classifier, objective="clf", **values), show=False)
    out = train_denoiser(
        denoiser_settings(tmp_path / "d.safetensors", classifier, objective="stab", **values), show=False
    )
    card = read_weights(out).card
    assert (card["metrics"].keys(), card["best_by"]) == ({"psnr"}, "psnr")


def test_weights_are_not_written_over_those_that_they_start_from(classifier: Path) -> None:
    settings = classifier_settings(classifier, init_weights=str(classifier), overwrite=True)
    with pytest.raises(RaysmoothError, match=r"is --out too: write the new weights elsewhere"):
        train_classifier(settings, show=False)
    assert classifier.exists()


def test_a_start_brings_its_normalisation_along(tmp_path: Path) -> None:
    parent = train_classifier(classifier_settings(tmp_path / "a.safetensors", epochs=1, preprocess="0.5/0.25"), False)
    child = classifier_settings(tmp_path / "b.safetensors", epochs=1, init_weights=str(parent))
    assert read_weights(train_classifier(child, show=False)).card["preprocess"] == "0.5/0.25"


def test_another_normalisation_of_the_classifier_is_another_training(classifier: Path, tmp_path: Path) -> None:
    values = {"objective": "stab", "recipe": "digits-mse", "epochs": 1}
    out = tmp_path / "d.safetensors"
    train_denoiser(denoiser_settings(out, classifier, **values), show=False)
    with pytest.raises(RaysmoothError, match=r'holds a training with preprocess "none", not "0\.5/0\.25"'):
        train_denoiser(denoiser_settings(out, classifier, preprocess="0.5/0.25", **values), show=False)


def test_an_own_classifier_whose_source_has_changed_is_another_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "changing.py"
    text = (
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10), {})\n"
    )
    source.write_text(text.format("torch.nn.ReLU()"))
    settings = classifier_settings(tmp_path / "w.safetensors", classifier="changing:make", epochs=1)
    train_classifier(settings, show=False)
    source.write_text(text.format("torch.nn.Tanh()"))
    with pytest.raises(RaysmoothError, match="holds a training with source "):
        train_classifier(settings, show=False)


def test_weights_of_other_noise_to_start_from_give_a_warning(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mse = train_denoiser(denoiser_settings(tmp_path / "mse.safetensors", None, epochs=1, sigma=0.2), show=False)
    values = {"objective": "stab+mse", "init_weights": str(mse), "epochs": 1}
    for sigma, warned in ((0.2, False), (0.4, True)):
        train_denoiser(denoiser_settings(tmp_path / f"{sigma}.safetensors", classifier, sigma=sigma, **values))
        line = f"--init-weights {mse} were trained on gaussian noise of sigma 0.2, this training uses gaussian noise of"
        assert (f"raysmooth: warning: {line} sigma 0.4" in capsys.readouterr().err) == warned


def test_no_weights_are_kept_of_images_that_were_altered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: TrainingData) -> None:
        raise RaysmoothError("altered")

    monkeypatch.setattr(TrainingData, "refuse_altered", refuse)
    with pytest.raises(RaysmoothError, match="altered"):
        train_classifier(classifier_settings(tmp_path / "c.safetensors"), show=False)
    assert not (tmp_path / "c.safetensors").exists()


def test_classes_that_no_image_belongs_to_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = classifier_settings(tmp_path / "c.safetensors", classifier="digits_cnn:num_classes=30")
    train_classifier(settings, show=True)
    said = "warning: the data has 10 classes, the network 30: no image is of the others; write --classifier digits_cnn:"
    assert said in " ".join(capsys.readouterr().err.split())
    train_classifier(classifier_settings(tmp_path / "d.safetensors"), show=True)
    assert "no image is of the others" not in capsys.readouterr().err
