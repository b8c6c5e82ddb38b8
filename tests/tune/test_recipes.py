import pytest
import torch

from actors.refusal import Refusal
from tune.augment import AUGMENTATIONS, Augmentation
from tune.job import choose_recipe
from tune.recipes import OPTIMIZERS, RECIPES, Recipe, default_recipe
from tune.settings import TrainDenoiserSettings


def settings(**values: object) -> TrainDenoiserSettings:
    common = {"dataset": "digits", "denoiser": "dncnn", "objective": "mse", "sigma": 0.5, "out": "w.safetensors"}
    return TrainDenoiserSettings.model_validate(common | values)


def test_the_papers_values() -> None:
    """Salman et al. 2020, table 4 and appendix A."""
    mse, stab = RECIPES["paper-mse"], RECIPES["paper-stab+mse"]
    assert (mse.epochs, mse.batch_size, mse.optimizer, mse.learning_rate) == (90, 256, "adam", 1e-3)
    assert (mse.step_size, mse.gamma, mse.weight_decay) == (30, 0.1, 1e-4)
    assert (stab.epochs, stab.optimizer, stab.learning_rate) == (20, "adam", 1e-4)
    classifier = RECIPES["paper-classifier"]
    assert (classifier.epochs, classifier.optimizer, classifier.learning_rate) == (300, "sgd", 0.1)
    assert (classifier.step_size, classifier.gamma, classifier.momentum) == (100, 0.1, 0.9)


def test_every_value_can_be_overridden() -> None:
    own = {"epochs": 1, "batch_size": 2, "optimizer": "sgd", "learning_rate": 3.0, "step_size": 4, "gamma": 0.5,
           "weight_decay": 0.0, "momentum": 0.0, "augment": "crop-flip"}  # fmt: skip
    assert choose_recipe(settings(**own), "mse").recipe == Recipe(**own, source=RECIPES["digits-mse"].source)
    assert choose_recipe(settings(), "mse").recipe == RECIPES["digits-mse"]
    assert choose_recipe(settings(recipe="paper-mse"), "mse").name == "paper-mse"


def test_default_is_the_one_made_for_the_data_set() -> None:
    assert default_recipe("digits", "stab+mse") == "digits-stab+mse"
    assert default_recipe("cifar10", "stab+mse") == "paper-stab+mse"
    assert default_recipe("mnist", "classifier") == "mnist-classifier"
    for dataset, kind in (("cifar10", "stab"), ("mnist", "mse"), ("folder", "classifier")):
        with pytest.raises(Refusal, match=f"no recipe is made for {kind} on {dataset}: write --recipe with one of "):
            default_recipe(dataset, kind)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"recipe": "paper-mes"}, r"unknown recipe 'paper-mes': did you mean 'paper-mse'\?"),
        ({"optimizer": "adm"}, r"unknown optimizer 'adm': did you mean 'adam'\?"),
        ({"augment": "shft"}, "unknown augmentation 'shft'"),
    ],
)
def test_unknown_names_are_refused(own: dict[str, str], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        choose_recipe(settings(**own), "mse")


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(Refusal, match="write --optimizer sgd"):
        Recipe(1, 1, "nesterov", 0.3, 1, 0.1, 0.0, 0.0, "none", "")


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "step_size", "gamma"])
def test_a_recipe_that_cannot_step_is_refused(name: str) -> None:
    values = vars(RECIPES["paper-mse"]) | {name: 0}
    with pytest.raises(Refusal, match=f"{name} of a recipe is 0"):
        Recipe(**values)


def test_optimizers_take_what_the_recipe_says() -> None:
    recipe = Recipe(1, 1, "sgd", 0.3, 1, 0.1, 0.02, 0.7, "none", "")
    for name, kind in (("sgd", torch.optim.SGD), ("nesterov", torch.optim.SGD), ("adam", torch.optim.Adam)):
        optimizer = OPTIMIZERS[name]([torch.nn.Parameter(torch.zeros(1))], recipe)
        assert type(optimizer) is kind
        assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.3, 0.02)
        assert optimizer.defaults.get("momentum") == (0.7 if kind is torch.optim.SGD else None)
        assert bool(optimizer.defaults.get("nesterov")) == (name == "nesterov")


def test_augmentation_gives_crops_of_the_padded_image_and_mirrors_half() -> None:
    image = torch.arange(1.0, 13.0).view(1, 2, 2, 3)  # two channels, 2 x 3 pixels
    batch = image.expand(400, -1, -1, -1)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))[0]
    crops = [padded[:, row : row + 2, column : column + 3] for row in range(3) for column in range(3)]
    possible = {tuple(crop.flatten().tolist()) for crop in crops}
    mirrored = {tuple(crop.flip(2).flatten().tolist()) for crop in crops}

    found = [tuple(x.flatten().tolist()) for x in AUGMENTATIONS["shift"](batch, torch.Generator().manual_seed(0))]
    assert set(found) == possible
    flipping = Augmentation(1, True, "")
    found = [tuple(x.flatten().tolist()) for x in flipping(batch, torch.Generator().manual_seed(0))]
    assert set(found) == possible | mirrored
    assert 150 < sum(x in mirrored - possible for x in found) < 250


def test_no_augmentation_changes_nothing() -> None:
    batch = torch.rand(3, 1, 4, 4)
    assert torch.equal(AUGMENTATIONS["none"](batch, torch.Generator()), batch)
