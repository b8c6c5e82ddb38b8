"""The options of --data-dependent: their defaults, and what is refused."""

from math import sqrt
from typing import Any

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.tune.objectives.data_dependent import SigmaSteps, from_the_start, read_data_dependent
from raysmooth.tune.recipes.settings import TrainClassifierSettings
from raysmooth.tune.training.classifier_task import choose_for_classifier


def read(text: str, noise: str = "gaussian", sigma: float = 0.25, epochs: int = 200) -> SigmaSteps:
    return read_data_dependent(text, noise, sigma, epochs)


def test_what_is_left_out_is_the_papers_or_a_share_of_the_training() -> None:
    paper = SigmaSteps(50, 1, 1e-4, 1, 0.02, 0.0625, 1.0)
    assert read("epochs_from=50,steps=1") == read("epochs-from=50,steps=1") == read(" steps = 1 ") == paper
    assert read("steps=3", epochs=30) == SigmaSteps(7, 3, 1e-4, 1, 0.02, 0.0625, 1.0)
    everything = "epochs_from=0,steps=2,learning_rate=1/1000,draws=8,clamp=0.001,least=0.2,most=0.5"
    assert read(everything) == SigmaSteps(0, 2, 1e-3, 8, 1e-3, 0.2, 0.5)
    assert read("least=0.25,most=0.25") == SigmaSteps(50, 1, 1e-4, 1, 0.02, 0.25, 0.25)


def test_limits_are_in_the_familys_own_parameter() -> None:
    found = read("steps=1", "uniform", 0.5 / sqrt(3))
    assert (found.least, found.most) == pytest.approx((0.125, 2.0))
    assert read("least=0.4,most=0.6", "uniform", 0.5 / sqrt(3)).least == 0.4


def test_an_experiments_smoke_test_of_one_epoch() -> None:
    assert read(from_the_start("epochs_from=50,steps=2"), epochs=1) == read("epochs_from=0,steps=2", epochs=1)
    assert from_the_start("draws=2") == "draws=2,epochs_from=0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write option=value,option=value, each option once, such as epochs_from=50,steps=1"),
        ("epochs_from", "write option=value,option=value"),
        ("steps=1,steps=2", "write option=value,option=value"),
        ("step=1", r"no option 'step': did you mean 'steps'\?"),
        ("epoch-from=1", r"no option 'epoch_from': did you mean 'epochs_from'\?"),
        ("steps=0", "option steps=0: write a whole number above 0"),
        ("epochs_from=-1", "option epochs_from=-1: write a whole number, 0 or more"),
        ("epochs_from=2.5", r"option epochs_from=2\.5: write a whole number"),
        ("learning_rate=0", "option learning_rate=0: write a number above 0"),
        ("clamp=0.5", r"option clamp=0\.5: write a number above 0 below 0\.5"),
        ("clamp=0", "option clamp=0: write a number above 0"),
        ("draws=few", "option draws=few: write a whole number"),
        ("most=0.2", r"sigma begins at 0\.25, which is not between 0\.0625 and 0\.2: write least=0\.0625,most=0\.25"),
        (
            "least=0.5,most=0.1",
            r"sigma begins at 0\.25, which is not between 0\.5 and 0\.1: write least=0\.25,most=0\.25",
        ),
        ("most=128", r"option most=128: sigma is at most 10: .* write most=128/255 \(0\.502\)"),
        ("epochs_from=200", "the training ends after 200 epochs, with one sigma for all images: write epochs_from=50,"),
    ],
)
def test_refusals_are_one_line_and_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError, match=f"^--data-dependent {text}: {message}") as refused:
        read(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": "clean"}, "--data-dependent is for objectives that train on noisy images: write --objective"),
        ({"objective": "clean", "sigma": None}, "--data-dependent is for objectives that train on noisy images"),
        (
            {"epochs": 50},
            "--data-dependent epochs_from=50,steps=1: the training ends after 50 epochs, .* epochs_from=12",
        ),
        ({"data_dependent": "steps=x"}, "--data-dependent steps=x: option steps=x: write a whole number"),
    ],
)
def test_a_training_that_they_do_not_fit_is_refused_without_opening_a_file(
    values: dict[str, Any], message: str
) -> None:
    common = {"dataset": "cifar10", "classifier": "cifar_resnet20", "objective": "gaussian", "sigma": 0.25}
    asked = {"data_dependent": "epochs_from=50,steps=1", "out": "w.safetensors", "data_root": "/nowhere"}
    choose_for_classifier(checked(TrainClassifierSettings, {**common, **asked}))
    with pytest.raises(RaysmoothError, match=f"^{message}"):
        choose_for_classifier(checked(TrainClassifierSettings, {**common, **asked, **values}))
