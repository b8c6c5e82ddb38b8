"""Losses and their gradients against formulas in NumPy and SciPy, on a linear classifier with three classes."""

from collections.abc import Callable
from math import exp, inf, log, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax
from scipy.stats import entropy, norm
from scripted import GaussianNoise, Linear, ScriptedNoise

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES, radius_hinge
from raysmooth.tune.objectives.objective import ClassifierObjective, parse_objective
from raysmooth.tune.objectives.training_noise import TrainingNoise

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.normal(size=(3, 4))
IMAGES = RANDOM.uniform(0.2, 0.8, size=(5, 4))
DRAWS = RANDOM.normal(scale=0.5, size=(4, 5, 4))
LABELS = (IMAGES @ WEIGHT.T).argmax(axis=1)
LABELS[0] = (LABELS[0] + 1) % 3  # one of five is wrong


def objective_of(text: str) -> ClassifierObjective:
    return parse_objective(text, CLASSIFIER_OBJECTIVES)[2]


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor(pixels, dtype=torch.float32).view(len(pixels), 1, 2, -1)


def loss_of(text: str, classifier: torch.nn.Module, m: int, epoch: int = 0, sigma: float = 0.5) -> torch.Tensor:
    """The loss on IMAGES, with the first m DRAWS; all of them must be asked for, and no more."""
    noise = ScriptedNoise([as_images(draw) for draw in DRAWS[:m]], sigma)
    loss = objective_of(text)(classifier, as_images(IMAGES), torch.tensor(LABELS), noise, epoch)
    assert noise.left == []
    return loss


def cross_entropy(logits: np.ndarray) -> float:
    return -log_softmax(logits, axis=1)[range(len(LABELS)), LABELS].mean()


def noisy(weight: np.ndarray, m: int, images: np.ndarray = IMAGES) -> np.ndarray:
    return (images + DRAWS[:m]) @ weight.T


def stability(weight: np.ndarray) -> float:
    clean, other = IMAGES @ weight.T, noisy(weight, 1)[0]
    return cross_entropy(clean) - 2 * (softmax(clean, axis=1) * log_softmax(other, axis=1)).sum(axis=1).mean()


def consistency(weight: np.ndarray, m: int, lambda_: float, eta: float, images: np.ndarray = IMAGES) -> float:
    logits = noisy(weight, m, images)
    draws = softmax(logits, axis=2)
    mean = draws.mean(axis=0)
    divergences = [entropy(mean, draw, axis=1).mean() for draw in draws]
    agreement = lambda_ * np.mean(divergences) + eta * entropy(mean, axis=1).mean()
    return np.mean([cross_entropy(draw) for draw in logits]) + agreement


def squared(weight: np.ndarray) -> float:
    one, other = noisy(weight, 2)
    distance = ((softmax(one, axis=1) - softmax(other, axis=1)) ** 2).sum(axis=1).mean()
    return (cross_entropy(one) + cross_entropy(other)) / 2 + 5 * distance


def macer(
    weight: np.ndarray, sigma: float | np.ndarray = 0.5, lambda_: float = 16, gamma: float = 3, beta: float = 2
) -> float:
    total = 0.0
    for image in range(5):
        logits = noisy(weight, 4)[:, image]
        total -= log(softmax(logits, axis=1).mean(axis=0)[LABELS[image]])
        sharp = softmax(beta * logits, axis=1).mean(axis=0)
        second, first = np.sort(sharp)[-2:]
        if sharp.argmax() == LABELS[image]:
            total += (
                lambda_ * np.broadcast_to(sigma, 5)[image] / 2 * max(0.0, gamma - (norm.ppf(first) - norm.ppf(second)))
            )
    return total / 5


