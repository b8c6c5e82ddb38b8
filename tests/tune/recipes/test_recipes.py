"""Recipes: the papers' values, typed in from the papers, and how they are stretched, chosen and overridden."""

from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import Any

import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import DATASETS
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES
from raysmooth.tune.objectives.data_dependent import read_data_dependent
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.objectives.objective import parse_objective
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES
from raysmooth.tune.recipes.general import ImageSet, general_recipe, general_recipes
from raysmooth.tune.recipes.phases import Phase
from raysmooth.tune.recipes.recipe import Recipe
from raysmooth.tune.recipes.recipe_choice import choose_recipe, images_of, objective_text
from raysmooth.tune.recipes.recipes import PUBLISHED_OPTIONS, RECIPES, made_for, published_options
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings

torch.set_num_threads(1)


def training(**values: Any) -> TrainDenoiserSettings:
    common = {"dataset": "digits", "denoiser": "dncnn", "objective": "mse", "sigma": 0.5, "out": "w.safetensors"}
    return TrainDenoiserSettings.model_validate(common | values)


# --- Salman et al. 2020, appendix A ------------------------------------------------------------------------------

# Table 4: the recipes of a row, its epochs, and their optimizers and learning rates. DnCNN, DnCNN-wide and MemNet have
# equal rows on CIFAR-10, ResNet-18, 34 and 50 on ImageNet.
TABLE_4 = [
    ("cifar10-mse", 90, "adam", 1e-3),
    ("cifar10-stab+mse-adam-1e-4", 20, "adam", 1e-4),
    ("cifar10-stab+mse-adam-1e-5", 20, "adam", 1e-5),
    ("cifar10-stab+mse-sgd-1e-4", 20, "sgd", 1e-4),
    ("cifar10-stab+mse-sgd-1e-5", 20, "sgd", 1e-5),
    ("imagenet-mse", 5, "adam", 1e-4),
    ("imagenet-stab+mse", 20, "adam", 1e-5),
]

# The list below it: where SGD starts, and after how many epochs each its rate drops by a factor of 10.
SGD_SETTINGS = [(1e-4, 100), (1e-3, 100), (1e-4, 200), (1e-3, 200), (1e-2, 200), (1e-3, 400)]


def common_to_denoisers(recipe: Recipe) -> tuple[int, float, float, float | None]:
    return recipe.batch_size, recipe.weight_decay, recipe.momentum, recipe.clip_norm


