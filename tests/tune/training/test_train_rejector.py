"""Rejectors trained on the digits: what learns and what must not, their cards, their metrics, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_trainings import (
    killed_once,
    killed_settings,
    metrics,
    no_training,
    rejector_settings,
    same_weights,
    stopped_after,
    trained_classifier,
    trained_mse,
)

import raysmooth.tune.training.rejector_task
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.weights import fingerprint, read_weights
from raysmooth.actors.noise.families import noise_family
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.objectives.objective import Observed
from raysmooth.tune.objectives.rejector_objectives import Disagreement
from raysmooth.tune.objectives.training_noise import TrainingNoise
from raysmooth.tune.recipes.autocast import InPrecision
from raysmooth.tune.recipes.settings import TrainRejectorSettings
from raysmooth.tune.training.rejection_metrics import DRAWS, judge_rejector
from raysmooth.tune.training.train import train_rejector
from raysmooth.tune.training.training_data import NO_LABEL

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_classifier(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_mse(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def rejector(classifier: Path, denoiser: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights") / "r.safetensors"
    return train_rejector(rejector_settings(out, classifier, denoiser), show=False)


def test_a_few_epochs_teach_which_draws_are_misled(rejector: Path) -> None:
    found = read_weights(rejector).card["metrics"]
    assert found["auc"] > 0.65
    assert 0 < found["rejected"] < 0.9
    assert found["kept_accuracy"] > found["accuracy"] + 0.02
    rows = metrics(rejector)
    assert rows.loss.iloc[-1] < rows.loss.iloc[0]


def test_the_card_has_the_network_and_its_parents(rejector: Path, classifier: Path, denoiser: Path) -> None:
    card = read_weights(rejector).card
    assert card["architecture"] == "network:depth=10,width=8"
    assert (card["num_classes"], card["image_shape"]) == (10, [1, 8, 8])
    assert [(tap["height"], tap["width"]) for tap in card["taps"]] == [(8, 8), (4, 4), (2, 2)]
    assert (card["objective"], card["options"]) == ("disagreement:T=4", {"T": 4, "head": "noisy"})
    assert (card["noise"], card["sigma"], card["best_by"]) == ("gaussian", 0.4, "estimated_acr")
    assert card["recipe"]["name"] == "general-rejector-few-small"
    spec = load_base_classifier(
        raysmooth.tune.training.rejector_task.BaseClassifierSpec(
            "digits_cnn", str(classifier), denoiser="dncnn", denoiser_weights=str(denoiser)
        ),
        CPU,
    ).spec
    assert card["parents"] == {
        "init_weights": None,
        "classifier": {
            "architecture": "digits_cnn",
            "preprocess": "none",
            "fingerprint": spec.classifier_fingerprint,
        },
        "denoiser": {
            "architecture": "dncnn:channels=1,depth=3,width=8",
            "fingerprint": spec.denoiser_fingerprint,
        },
    }


@pytest.mark.parametrize("objective", ["disagreement:T=2,head=clean", "wrong:T=2"])
def test_only_the_rejector_learns(
    objective: str, classifier: Path, denoiser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classifier and denoiser keep their weights, statistics and mode, get no gradient, and answer as before."""
    seen: list[Any] = []
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def remember(*arguments: Any) -> Any:
        loaded = load_base_classifier(*arguments)
        seen.append((loaded.model, fingerprint(loaded.model), loaded.model.answer(images)))
        return loaded

    monkeypatch.setattr(raysmooth.tune.training.rejector_task, "load_base_classifier", remember)
    values = {"objective": objective, "max": 100, "epochs": 1}
    card = read_weights(
        train_rejector(rejector_settings(tmp_path / "r.safetensors", classifier, denoiser, **values), show=False)
    ).card
    assert card["objective"] == objective
    ((model, before, answers),) = seen
    assert fingerprint(model) == before
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert torch.equal(model.answer(images), answers)
    assert not model.answer(images).requires_grad


def test_a_stopped_training_resumes_to_the_same_numbers(classifier: Path, denoiser: Path, tmp_path: Path) -> None:
    small: dict[str, Any] = {"max": 100, "epochs": 2, "objective": "disagreement:T=2"}
    whole = train_rejector(rejector_settings(tmp_path / "a.safetensors", classifier, denoiser, **small), show=False)
    settings = rejector_settings(tmp_path / "b.safetensors", classifier, denoiser, **small)
    with stopped_after(1):
        train_rejector(settings, show=False)
    out = train_rejector(settings, show=False)
    assert same_weights(out, whole)
    assert metrics(out).equals(metrics(whole))
    small["objective"] = "disagreement:T=2,head=clean"
    with no_training(), pytest.raises(RaysmoothError, match=r'holds a training with head "noisy", not "clean"'):
        train_rejector(rejector_settings(out, classifier, denoiser, **small), show=False)


@pytest.mark.processes
def test_sigkill_then_the_same_command(tmp_path: Path) -> None:
    flags = {"objective": "disagreement:T=2", "sigma": "0.4", "rejector": "network:width=2,depth=10"}
    out, err = killed_once("rejector", tmp_path, flags)
    assert "has no feature maps of the rejector's resolutions: the rejector sees the denoised image alone" in err
    undisturbed = tmp_path / "whole.safetensors"
    values = {**killed_settings(tmp_path), **flags, "out": str(undisturbed), "trust_code": True}
    train_rejector(TrainRejectorSettings.model_validate(values), show=False)
    assert same_weights(out, undisturbed)


