from dataclasses import replace

import pytest
import torch

from actors.refusal import Refusal
from actors.weights import fingerprint
from tune.recipes import RECIPES, Recipe
from tune.training import gaussian_noise, initialised, train
from tune.training_data import Examples

RECIPE = Recipe(4, 8, "sgd", 0.1, 2, 0.1, 0.0, 0.0, "none", "this test")
EXAMPLES = Examples(torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)
    )


def trained(seed: int, recipe: Recipe = RECIPE, sigma: float = 0.1) -> str:
    module = initialised(network, seed)

    def loss(images: torch.Tensor, labels: torch.Tensor, noise: object) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(module(images + noise(images)), labels)

    train(module, EXAMPLES, loss, recipe, sigma, seed, "network", show=False)
    assert not module.training
    return fingerprint(module)


def test_same_seed_same_weights() -> None:
    recipe = replace(RECIPE, augment="crop-flip")
    first = trained(0, recipe)
    torch.rand(7)  # nothing that others draw may matter
    assert trained(0, recipe) == first
    assert len({first, trained(1, recipe), trained(0, recipe, sigma=0.2), trained(0)}) == 4


def test_torchs_own_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    trained(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_image_is_seen_once_an_epoch_in_batches_of_equal_size() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    module = torch.nn.Module()
    module.weight = weight
    seen: list[torch.Tensor] = []

    def loss(images: torch.Tensor, labels: torch.Tensor, noise: object) -> torch.Tensor:
        seen.append(images)
        return (weight - images.mean()).square().sum()

    train(module, EXAMPLES, loss, replace(RECIPE, epochs=2), 0.0, 0, "module", show=False)
    assert [len(batch) for batch in seen] == [7, 7, 6] * 2
    epochs = [torch.cat(seen[:3]).flatten(1), torch.cat(seen[3:]).flatten(1)]
    assert not torch.equal(*epochs)
    for epoch in epochs:
        assert {tuple(image.tolist()) for image in epoch} == {tuple(x.tolist()) for x in EXAMPLES.images.flatten(1)}


def test_learning_rate_drops_as_the_recipe_says() -> None:
    """With a constant gradient of 1, plain SGD moves by 3 steps x (0.1 + 0.1 + 0.01 + 0.01)."""
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    train(module, EXAMPLES, lambda *_: module.weight.sum(), RECIPE, 0.0, 0, "module", show=False)
    assert module.weight.item() == pytest.approx(-3 * 0.22)


def test_a_loss_that_is_not_finite_stops() -> None:
    module = torch.nn.Linear(1, 1)
    steps = iter([1.0, 1.0, 1.0, 1.0, float("nan")])
    with pytest.raises(Refusal, match=r"the loss is nan at step 5 \(epoch 2, learning rate 0.1\): .*-rate 0.01"):
        train(module, EXAMPLES, lambda *_: next(steps) * module.weight.sum(), RECIPE, 0.0, 0, "module", show=False)
    assert module.weight.isfinite()


def test_weights_that_end_not_finite_are_refused() -> None:
    module = torch.nn.Linear(1, 1)
    recipe = replace(RECIPE, epochs=1, batch_size=20, learning_rate=1e30)
    with pytest.raises(Refusal, match=r"weights are not finite at step 1 \(epoch 1, learning rate 1e\+30\)"):
        train(module, EXAMPLES, lambda *_: 1e30 * module.weight.sum(), recipe, 0.0, 0, "module", show=False)


def test_a_log_gets_about_ten_lines_and_a_silent_training_none(capsys: pytest.CaptureFixture[str]) -> None:
    module = torch.nn.Linear(1, 1)
    for show, lines in ((True, 10), (False, 0)):
        train(module, EXAMPLES, lambda *_: module.weight.sum(), replace(RECIPE, epochs=30), 0.0, 0, "linear", show)
        captured = capsys.readouterr()
        assert len(captured.err.splitlines()) == lines
        assert not captured.out
        if show:
            assert captured.err.splitlines()[-1].startswith("linear: epoch 30/30, loss ")
            assert captured.err.rstrip().endswith(" images/s")


def test_noise_has_the_scale_asked_for() -> None:
    noise = gaussian_noise(0.25, 3, torch.device("cpu"))
    first, second = noise(torch.zeros(100, 1, 30, 30)), noise(torch.zeros(100, 1, 30, 30))
    assert not torch.equal(first, second)
    assert first.std().item() == pytest.approx(0.25, rel=0.01)
    assert abs(first.mean().item()) < 0.005


def test_the_digits_recipes_fit_the_digits() -> None:
    assert {name for name in RECIPES if name.startswith("digits-")} == {
        "digits-classifier", "digits-mse", "digits-stab+mse"
    }  # fmt: skip
