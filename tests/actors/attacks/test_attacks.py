"""Attacks on linear classifiers, with steps computed by hand, and properties of attacks on any network."""

from math import sqrt

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scripted import Linear

from raysmooth.actors.attacks.attacks import ATTACKS
from raysmooth.actors.attacks.soft_smoothing import logits_of_draws, smoothed_cross_entropy

# Logits (x0 - x1, x1 - x0): class 0 if the first pixel is larger. From an image of class 0, every loss increases along
# TOWARDS, and the prediction changes at distance (x0 - x1) / sqrt(2).
DIFFERENCE = np.array([[1.0, -1.0], [-1.0, 1.0]])
TOWARDS = np.array([-1.0, 1.0]) / sqrt(2)


def pair(first: float, second: float) -> torch.Tensor:
    return torch.tensor([first, second]).view(1, 2, 1, 1)


def attack_pair(name: str, image: torch.Tensor, epsilon: float, steps: int, label: int = 0, m: int = 1) -> np.ndarray:
    noises = torch.arange(float(m)).view(m, 1, 1, 1, 1).expand(m, *image.shape)  # the classifier only uses differences
    attacked = ATTACKS[name](Linear(DIFFERENCE), image, torch.tensor([label]), noises, epsilon, steps)
    return attacked.flatten().numpy()


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize(
    ("epsilon", "steps", "length"),
    # Steps have length 2 epsilon / steps: a single one leaves the ball and is projected back.
    [(0.1, 1, 0.1), (0.1, 2, 0.1), (0.1, 10, 0.1), (0.3, 10, 0.3)],
)
def test_pgd_goes_straight_to_the_edge_of_the_ball(epsilon: float, steps: int, length: float, m: int) -> None:
    attacked = attack_pair("pgd", pair(0.6, 0.4), epsilon, steps, m=m)
    np.testing.assert_allclose(attacked, [0.6, 0.4] + length * TOWARDS, rtol=1e-5)


def test_pgd_step_length() -> None:
    """Steps of 0.08 from 0.5 pass the maximum of the loss at 0.55, return, and pass it again."""

    class Tent(torch.nn.Module):
        """Log-odds 4 |x - 0.55| for class 0 against class 1: class 0's loss is largest at 0.55."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(4 * (images.flatten(1) - 0.55).abs(), (0, 1))

    image, noises = torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, 1, 1, 1, 1)
    labels = torch.tensor([0])
    for steps, expected in ((5, 0.58), (4, 0.5)):
        attacked = ATTACKS["pgd"](Tent(), image, labels, noises, 0.04 * steps, steps)
        assert attacked.item() == pytest.approx(expected, abs=1e-6)


def test_pgd_stops_at_the_bounds_of_pixels() -> None:
    np.testing.assert_allclose(attack_pair("pgd", pair(0.05, 0.4), 0.2, 10)[0], 0.0, atol=1e-7)
    np.testing.assert_allclose(attack_pair("pgd", pair(0.0, 1.0), 0.2, 10), [0.0, 1.0], atol=1e-7)


@pytest.mark.parametrize(
    ("epsilon", "steps", "length"),
    [
        # The prediction changes at 0.1414. The first step has length 1.05 epsilon; the next step evaluates it.
        (0.2, 1, 0.0),
        (0.2, 2, 0.2),  # 0.21 is found, and projected onto the ball
        (0.2, 4, 0.21 * 0.95**2),
        (0.2, 9, 0.21 * 0.95**7),  # 0.1466
        (0.2, 10, 0.21 * 0.95**7),  # 0.21 * 0.95^8 = 0.1393 does not fool
        (0.1, 8, 0.0),  # 0.1 * 1.05^7 = 0.1407 does not fool
        (0.1, 9, 0.1),  # 0.1 * 1.05^8 = 0.1477 does, and is projected
    ],
)
@pytest.mark.parametrize("m", [1, 3])
def test_ddn_closes_in_on_the_boundary(epsilon: float, steps: int, length: float, m: int) -> None:
    attacked = attack_pair("ddn", pair(0.6, 0.4), epsilon, steps, m=m)
    np.testing.assert_allclose(attacked, [0.6, 0.4] + length * TOWARDS, rtol=1e-5)


# An ellipse is class 0: log-odds 5 (1 - s0 (x0 - a0)^2 - s1 (x1 - a1)^2).
CENTRE, STRETCH = np.array([0.3, 0.6]), np.array([40.0, 9.0])


class Ellipse(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        away = images.flatten(1) - torch.tensor(CENTRE)
        return torch.nn.functional.pad(5 * (1 - (torch.tensor(STRETCH) * away**2).sum(dim=1, keepdim=True)), (0, 1))


@pytest.mark.parametrize("start", [[0.33, 0.68], [0.28, 0.9], [0.36, 0.55]])
@pytest.mark.parametrize("steps", [2, 3, 6, 12])
def test_ddn_on_a_curved_boundary(start: list[float], steps: int) -> None:
    """The steps of the paper's algorithm: the way out of an ellipse bends towards the steeper axis."""
    epsilon, norm, best = 0.3, 0.3, np.zeros(2)
    shift, nearest = np.zeros(2), np.linalg.norm(np.maximum(start, 1 - np.array(start)))
    farthest = nearest
    for step in range(steps):
        away = start + shift - CENTRE
        fooled = (STRETCH * away**2).sum() > 1
        if fooled and np.linalg.norm(shift) < nearest:
            best, nearest = shift, np.linalg.norm(shift)
        outward = STRETCH * away / np.linalg.norm(STRETCH * away)
        length = 0.01 + (1 - 0.01) * 0.5 * (1 + np.cos(np.pi * step / steps))
        norm = min(norm * (0.95 if fooled else 1.05), farthest)
        moved = shift + length * outward
        shift = np.clip(start + norm * moved / np.linalg.norm(moved), 0, 1) - start
    best = best * min(1, epsilon / max(np.linalg.norm(best), 1e-12))
    image = torch.tensor(start, dtype=torch.float64).view(1, 2, 1, 1)
    attacked = ATTACKS["ddn"](Ellipse(), image, torch.tensor([0]), torch.zeros(1, 1, 2, 1, 1), epsilon, steps)
    assert best.any()
    np.testing.assert_allclose(attacked.flatten(), start + best, atol=1e-6)