@pytest.mark.parametrize(("name", "epochs", "optimizer", "rate"), TABLE_4)
def test_table_4(name: str, epochs: int, optimizer: str, rate: float) -> None:
    recipe = RECIPES[f"salman2020-{name}"]
    (phase,) = recipe.phases
    assert (phase.epochs, phase.optimizer, phase.learning_rate) == (epochs, optimizer, rate)
    assert recipe.epochs == epochs
    assert common_to_denoisers(recipe) == (256, 1e-4, 0.9, None)
    assert recipe.augment == ("crop-flip" if name.startswith("cifar10") else "resized-crop-flip")
    # The reference code's drop by 10 every 30 epochs shows in 90 epochs of CIFAR-10 alone.
    drops = [rate, rate / 10, rate / 100] if name == "cifar10-mse" else [rate]
    expected = [value for value in drops for _ in range(epochs // len(drops))]
    assert [phase.rate(epoch) for epoch in range(epochs)] == pytest.approx(expected)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
def test_the_six_settings_of_adam_then_sgd(number: int) -> None:
    start, every = SGD_SETTINGS[number - 1]
    recipe = RECIPES[f"salman2020-cifar10-stab-{number}"]
    assert recipe.epochs == 600
    assert [(phase.epochs, phase.optimizer) for phase in recipe.phases] == [(50, "adam"), (550, "sgd")]
    rates = [recipe.phases[part].rate(within) for part, within in map(recipe.phase_of, range(600))]
    assert rates == pytest.approx([1e-3] * 50 + [start / 10 ** (epoch // every) for epoch in range(550)])
    assert common_to_denoisers(recipe) == (256, 1e-4, 0.9, None)
    assert recipe.augment == "crop-flip"


def test_the_cifar_10_classifiers() -> None:
    recipe = RECIPES["salman2020-cifar10-classifier"]
    (phase,) = recipe.phases
    assert (phase.epochs, phase.optimizer, recipe.batch_size, recipe.weight_decay) == (300, "sgd", 256, 5e-4)
    assert (recipe.momentum, recipe.augment, recipe.clip_norm) == (0.9, "crop-flip", None)
    assert [phase.rate(epoch) for epoch in range(300)] == pytest.approx([0.1] * 100 + [0.01] * 100 + [0.001] * 100)


def test_every_published_recipe_is_looked_at_here() -> None:
    names = {name for name in RECIPES if name.startswith("salman2020-")}
    table = {f"salman2020-{name}" for name, *_ in TABLE_4}
    six = {f"salman2020-cifar10-stab-{number}" for number in range(1, 7)}
    assert names == table | six | {"salman2020-cifar10-classifier"}
    assert {name for name in RECIPES if name.startswith("jeong2020-")} == {f"jeong2020-{row[0]}" for row in SUPPLEMENT}
    assert {name for name in RECIPES if name.startswith("digits-")} == {
        "digits-classifier", "digits-mse", "digits-stab+mse"
    }  # fmt: skip
    assert [name for name in RECIPES if name.startswith("sheikholeslami2022-")] == ["sheikholeslami2022-cifar10"]
    assert [name for name in RECIPES if name.startswith("alfarra2022-")] == ["alfarra2022-cifar10"]
    known = ("salman2020-", "jeong2020-", "sheikholeslami2022-", "alfarra2022-", "digits-", "general-")
    assert all(name.startswith(known) for name in RECIPES)
    assert all(recipe.source for recipe in RECIPES.values())


def test_the_recipe_of_rejectors() -> None:
    """Section 6.3: 20 epochs, 5 of Adam at 1e-4, then SGD from 1e-3, decayed by 10 every 5 epochs."""
    recipe = RECIPES["sheikholeslami2022-cifar10"]
    assert [(phase.epochs, phase.optimizer) for phase in recipe.phases] == [(5, "adam"), (15, "sgd")]
    rates = [recipe.phases[part].rate(within) for part, within in map(recipe.phase_of, range(20))]
    assert rates == pytest.approx([1e-4] * 5 + [1e-3] * 5 + [1e-4] * 5 + [1e-5] * 5)
    assert common_to_denoisers(recipe) == (256, 1e-4, 0.9, None)
    assert recipe.augment == "crop-flip"


def test_the_recipe_of_data_dependent_training() -> None:
    """200 epochs of SGD from 0.01, /10 every 30; the first quarter of them, 50, with one sigma."""
    recipe = RECIPES["alfarra2022-cifar10"]
    assert [(phase.epochs, phase.optimizer) for phase in recipe.phases] == [(200, "sgd")]
    rates = [recipe.phases[0].rate(epoch) for epoch in (0, 29, 30, 59, 60, 199)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-8])
    assert (recipe.batch_size, recipe.weight_decay, recipe.momentum, recipe.augment) == (128, 5e-4, 0.9, "crop-flip")
    assert read_data_dependent("steps=1", "gaussian", 0.12, recipe.epochs).epochs_from == 50
    assert "not in the paper" in recipe.source


# --- Jeong and Shin 2020, supplement -----------------------------------------------------------------------------

SUPPLEMENT = [
    # A.1: epochs, batch, initial rate, decayed by 0.1 at; A.2: augmentation
    ("mnist", 90, 256, 0.01, (30, 60), "none"),
    ("cifar10", 150, 256, 0.1, (50, 100), "crop-flip"),
    ("imagenet", 90, 200, 0.1, (30, 60), "resized-crop-flip"),
]


@pytest.mark.parametrize(("dataset", "epochs", "batch", "rate", "drops", "augment"), SUPPLEMENT)
def test_the_supplements_recipes(
    dataset: str, epochs: int, batch: int, rate: float, drops: tuple[int, int], augment: str
) -> None:
    recipe = RECIPES[f"jeong2020-{dataset}"]
    (phase,) = recipe.phases
    assert (phase.epochs, phase.optimizer, recipe.batch_size) == (epochs, "nesterov", batch)
    assert (recipe.momentum, recipe.weight_decay, recipe.augment, recipe.clip_norm) == (0.9, 1e-4, augment, None)
    expected = [rate * 0.1 ** sum(epoch >= drop for drop in drops) for epoch in range(epochs)]
    assert [phase.rate(epoch) for epoch in range(epochs)] == pytest.approx(expected)


def pgd(steps: int, epsilon: float, m: int) -> dict[str, object]:
    """A.1: the radius grows during the first 10 epochs. Table 1 quotes it in units of 1/256."""
    return {"attack": "pgd", "steps": steps, "epsilon": epsilon, "m": m, "warmup": 10}


# Section B: m 16, lambda 16, gamma 8, beta 16, and lambda 6 at sigma 1; deferred for 30 of 90 epochs by the code.
MACER = {"m": 16, "lambda": 16, "gamma": 8, "beta": 16, "deferral": 30}
SIGMAS = (0.12, 0.25, 0.5, 1.0)
PUBLISHED: dict[tuple[str, str], dict[float, dict[str, object]]] = {
    # Tables 2 and 7: lambda of the models that they show, the best one's of stability training.
    ("jeong2020-mnist", "consistency"): {0.25: {"lambda": 10}, 0.5: {"lambda": 5}, 1.0: {"lambda": 5}},
    ("jeong2020-mnist", "stability"): {sigma: {"lambda": 2} for sigma in SIGMAS},
    ("jeong2020-mnist", "smoothadv"): {sigma: pgd(10, 1.0, 4) for sigma in SIGMAS},
    ("jeong2020-mnist", "macer"): {0.12: MACER, 0.25: MACER, 0.5: MACER, 1.0: MACER | {"lambda": 6}},
    ("jeong2020-cifar10", "consistency"): {0.25: {"lambda": 20}, 0.5: {"lambda": 10}, 1.0: {"lambda": 10}},
    ("jeong2020-cifar10", "stability"): {0.25: {"lambda": 2}, 0.5: {"lambda": 2}, 1.0: {"lambda": 1}},
    # Table 1.
    ("jeong2020-cifar10", "smoothadv"): {
        0.25: pgd(10, 255 / 256, 4), 0.5: pgd(10, 512 / 256, 2), 1.0: pgd(10, 512 / 256, 2)
    },
    ("jeong2020-imagenet", "smoothadv"): {0.5: pgd(1, 255 / 256, 1), 1.0: pgd(1, 512 / 256, 1)},
}  # fmt: skip


def test_published_options() -> None:
    for recipe in RECIPES:
        for objective in (*CLASSIFIER_OBJECTIVES, *DENOISER_OBJECTIVES, *REJECTOR_OBJECTIVES):
            expected = PUBLISHED.get((recipe, objective), {})
            for sigma in SIGMAS:
                options = published_options(recipe, objective, sigma, RECIPES[recipe].epochs)
                assert options == expected.get(sigma, {}), (recipe, objective, sigma)


def test_published_options_are_options_of_their_objectives() -> None:
    for (recipe, objective), rows in PUBLISHED_OPTIONS.items():
        for sigma in rows:
            options = published_options(recipe, objective, sigma, 7)
            text = f"{objective}:{','.join(f'{name}={value}' for name, value in options.items())}"
            assert parse_objective(text, CLASSIFIER_OBJECTIVES)[0] == objective


@pytest.mark.parametrize(
    ("recipe", "objective", "epochs", "name", "value"),
    [
        ("jeong2020-mnist", "smoothadv", 45, "warmup", 5.0),
        ("jeong2020-mnist", "smoothadv", 900, "warmup", 100.0),
        ("jeong2020-cifar10", "smoothadv", 15, "warmup", 1.0),
        ("jeong2020-mnist", "macer", 9, "deferral", 3.0),
        ("jeong2020-mnist", "macer", 10, "deferral", 3.3333),
    ],
)
def test_what_counts_epochs_is_scaled(recipe: str, objective: str, epochs: int, name: str, value: float) -> None:
    scaled = published_options(recipe, objective, 0.5, epochs)
    assert scaled[name] == pytest.approx(value)
    own = published_options(recipe, objective, 0.5, RECIPES[recipe].epochs)
    assert {**scaled, name: own[name]} == own


def test_a_job_trains_with_what_was_published() -> None:
    common = {"dataset": "mnist", "classifier": "lenet", "out": "w.safetensors"}
    asked = TrainClassifierSettings(objective="macer:m=4", sigma=1.0, epochs=9, **common)
    named = choose_recipe(asked, "macer")
    assert named.name == "jeong2020-mnist"
    text = objective_text(asked.objective, CLASSIFIER_OBJECTIVES, named, asked.sigma)
    assert text == "macer:beta=16,deferral=3.0,gamma=8,lambda=6,m=4"


# --- recipes in general ------------------------------------------------------------------------------------------


def test_phase_of() -> None:
    recipe = replace(RECIPES["digits-mse"], phases=(Phase(2, "adam", 1), Phase(1, "sgd", 1), Phase(3, "sgd", 2)))
    assert recipe.epochs == 6
    assert [recipe.phase_of(epoch) for epoch in range(6)] == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]
    with pytest.raises(IndexError):
        recipe.phase_of(6)


phases = st.lists(
    st.builds(
        Phase,
        epochs=st.integers(1, 120) | st.just(1),
        optimizer=st.just("sgd"),
        learning_rate=st.just(1.0),
        step_size=st.none() | st.integers(1, 100),
        gamma=st.just(0.5),
    ),
    min_size=1,
    max_size=5,
)


def of(*parts: Phase) -> Recipe:
    return Recipe(tuple(parts), 8, 0.0, 0.9, "none", "this test")


@given(phases, st.integers(1, 700))
@examples(300)
def test_a_stretched_recipe_has_the_epochs_asked_for_and_all_its_phases(parts: list[Phase], epochs: int) -> None:
    recipe = of(*parts)
    stretched = recipe.stretched(epochs)
    assert stretched.epochs == epochs
    assert len(stretched.phases) == min(len(parts), epochs)
    assert all(phase.epochs >= 1 for phase in stretched.phases)
    # A switch keeps its place to half an epoch, unless phases of an epoch each need the room.
    ends = [sum(phase.epochs for phase in recipe.phases[: number + 1]) for number in range(len(parts))]
    lengths = [part.epochs * epochs / recipe.epochs for part in parts]
    if min(lengths) >= 1:
        for number, end in enumerate(ends):
            moved = sum(phase.epochs for phase in stretched.phases[: number + 1])
            assert abs(Fraction(end * epochs, recipe.epochs) - moved) <= Fraction(1, 2)
    unchanged = [replace(phase, epochs=1, step_size=None) for phase in parts][: len(stretched.phases)]
    assert [replace(phase, epochs=1, step_size=None) for phase in stretched.phases] == unchanged


@given(phases, st.integers(1, 700))
@examples(300)
def test_drops_keep_their_places_in_proportion(parts: list[Phase], epochs: int) -> None:
    """Epoch e of a stretched phase has the rate of the moment e / factor, in exact arithmetic."""
    recipe = of(*parts)
    stretched = recipe.stretched(epochs)
    for before, after in zip(parts, stretched.phases, strict=False):
        for epoch in range(after.epochs):
            moment = Fraction(epoch * recipe.epochs, epochs)
            drops = 0 if before.step_size is None else floor(moment / Fraction(before.step_size))
            assert after.rate(epoch) == pytest.approx(0.5**drops)


@given(phases)
@settings(deadline=None)
def test_a_recipe_in_its_own_epochs_is_itself(parts: list[Phase]) -> None:
    assert of(*parts).stretched(of(*parts).epochs) == of(*parts)


def test_stretching_worked_out_by_hand() -> None:
    assert all(recipe.stretched(recipe.epochs) == recipe for recipe in RECIPES.values())
    third = RECIPES["jeong2020-mnist"].stretched(9)
    assert [third.phases[0].rate(epoch) for epoch in range(9)] == pytest.approx([0.01] * 3 + [1e-3] * 3 + [1e-4] * 3)
    tenth = RECIPES["salman2020-cifar10-stab-1"].stretched(60)
    assert tenth.phases == (Phase(5, "adam", 1e-3), Phase(55, "sgd", 1e-4, 10))
    assert RECIPES["salman2020-cifar10-stab-1"].stretched(6).phases[0].epochs == 1
    assert RECIPES["salman2020-cifar10-stab-1"].stretched(1).phases == (Phase(1, "adam", 1e-3),)
    # A short phase in the middle: its ends, at 10 x 0.4 and 11 x 0.4, round to the same epoch.
    middle = of(Phase(10, "adam", 1.0), Phase(1, "sgd", 1.0), Phase(89, "sgd", 2.0)).stretched(40)
    assert [phase.epochs for phase in middle.phases] == [4, 1, 35]


@pytest.mark.parametrize("name", ["batch_size", "clip_norm"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_recipe_that_cannot_step_is_refused(name: str, value: int) -> None:
    with pytest.raises(RaysmoothError, match=f"^{name} of a recipe is {value}: write a number above 0$"):
        replace(RECIPES["digits-mse"], **{name: value})


def test_a_recipe_needs_a_phase_and_nesterov_momentum() -> None:
    with pytest.raises(RaysmoothError, match="a recipe has no phases: write one such as adam:epochs="):
        of()
    for parts in ([Phase(1, "nesterov", 0.3)], [Phase(1, "adam", 0.3), Phase(1, "nesterov", 0.3)]):
        with pytest.raises(RaysmoothError, match=r"nesterov with momentum 0\.0 is plain SGD: write --optimizer sgd"):
            replace(of(Phase(1, "sgd", 0.3)), phases=tuple(parts), momentum=0.0)


# --- which one, with what of one's own ---------------------------------------------------------------------------

OWN_PHASE = {"optimizer": "sgd", "learning_rate": 3.0, "step_size": 4.0, "gamma": 0.5, "schedule": "step"}
OWN = {"batch_size": 2, "weight_decay": 0.0, "momentum": 0.0, "clip_norm": 7.0, "augment": "crop-flip"}


def test_every_value_can_be_overridden() -> None:
    own = Recipe((Phase(epochs=1, **OWN_PHASE),), **OWN, source=RECIPES["digits-mse"].source)
    assert choose_recipe(training(epochs=1, **OWN_PHASE, **OWN), "mse").recipe == own
    named = choose_recipe(training(), "mse")
    assert (named.name, named.recipe) == ("digits-mse", RECIPES["digits-mse"])
    before = RECIPES["salman2020-cifar10-classifier"]
    others = OWN_PHASE | {"optimizer": "adam", "schedule": "cosine"} | OWN | {"augment": "none"}
    for name, value in others.items():  # each alone changes itself alone
        recipe = choose_recipe(training(recipe="salman2020-cifar10-classifier", **{name: value}), "mse").recipe
        if name in OWN:
            assert recipe == replace(before, **{name: value}) != before
        else:
            assert recipe == replace(before, phases=(replace(before.phases[0], **{name: value}),)) != before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"momentum": 0.5}, "--momentum is for SGD, this recipe uses adam: leave it out"),
        (
            {"schedule": "cosine", "gamma": 0.5},
            "--step-size and --gamma are for the step schedule, this recipe uses cos",
        ),
        (
            {"schedule": "constant", "step_size": 2},
            "--step-size and --gamma are for the step schedule, this recipe uses const",
        ),
        (
            {"recipe": "salman2020-imagenet-mse", "gamma": 0.5},
            "--gamma is the factor of a drop, and this recipe has no drops: write --step-size too",
        ),
    ],
)
def test_a_value_that_the_recipe_does_not_use_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(RaysmoothError, match=f"^{message}"):
        choose_recipe(training(**values), "mse")


def test_a_warm_up_that_is_not_written_follows_the_epochs() -> None:
    common = {"dataset": "digits", "classifier": "digits_cnn", "sigma": 0.5, "out": "w.safetensors"}
    for epochs, written, text in (
        (6, "smoothadv", "smoothadv:warmup=1.0"),
        (None, "smoothadv", "smoothadv"),
        (6, "smoothadv:warmup=3", "smoothadv:warmup=3"),
    ):
        asked = TrainClassifierSettings(objective=written, epochs=epochs, **common)
        named = choose_recipe(asked, "smoothadv")
        found = objective_text(asked.objective, CLASSIFIER_OBJECTIVES, named, asked.sigma)
        assert found == text


def test_another_recipe_can_be_named() -> None:
    named = choose_recipe(training(recipe="salman2020-cifar10-stab-4"), "mse")
    assert (named.name, named.recipe) == ("salman2020-cifar10-stab-4", RECIPES["salman2020-cifar10-stab-4"])


def test_values_that_only_fit_together_are_taken_together() -> None:
    """Nesterov without momentum would be refused, but the optimizer is SGD."""
    recipe = choose_recipe(training(recipe="jeong2020-mnist", optimizer="sgd", momentum=0.0), "mse").recipe
    assert (recipe.momentum, recipe.phases) == (0.0, (Phase(90, "sgd", 0.01, 30),))
    with pytest.raises(RaysmoothError, match="write --optimizer sgd"):
        choose_recipe(training(recipe="jeong2020-mnist", momentum=0.0), "mse")


def test_epochs_stretch_the_recipe_and_leave_what_is_written() -> None:
    assert choose_recipe(training(epochs=30), "mse").recipe == RECIPES["digits-mse"].stretched(30)
    (phase,) = choose_recipe(training(epochs=30, step_size=7.0), "mse").recipe.phases
    assert phase == Phase(30, "adam", 1e-2, 7)


def test_phases_can_be_written() -> None:
    written = "adam:epochs=10,learning_rate=1e-3; sgd:epochs=30,learning_rate=1e-2,step_size=8"
    parts = (Phase(10, "adam", 1e-3), Phase(30, "sgd", 1e-2, 8))
    assert choose_recipe(training(phases=written), "mse").recipe == replace(RECIPES["digits-mse"], phases=parts)
    halved = (Phase(5, "adam", 1e-3), Phase(15, "sgd", 1e-2, 4))
    assert choose_recipe(training(phases=written, epochs=20), "mse").recipe.phases == halved
    with pytest.raises(RaysmoothError, match="'adam 10 epochs' is not a valid phase"):
        choose_recipe(training(phases="adam 10 epochs"), "mse")


@pytest.mark.parametrize("name", sorted(OWN_PHASE))
def test_a_value_of_one_phase_is_refused_where_there_are_several(name: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        choose_recipe(training(recipe="salman2020-cifar10-stab-1", **{name: OWN_PHASE[name]}), "mse")
    assert str(refused.value) == (
        f"--{name.replace('_', '-')}: recipe salman2020-cifar10-stab-1 has 2 phases: write them "
        "as --phases 'adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,learning_rate=1e-4,step_size=100', say"
    )
    recipe = choose_recipe(training(recipe="salman2020-cifar10-stab-1", **OWN), "mse").recipe
    assert recipe == replace(RECIPES["salman2020-cifar10-stab-1"], **OWN)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"recipe": "salman2020-cifar10-mes"}, r"unknown recipe '.*-mes': did you mean 'salman2020-cifar10-mse'\?"),
        ({"optimizer": "adm"}, r"unknown optimizer 'adm': did you mean 'adam'\?"),
        ({"augment": "shft"}, r"unknown augmentation 'shft': did you mean 'shift'\?"),
        ({"schedule": "cosin"}, r"unknown schedule 'cosin': did you mean 'cosine'\?"),
        ({"dataset": "digit"}, r"unknown data set 'digit': did you mean 'digits'\?"),
        ({"dataset": "cifar1O", "recipe": "digits-mse"}, r"unknown data set 'cifar1O': did you mean 'cifar10'\?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(own: dict[str, str], message: str) -> None:
    with pytest.raises(RaysmoothError, match=message):
        choose_recipe(training(**own), "mse")


CLASSIFIERS_OF = {
    "digits": "digits-classifier",
    "mnist": "jeong2020-mnist",
    "cifar10": "jeong2020-cifar10",
    "cifar10-jpeg": "jeong2020-cifar10",
    "imagenet": "jeong2020-imagenet",
}
CIFAR10_DENOISERS = {
    "mse": "salman2020-cifar10-mse",
    "stab+mse": "salman2020-cifar10-stab+mse-adam-1e-4",
    "clf+mse": "salman2020-cifar10-stab+mse-adam-1e-4",
    "stab": "salman2020-cifar10-stab-1",
    "clf": "salman2020-cifar10-stab-1",
}
DENOISERS_OF = {
    "digits": {"mse": "digits-mse", "stab+mse": "digits-stab+mse", "clf+mse": "digits-stab+mse"},
    "cifar10": CIFAR10_DENOISERS,
    "cifar10-jpeg": CIFAR10_DENOISERS,
    "imagenet": {
        "mse": "salman2020-imagenet-mse",
        "stab+mse": "salman2020-imagenet-stab+mse",
        "clf+mse": "salman2020-imagenet-stab+mse",
    },
}


@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_default_is_the_one_made_for_the_data_set(dataset: str) -> None:
    """Appendix E: the classification objectives have the stability objective's."""
    expected: dict[str, str | None] = {}
    for objective in CLASSIFIER_OBJECTIVES:
        clean_cifar = objective == "clean" and dataset.startswith("cifar10")
        expected[objective] = "salman2020-cifar10-classifier" if clean_cifar else CLASSIFIERS_OF.get(dataset)
    for objective in REJECTOR_OBJECTIVES:
        expected[objective] = "sheikholeslami2022-cifar10" if dataset.startswith("cifar10") else None
    for objective in DENOISER_OBJECTIVES:
        expected[objective] = DENOISERS_OF.get(dataset, {}).get(objective)
    for objective, name in expected.items():
        assert made_for(dataset, objective) == name
        named = choose_recipe(training(dataset=dataset), objective, lambda: ImageSet(60, 8, 8))
        assert named.name == (name or general_recipe(objective, ImageSet(60, 8, 8)))
        assert named.recipe == RECIPES[named.name]


# --- general ones --------------------------------------------------------------------------------------------------

# Kind and objective; epochs of (few, small), (few, large), (many, small), (many, large), and batches.
GENERAL_VALUES = [
    ("classifier", "clean", (100, 100, 50, 50), (16, 16, 128, 64)),
    ("classifier", "consistency", (100, 100, 50, 50), (16, 16, 128, 64)),
    ("denoiser", "mse", (90, 30, 45, 15), (16, 8, 128, 32)),
    ("denoiser", "stab", (90, 30, 45, 15), (16, 8, 128, 32)),
    ("tuning", "stab+mse", (40, 15, 20, 10), (16, 8, 128, 32)),
    ("tuning", "clf+mse", (40, 15, 20, 10), (16, 8, 128, 32)),
    ("rejector", "disagreement", (10, 5, 5, 3), (16, 8, 64, 16)),
    ("rejector", "wrong", (10, 5, 5, 3), (16, 8, 64, 16)),
]
SETS = {
    "few-small": [(1, 1, 1), (4999, 64, 64), (300, 32, 128)],
    "few-large": [(4999, 64, 65), (300, 224, 224)],
    "many-small": [(5000, 64, 64), (60_000, 28, 28)],
    "many-large": [(5000, 65, 64), (10**6, 224, 224)],
}


@pytest.mark.parametrize(("kind", "objective", "epochs", "batches"), GENERAL_VALUES)
def test_images_of_ones_own_get_a_recipe_by_number_and_size(
    kind: str, objective: str, epochs: tuple[int, ...], batches: tuple[int, ...]
) -> None:
    for place, (words, sets) in enumerate(SETS.items()):
        for count, height, width in sets:
            images = ImageSet(count, height, width)
            for dataset in ("folder", "parquet", "numpy"):
                named = choose_recipe(training(dataset=dataset), objective, lambda images=images: images)
                assert named.name == f"general-{kind}-{words}"
                assert (named.recipe.epochs, named.recipe.batch_size) == (epochs[place], batches[place])
                assert named.note is not None
                assert f"as none is made for {objective} on {dataset}" in named.note
                assert f"{count:,} images of {height}x{width}" in named.note


def test_the_rates_of_general_recipes_and_that_they_mirror_nothing() -> None:
    for name in (name for name in RECIPES if name.startswith("general-")):
        recipe, kind = RECIPES[name], name.split("-")[1]
        (phase,) = recipe.phases
        last = phase.rate(phase.epochs - 1)
        first = {"classifier": 1e-3, "denoiser": 1e-3, "tuning": 1e-4, "rejector": 1e-3}[kind]
        assert phase.rate(0) == first
        if kind == "rejector":
            assert phase.schedule == "cosine"
        else:
            assert last < first / 90 if kind != "tuning" else last == first  # two drops by 10, or a cosine
        assert recipe.augment == ("none" if kind != "classifier" else "shift" if name.endswith("small") else "crop")
        assert recipe.weight_decay == (1e-2 if kind == "classifier" else 1e-4)


def test_general_recipes_of_a_kind_accept_the_same_settings() -> None:
    """What is refused before the images are known is what would be refused afterwards."""
    for objective in ("clean", "mse", "stab+mse", "wrong"):
        shapes = {
            tuple((phase.optimizer, phase.schedule, phase.step_size is None) for phase in RECIPES[name].phases)
            for name in general_recipes(objective)
        }
        assert len(general_recipes(objective)) == 4
        assert len(shapes) == 1


def test_phases_alone_are_enough() -> None:
    written = "adam:epochs=10,learning_rate=1/1000; sgd:epochs=30,learning_rate=1e-2,step_size=8"
    named = choose_recipe(training(dataset="folder", phases=written), "mse", lambda: ImageSet(100, 32, 32))
    assert named.recipe.phases == (Phase(10, "adam", 1e-3), Phase(30, "sgd", 1e-2, 8))
    assert "10 epochs of adam 0.001; 30 epochs of sgd 0.01 (x0.1 every 8), batches of 16" in str(named.note)


def test_images_are_asked_for_only_where_they_decide() -> None:
    def never() -> ImageSet:
        raise AssertionError

    assert choose_recipe(training(), "mse", never).note == (
        "recipe digits-mse: 60 epochs of adam 0.01 (x0.1 every 40), batches of 64, augmentation none; the one made for "
        "mse on digits; --recipe takes another (raysmooth list recipes)"
    )
    assert choose_recipe(training(dataset="folder", recipe="digits-mse"), "mse", never).note is None


def test_the_images_of_a_training() -> None:
    given = training(dataset="digits", split="train", skip=3, max=100)
    assert images_of(given, given.open_dataset()) == ImageSet(100, 8, 8)
    assert images_of(training(split="test"), training(split="test").open_dataset()).count == 400


@pytest.mark.parametrize(
    ("dataset", "objective", "fits", "not_listed"),
    [
        ("cifar10", "mse", ["salman2020-cifar10-mse", "general-denoiser-few-small"], ["digits", "stab", "imagenet"]),
        ("cifar10-jpeg", "clf", ["salman2020-cifar10-stab-1", "salman2020-cifar10-stab-6"], ["mse", "classifier"]),
        ("folder", "stab+mse", ["salman2020-imagenet-stab+mse", "digits-stab+mse", "general-tuning-many-large"],
         ["stab-1", "classifier", "general-denoiser"]),
        ("cifar10", "macer", ["jeong2020-cifar10", "alfarra2022-cifar10"], ["mse", "stab", "sheikholeslami2022"]),
        ("mnist", "consistency", ["jeong2020-mnist", "general-classifier-many-small"], ["cifar10", "mse"]),
        ("mnist", "wrong", ["sheikholeslami2022-cifar10", "general-rejector-few-small"], ["jeong2020", "mse", "stab"]),
    ],
)  # fmt: skip
def test_an_unknown_recipe_is_refused_with_those_that_fit(
    dataset: str, objective: str, fits: list[str], not_listed: list[str]
) -> None:
    with pytest.raises(RaysmoothError) as refused:
        choose_recipe(training(dataset=dataset, recipe="resnet"), objective)
    text = str(refused.value)
    assert text.startswith("unknown recipe 'resnet': ")
    assert f"for {objective} on {dataset} write one of " in text
    listed = text.partition("write one of ")[2].partition(", or leave --recipe out")[0].split(", ")
    assert set(fits) <= set(listed)
    assert not [name for name in listed for part in not_listed if part in name]