CASES: dict[str, tuple[int, Callable[[np.ndarray], float]]] = {
    "clean": (0, lambda weight: cross_entropy(IMAGES @ weight.T)),
    "gaussian": (1, lambda weight: cross_entropy(noisy(weight, 1)[0])),
    "stability": (1, stability),
    "consistency:lambda=10": (2, lambda weight: consistency(weight, 2, 10, 0.5)),
    "consistency:m=4,lambda=5,eta=0.1": (4, lambda weight: consistency(weight, 4, 5, 0.1)),
    "consistency:m=4,lambda=5,loss=kl": (4, lambda weight: consistency(weight, 4, 5, 0)),
    "consistency:m=2,lambda=5,loss=mse": (2, squared),
    "macer:m=4,gamma=3,beta=2": (4, macer),
}


@pytest.mark.parametrize("text", CASES)
def test_losses(text: str) -> None:
    m, expected = CASES[text]
    loss = loss_of(text, Linear(WEIGHT), m)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected(WEIGHT), rel=1e-5)


@pytest.mark.parametrize("text", CASES)
def test_gradients_are_those_of_the_whole_formula(text: str) -> None:
    """No part is held fixed: not stability's target, not consistency's mean, not MACER's runner-up."""
    m, expected = CASES[text]
    classifier = Linear(WEIGHT)
    loss_of(text, classifier, m).backward()
    for row, column in np.ndindex(*WEIGHT.shape):
        step = np.zeros_like(WEIGHT)
        step[row, column] = 1e-5
        slope = (expected(WEIGHT + step) - expected(WEIGHT - step)) / 2e-5
        assert classifier.weight.grad[row, column].item() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_macer_cases_have_all_kinds_of_images() -> None:
    sharp = softmax(2 * noisy(WEIGHT, 4), axis=2).mean(axis=0)
    right = sharp.argmax(axis=1) == LABELS
    ordered = norm.ppf(np.sort(sharp, axis=1))
    gaps = ordered[:, -1] - ordered[:, -2]
    assert right.sum() not in (0, 5)
    assert (gaps[right] < 3).any()


def test_stability_and_the_clean_loss_weigh_as_asked() -> None:
    clean = cross_entropy(IMAGES @ WEIGHT.T)
    assert loss_of("stability:lambda=0", Linear(WEIGHT), 1).item() == pytest.approx(clean, rel=1e-5)
    assert loss_of("stability:lambda=1", Linear(WEIGHT), 1).item() == pytest.approx(
        (clean + stability(WEIGHT)) / 2, rel=1e-5
    )


def test_consistency_is_one_forward_pass_over_all_copies() -> None:
    sizes = []
    classifier = Linear(WEIGHT)
    classifier.register_forward_hook(lambda _, arguments, __: sizes.append(len(arguments[0])))
    loss_of("consistency:m=4,lambda=5", classifier, 4)
    assert sizes == [20]


@given(
    draw=arrays(np.float64, (5, 4), elements=st.floats(-2, 2)),
    lambda_=st.floats(0, 50),
    loss=st.sampled_from(["cross-entropy", "kl", "mse"]),
)
def test_identical_draws_are_consistent(draw: np.ndarray, lambda_: float, loss: str) -> None:
    """Only the cross-entropy is left, and the entropy where the loss has it."""
    noise = ScriptedNoise([as_images(draw)] * 2)
    objective = objective_of(f"consistency:lambda={lambda_:f},eta=0.5,loss={loss}")
    found = objective(Linear(WEIGHT), as_images(IMAGES), torch.tensor(LABELS), noise, 0).item()
    logits = (IMAGES + draw) @ WEIGHT.T
    uncertainty = 0.5 * entropy(softmax(logits, axis=1), axis=1).mean() if loss == "cross-entropy" else 0.0
    assert found == pytest.approx(cross_entropy(logits) + uncertainty, rel=1e-4, abs=1e-4)


# Two classes and logits (x0 - x1, x1 - x0): attacks go along TOWARDS, see tests/actors/attacks/test_attacks.py.
DIFFERENCE = np.array([[1.0, -1.0], [-1.0, 1.0]])
TOWARDS = np.array([-1.0, 1.0]) / sqrt(2)