def test_ddn_does_not_change_misclassified_images() -> None:
    np.testing.assert_array_equal(attack_pair("ddn", pair(0.6, 0.4), 0.5, 10, label=1), np.float32([0.6, 0.4]))


def test_ddn_uses_the_majority_of_draws() -> None:
    """Two draws of three say class 1 from the start, though the mean softmax says class 0: nothing to do."""
    noises = torch.tensor([[-0.15, 0.15], [-0.15, 0.15], [3.0, -3.0]]).view(3, 1, 2, 1, 1)
    attacked = ATTACKS["ddn"](Linear(DIFFERENCE), pair(0.6, 0.4), torch.tensor([0]), noises, 0.3, 5)
    logits = logits_of_draws(Linear(DIFFERENCE), pair(0.6, 0.4), noises)
    assert logits.softmax(dim=2).mean(dim=0).argmax(dim=1).tolist() == [0]
    assert torch.equal(attacked, pair(0.6, 0.4))


def images_and_draws(seed: int, m: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = (1.4 * torch.rand(6, 1, 3, 3, generator=generator) - 0.2).clamp(0, 1)  # some pixels at the bounds
    return images, torch.randint(2, (6,), generator=generator), 0.3 * torch.randn(m, *images.shape, generator=generator)


@given(
    name=st.sampled_from(sorted(ATTACKS)),
    seed=st.integers(0, 10_000),
    m=st.integers(1, 3),
    epsilon=st.floats(1e-3, 4.0),
    steps=st.integers(1, 8),
    hidden=st.booleans(),
)
@examples(60)
def test_attacks_stay_in_ball_and_box(name: str, seed: int, m: int, epsilon: float, steps: int, hidden: bool) -> None:
    images, labels, noises = images_and_draws(seed, m)
    given_images = images.clone()
    torch.manual_seed(seed)
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2))
    classifier = torch.nn.Sequential(linear[0], torch.nn.Linear(9, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    classifier = classifier if hidden else linear
    attacked = ATTACKS[name](classifier, images, labels, noises, epsilon, steps)
    assert torch.equal(images, given_images)
    assert not attacked.requires_grad
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert (attacked - images).double().flatten(1).norm(dim=1).max() <= epsilon * (1 + 1e-5) + 1e-6
    if not hidden:  # with two classes and a linear classifier, no step can lower the loss
        before, after = (
            smoothed_cross_entropy(logits_of_draws(classifier, x, noises), labels) for x in (images, attacked)
        )
        assert (after >= before - 1e-5).all()


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Tanh(), torch.nn.Dropout(0.5),
        torch.nn.Flatten(), torch.nn.Linear(4, 2),
    )  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_increase_their_loss(name: str) -> None:
    classifier = network().eval()
    images, _, noises = images_and_draws(1, 4)
    labels = logits_of_draws(classifier, images, noises).argmax(dim=2).mode(dim=0).values  # correct before the attack
    attacked = ATTACKS[name](classifier, images, labels, noises, 1.0, 10)
    before, after = (smoothed_cross_entropy(logits_of_draws(classifier, x, noises), labels) for x in (images, attacked))
    assert after.mean() > before.mean() + 0.05
    assert (after >= before - 1e-6).all()


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("training", [True, False])
def test_attacks_do_not_change_the_classifier(name: str, training: bool) -> None:
    classifier = network().train(training)
    classifier[3].train(not training)  # a module in another mode
    modes = [module.training for module in classifier.modules()]
    state = {key: value.clone() for key, value in classifier.state_dict().items()}
    seen = []
    classifier[1].register_forward_hook(lambda module, *_: seen.append(module.training))
    random_state = torch.get_rng_state()
    images, labels, noises = images_and_draws(2, 2)
    ATTACKS[name](classifier, images, labels, noises, 0.5, 3)
    assert seen == [False] * 3
    assert [module.training for module in classifier.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in classifier.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in classifier.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_modes_are_restored_after_an_error_too() -> None:
    classifier = network().train()
    with pytest.raises(RuntimeError):
        ATTACKS["pgd"](classifier, torch.zeros(1, 3, 3, 3), torch.tensor([0]), torch.zeros(1, 1, 3, 3, 3), 0.5, 3)
    assert all(module.training for module in classifier.modules())


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_work_with_gradients_disabled_and_with_zero_gradients(name: str) -> None:
    images, labels, noises = images_and_draws(3, 2)
    with torch.no_grad():
        assert not torch.equal(ATTACKS[name](network(), images, torch.zeros_like(labels), noises, 1.0, 8), images)
    flat = Linear(np.zeros((2, 9)))
    assert torch.equal(ATTACKS[name](flat, images, torch.zeros_like(labels), noises, 0.5, 3), images)