def test_without_a_denoiser_and_from_other_weights(rejector: Path, classifier: Path, tmp_path: Path) -> None:
    values = {
        "denoiser": "none", "denoiser_weights": None, "init_weights": str(rejector), "max": 60, "sigma": 0.3,
        "optimizer": "sgd", "learning_rate": 1e-30, "weight_decay": 0.0, "epochs": 1,
    }  # fmt: skip
    out = train_rejector(rejector_settings(tmp_path / "r.safetensors", classifier, rejector, **values), show=False)
    parents = read_weights(out).card["parents"]
    assert parents["denoiser"] is None
    assert len(parents["init_weights"]) == 64


class AnswersLabels(torch.nn.Module):
    num_classes = 10

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch.flatten(1).argmax(dim=1) % 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rejector": "confidence:threshold=0.6"}, "rejector 'confidence' is a rule that needs no training: write"),
        ({"rejector": "network:threshold=0.6"}, "the threshold is chosen when certifying: leave it out here"),
        (
            {"rejector": "network:depth=12"},
            "no rejector network has depth=12, width=64: write one of the depths 10, 18",
        ),
        ({"rejector": "netwrk"}, "unknown rejector 'netwrk': did you mean 'network'?"),
        ({"objective": "mse"}, "unknown rejector objective 'mse'"),
        ({"recipe": "digits-mse1"}, "for disagreement on digits write one of sheikholeslami2022-cifar10, general-rej"),
        (
            {"classifier": "base_classifiers:Labels", "classifier_weights": None},
            "is no torch module, and a rejector is",
        ),
        ({"classifier": f"{__name__}:AnswersLabels", "classifier_weights": None}, "answers labels, and a rejector"),
        ({"denoiser": "none"}, "without a denoiser: write --denoiser dncnn too"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    values: dict[str, Any], message: str, classifier: Path, denoiser: Path, tmp_path: Path
) -> None:
    with no_training(), pytest.raises(RaysmoothError) as refusal:
        train_rejector(rejector_settings(tmp_path / "r.safetensors", classifier, denoiser, **values), show=False)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- metrics -------------------------------------------------------------------------------------------------------


class Scripted:
    """Frozen networks whose classes of each draw are written down: `draws`, (DRAWS, images)."""

    def __init__(self, draws: np.ndarray, clean: list[int]) -> None:
        self.draws, self.clean = list(draws), torch.tensor(clean)

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        return self.clean

    def observe(self, noisy: torch.Tensor) -> Observed:
        answered = torch.tensor(self.draws.pop(0))
        return Observed(noisy, torch.nn.functional.one_hot(answered, 3).float(), [])


class Held:
    """Images in one batch."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def in_order(self, batch: int) -> Any:
        yield torch.zeros(len(self), 1, 1, 1), self.labels


class RejectsOnes(torch.nn.Module):
    """Head 1 always rejects, the others never do."""

    def forward(self, denoised: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        return torch.tensor([-1.0, 1.0, -2.0]).expand(len(denoised), 3)


def judged(draws: np.ndarray, clean: list[int], labels: list[int]) -> dict[str, float]:
    noise = TrainingNoise("gaussian", 0.5, CPU)
    network = InPrecision(RejectsOnes(), CPU, "float32")
    frozen = Scripted(draws, clean)
    return judge_rejector(network, frozen, Disagreement(), Held(labels), noise, noise_family("gaussian", 0.5))


def test_metrics_by_hand() -> None:
    """Two images of class 0 and one of class 1. Of 20 draws, the first has 12, 7 and 1 of the classes 0, 1 and 2; the
    second 20 of class 0; the third 20 of class 1, all of which are rejected.
    """
    draws = np.zeros((DRAWS, 3), int)
    draws[:7, 0], draws[7, 0], draws[:, 2] = 1, 2, 1
    found = judged(draws, [0, 0, 1], [0, 0, 1])
    assert found["rejected"] == pytest.approx(27 / 60)
    assert found["accuracy"] == pytest.approx(52 / 60)
    assert found["kept_accuracy"] == pytest.approx(32 / 33)
    # Wrong are 7 draws with head 1 and one with head 2; right are 32 with head 0 and 20 with head 1. A pair of equals
    # counts half.
    assert found["auc"] == pytest.approx((7 * (32 + 20 / 2)) / (8 * 52))
    family = noise_family("gaussian", 0.5)
    certain = family.radius(20.5 / 21, 0.5 / 21)
    assert found["estimated_acr"] == pytest.approx((family.radius(12.5 / 21, 1.5 / 21) + certain + 0) / 3)
    assert found["estimated_acr_without"] == pytest.approx((family.radius(12.5 / 21, 7.5 / 21) + 2 * certain) / 3)


def test_nothing_to_reject_and_nothing_kept() -> None:
    found = judged(np.ones((DRAWS, 2), int), [1, 1], [1, 1])
    assert found == {
        "auc": 0.5, "rejected": 1.0, "accuracy": 1.0, "kept_accuracy": 0.0, "estimated_acr": 0.0,
        "estimated_acr_without": noise_family("gaussian", 0.5).radius(20.5 / 21, 0.5 / 21),
    }  # fmt: skip


def test_without_labels_only_the_answers_are_judged() -> None:
    assert judged(np.ones((DRAWS, 2), int), [1, 0], [NO_LABEL, 0]) == {"auc": 0.5, "rejected": 1.0}