@pytest.mark.parametrize(
    ("text", "epoch", "length"),
    [
        ("smoothadv:m=2,epsilon=0.2,warmup=4", 0, 0.05),
        ("smoothadv:m=2,epsilon=0.2,warmup=4", 1, 0.1),
        ("smoothadv:m=2,epsilon=0.2,warmup=4", 3, 0.2),
        ("smoothadv:m=2,epsilon=0.2,warmup=4", 50, 0.2),
        ("smoothadv:m=2,epsilon=0.2,warmup=2.5", 1, 0.16),
        ("smoothadv:m=2,epsilon=0.2,warmup=0.5", 0, 0.2),
        ("smoothadv:m=2,epsilon=0.2,warmup=0,steps=1", 0, 0.2),
        # Found at 0.21 after the first step, 0.1995 after the second; and cut at the warmed-up radius.
        ("smoothadv:m=2,epsilon=0.2,warmup=0,attack=ddn,steps=3", 0, 0.1995),
        ("smoothadv:m=2,epsilon=0.4,warmup=2,attack=ddn,steps=2", 0, 0.2),
    ],
)
@pytest.mark.parametrize("lambda_", [0, 3])
def test_smoothadv_trains_on_the_attacked_image_with_the_attacks_draws(
    text: str, epoch: int, length: float, lambda_: int
) -> None:
    draws = [np.array([[0.3, 0.0]]), np.array([[-0.1, 0.2]])]
    noise = ScriptedNoise([as_images(draw[:, None]).view(1, 2, 1, 1) for draw in draws])
    image = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1)
    attacked = np.array([0.6, 0.4]) + length * TOWARDS
    if "ddn" in text:  # the draws must not move the boundary
        draws = [np.array([[0.3, 0.3]]), np.array([[-0.2, -0.2]])]
        noise = ScriptedNoise([torch.tensor(draw).view(1, 2, 1, 1) for draw in draws])
    found = objective_of(f"{text},lambda={lambda_}")(Linear(DIFFERENCE), image, torch.tensor([0]), noise, epoch)
    assert noise.left == []
    odds = [(attacked + draw[0]) @ [2.0, -2.0] for draw in draws]
    first = np.array([1 / (1 + exp(-odd)) for odd in odds])
    probabilities = np.stack([first, 1 - first], axis=1)
    mean = probabilities.mean(axis=0)
    agreement = 3 * np.mean([entropy(mean, row) for row in probabilities]) + 0.5 * entropy(mean) if lambda_ else 0.0
    assert found.item() == pytest.approx(-np.log(first).mean() + agreement, rel=1e-4)


def test_smoothadv_gradients_are_those_of_the_outer_loss_alone() -> None:
    """With the attacked image held fixed; the attack adds nothing to what the parameters collect."""
    classifier = Linear(DIFFERENCE)
    noise = ScriptedNoise([torch.zeros(1, 2, 1, 1)] * 3)
    image = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1)
    loss = objective_of("smoothadv:m=3,epsilon=0.1,warmup=0")(classifier, image, torch.tensor([0]), noise, 0)
    assert classifier.weight.grad is None
    loss.backward()
    attacked = np.array([0.6, 0.4]) + 0.1 * TOWARDS
    wrong = 1 / (1 + exp(attacked @ [2.0, -2.0]))
    np.testing.assert_allclose(classifier.weight.grad, np.outer([-wrong, wrong], attacked), rtol=1e-4)


def test_smoothadv_keeps_train_mode_for_the_outer_step_alone() -> None:
    classifier = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)).train()
    modes = []
    classifier[0].register_forward_hook(lambda module, *_: modes.append(module.training))
    loss_of("smoothadv:m=2,steps=3", classifier, 2)
    assert modes == [False, False, False, True]
    assert classifier[0].num_batches_tracked == 1


class AsTheyAre(torch.nn.Module):
    """Pixels are the logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)


def macer_on(logits: list[float], label: int, text: str = "macer:m=1,beta=1", epoch: int = 0):
    """Loss and gradient of one image with these logits under its single draw, sigma being 0.5."""
    image = torch.tensor(logits).view(1, -1, 1, 1).requires_grad_()
    loss = objective_of(text)(AsTheyAre(), image, torch.tensor([label]), ScriptedNoise([torch.tensor(0.0)]), epoch)
    (gradient,) = torch.autograd.grad(loss, image)
    return loss.item(), gradient.flatten().numpy()


# Softmax (0.8, 0.15, 0.05): the gap is PhiInv(0.8) - PhiInv(0.15) = 0.8416 + 1.0364 = 1.878.
EIGHTY = [log(0.80), log(0.15), log(0.05)]


@pytest.mark.parametrize(
    ("label", "options", "epoch", "expected"),
    [
        (0, "gamma=8", 0, -log(0.8) + 16 * 0.5 / 2 * (8 - 1.87805)),
        (0, "gamma=8,lambda=6", 0, -log(0.8) + 6 * 0.5 / 2 * (8 - 1.87805)),
        (0, "gamma=2", 0, -log(0.8) + 16 * 0.5 / 2 * (2 - 1.87805)),
        (0, "gamma=1.87", 0, -log(0.8)),  # wide enough
        (1, "gamma=8", 0, -log(0.15)),  # misclassified
        (0, "gamma=8,deferral=3", 2, -log(0.8)),
        (0, "gamma=8,deferral=3", 3, -log(0.8) + 16 * 0.5 / 2 * (8 - 1.87805)),
        (0, "gamma=8,deferral=2.5", 2, -log(0.8)),
    ],
)
def test_macer_by_hand(label: int, options: str, epoch: int, expected: float) -> None:
    loss, gradient = macer_on(EIGHTY, label, f"macer:m=1,beta=1,{options}", epoch)
    assert loss == pytest.approx(expected, rel=1e-4)
    if expected in (-log(0.8), -log(0.15)):  # no second term: softmax minus one-hot is all the gradient
        np.testing.assert_allclose(gradient, [0.8, 0.15, 0.05] - np.eye(3)[label], rtol=1e-4)


@pytest.mark.parametrize("logits", [[200.0, 0.0, 0.0], [100.0, 0.0, -50.0], [20.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("gamma", [0.5, 8.0, 1000.0])
def test_macer_drops_gaps_without_end_and_their_gradients(logits: list[float], label: int, gamma: float) -> None:
    loss, gradient = macer_on(logits, label, f"macer:m=1,gamma={gamma}")
    assert np.isfinite(gradient).all()
    assert loss < inf
    if max(logits) > 1:  # beta makes the largest probability 1: the cross-entropy is all that is left
        assert loss == pytest.approx(-log_softmax(logits)[label], abs=1e-5)


def test_macer_weighs_with_the_noise() -> None:
    for sigma in (0.25, 1.0):
        loss = loss_of("macer:m=4,gamma=3,beta=2", Linear(WEIGHT), 4, sigma=sigma)
        assert loss.item() == pytest.approx(macer(WEIGHT, sigma), rel=1e-5)


def test_macer_weighs_each_image_with_its_own_sigma() -> None:
    """Images whose sigmas were averaged, or were one another's, would have another loss."""
    sigmas = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
    noise = ScriptedNoise([as_images(draw) for draw in DRAWS], 0.4)
    noise.sigma_ratios = torch.tensor(sigmas / 0.4, dtype=torch.float32)
    classifier, images = Linear(WEIGHT), as_images(IMAGES)
    loss = objective_of("macer:m=4,gamma=3,beta=2")(classifier, images, torch.tensor(LABELS), noise, 0)
    expected = macer(WEIGHT, sigmas)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(macer(WEIGHT, sigmas.mean()), rel=1e-2)
    assert expected != pytest.approx(macer(WEIGHT, sigmas[::-1]), rel=1e-2)


class Recorder(torch.nn.Module):
    """Three equal logits; `inputs` are the pixels of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.inputs.append(images.detach())
        return images.flatten(1)[:, :3] * 0


@pytest.mark.parametrize("text", ["macer:m=3", "smoothadv:m=3,steps=1", "consistency:m=3,lambda=1"])
def test_every_draw_of_an_image_has_its_own_sigma(text: str) -> None:
    """The published code scales the draws x1 x1 .. x2 x2 .. by the sigmas s1 s2 .. s1 s2 .."""
    sigmas = torch.tensor([0.01, 0.1, 1.0, 10.0], dtype=torch.float64)
    images, labels = torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
    noise, recorder = TrainingNoise("gaussian", 1.0, torch.device("cpu")), Recorder()
    noise.begin(7, 4, slice(0, 4), sigmas)
    objective_of(text)(recorder, images, labels, noise, 0)
    units = torch.randn(3, 4, 1, 2, 2, generator=torch.Generator().manual_seed(7))
    draws = recorder.inputs[-1].view(3, 4, 1, 2, 2)
    torch.testing.assert_close(draws, units * sigmas.float().view(1, 4, 1, 1, 1))
    mixed_up = units.flatten(0, 1) * sigmas.float().repeat_interleave(3).view(12, 1, 1, 1)
    assert not torch.allclose(draws.flatten(0, 1), mixed_up, rtol=0.5)


@pytest.mark.parametrize("pair", [[1.0, 0.0], [1.0, 1e-7], [1.0000001, 1e-7], [0.9, 0.0], [0.9, 1e-44], [0.5, 0.5]])
def test_hinge_gradients_are_finite_at_the_ends_of_the_scale(pair: list[float]) -> None:
    leaf = torch.tensor([pair], requires_grad=True)
    radius_hinge(leaf, torch.tensor([0]), 1e6).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert leaf.grad.any() == (pair == [0.5, 0.5])


def test_macer_asks_beta_who_is_right() -> None:
    """Two draws of three lean to class 0, the third is sure of class 1: sharpened by beta, class 0 has the majority."""
    draws = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 5.0]])
    assert softmax(draws, axis=1).mean(axis=0).argmax() == 1
    for label, second_term in ((0, 16 * 0.5 / 2 * (8 - (norm.ppf(2 / 3) - norm.ppf(1 / 3)))), (1, 0.0)):
        noise = ScriptedNoise([torch.tensor(draw).view(1, 2, 1, 1) for draw in draws])
        loss = objective_of("macer:m=3")(AsTheyAre(), torch.zeros(1, 2, 1, 1), torch.tensor([label]), noise, 0)
        expected = -log(softmax(draws, axis=1).mean(axis=0)[label]) + second_term
        assert loss.item() == pytest.approx(expected, rel=1e-3)


@given(
    logits=arrays(np.float32, (4, 3), elements=st.floats(-200, 200, width=32)),
    labels=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    gamma=st.floats(0.1, 100),
)
def test_hinges_lie_between_zero_and_gamma_with_finite_gradients(
    logits: np.ndarray, labels: list[int], gamma: float
) -> None:
    leaf = torch.from_numpy(logits).requires_grad_()
    hinge = radius_hinge(leaf.softmax(dim=1), torch.tensor(labels), gamma)
    hinge.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert (hinge >= 0).all()
    assert (hinge <= gamma * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", CLASSIFIER_OBJECTIVES)
@pytest.mark.parametrize("size", [1, 7])
def test_every_objective_trains_every_parameter(name: str, size: int) -> None:
    torch.manual_seed(0)
    classifier = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(),
                                     torch.nn.Linear(36, 10))  # fmt: skip
    objective = objective_of("consistency:lambda=10" if name == "consistency" else name)
    loss = objective(classifier, torch.rand(size, 3, 5, 5), torch.arange(size), GaussianNoise(), 0)
    loss.backward()
    assert loss.shape == ()
    for parameter in classifier.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0


def test_an_attack_for_pixels_up_to_255_is_refused_with_what_to_write() -> None:
    with pytest.raises(RaysmoothError, match=r"epsilon=127: .* at most 10: .* write epsilon=127/255 \(0\.498\)$"):
        objective_of("smoothadv:epsilon=127")
    assert objective_of("smoothadv:epsilon=127/255") == objective_of(f"smoothadv:epsilon={127 / 255}")
