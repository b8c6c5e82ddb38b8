"""What a sweep's experiment file may say, and what is refused in it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPOSITORY

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.data.datasets import open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.runs.settings import CertifySettings, PredictSettings
from raysmooth.tune.experiments.settings import is_sweep
from raysmooth.tune.sweeps.report import command_lines
from raysmooth.tune.sweeps.search_space import combinations, grid_size, parse_domain
from raysmooth.tune.sweeps.settings import TRAINING_SETTINGS, SweepSettings
from raysmooth.tune.sweeps.sweep import _certify_values, _distinct_data, _said_of_data
from raysmooth.tune.sweeps.trial_check import refuse_impossible_trials
from raysmooth.tune.sweeps.trials import Winner
from raysmooth.tune.sweeps.validation_certificates import SEED, refuse_shared, validation_ids
from raysmooth.tune.training.training_data import held_out_ids
from raysmooth.tune.training.trainings import TRAININGS

EXPERIMENTS = sorted(filter(is_sweep, (REPOSITORY / "experiments").glob("*.yaml")))
RANGES = {"optimizer": ["adam", "sgd"], "learning_rate": {"loguniform": [1e-4, 1e-2]}}
BASE: dict[str, Any] = {
    "train": "classifier",
    "settings": {"dataset": "digits", "classifier": "digits_cnn", "objective": "gaussian", "sigma": 0.25},
    "search": {"optimizer": ["adam", "sgd"], "learning_rate": [1e-2, 1e-3]},
    "metric": "acr",
}


REJECTOR = {"dataset": "digits", "classifier": "digits_cnn", "sigma": 0.25}


def sweep(**changes: Any) -> SweepSettings:
    return checked(SweepSettings, {**BASE, **changes})


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiments_that_come_with_it_are_sweeps(experiment: Path) -> None:
    settings = checked(SweepSettings, {}, experiment)
    assert settings.planned >= 2


def test_the_papers_sweeps_have_the_papers_trials() -> None:
    folder = EXPERIMENTS[0].parent
    planned = {
        name: checked(SweepSettings, {}, folder / f"{name}.yaml").planned
        for name in ("cifar10-stab-mse", "cifar10-stab", "cifar10-surrogates")
    }
    # {Adam, SGD} x {1e-4, 1e-5} and six settings of AdamThenSGD, each for three denoisers; 14 surrogates.
    assert planned == {"cifar10-stab-mse": 12, "cifar10-stab": 18, "cifar10-surrogates": 14}


@pytest.mark.parametrize(("written", "flag"), [(True, " --compile on "), (False, " --compile off "), ("auto", " ")])
def test_commands_to_train_the_winner_again_can_be_pasted(written: bool | str, flag: str, tmp_path: Path) -> None:
    """YAML reads an unquoted on or off as a boolean."""
    settings = sweep(settings={**BASE["settings"], "compile": written})
    winner = Winner("t1", {"optimizer": "sgd", "learning_rate": 0.1}, 0.5, 0.5, 1, 2, tmp_path / "w.safetensors")
    (line,) = command_lines(settings, winner)
    assert line.startswith("raysmooth train classifier --")
    assert flag + "--optimizer sgd --learning-rate 0.1 " in line
    assert ("--compile" in line) == (written != "auto")


def test_a_grid_has_all_combinations_times_rows_and_seeds() -> None:
    assert sweep(seeds=[0, 1, 2]).planned == 12
    assert sweep(configurations=[{"epochs": 2}, {"epochs": 3}], seeds=[0, 1]).planned == 16
    assert (
        sweep(search_algorithm="random", num_trials=5, search={"learning_rate": {"loguniform": [1e-5, 1e-2]}}).planned
        == 5
    )


def test_domains_by_hand() -> None:
    assert parse_domain("a", [1, 2]).values == (1, 2)
    assert parse_domain("a", {"loguniform": ["1e-5", 1e-3]}).values == (1e-5, 1e-3)  # YAML reads 1e-5 as text
    space = {"a": parse_domain("a", [1, 2]), "b": parse_domain("b", {"uniform": [0, 1]})}
    assert grid_size(space) == 2
    assert combinations(space) == [{"a": 1, "b": 0.0}, {"a": 1, "b": 1.0}, {"a": 2, "b": 0.0}, {"a": 2, "b": 1.0}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"learning_rte": [1e-3]}}, r"unknown setting 'learning_rte': did you mean 'learning_rate'\?"),
        ({"settings": {**BASE["settings"], "optimiser": "adam"}}, "settings: unknown setting 'optimiser'"),
        ({"search": {"optimizer": []}}, r"search: optimizer: grid has no values"),
        (
            {"search": {"optimizer": {"gird": ["adam"]}}},
            "search: optimizer: unknown domain 'gird': did you mean 'grid'",
        ),
        ({"search": {"optimizer": "adam"}}, "search: optimizer: write a list"),
        ({"search": {"learning_rate": {"loguniform": [0, 1]}}}, "above 0, low below high"),
        ({"search": {"learning_rate": {"uniform": [1]}}}, "takes two numbers"),
        (
            {"search": {"learning_rate": {"uniform": [0, float("inf")]}}},
            r"uniform \[0, inf\]: the range must be",
        ),
        ({"search": {"learning_rate": {"uniform": [-1e308, 1e308]}}}, "the range must be finite"),
        ({"search": {"epochs": {"randint": [1, float("inf")]}}}, "takes two numbers"),
        ({"search": {"epochs": {"randint": [1, 10**18]}}}, "whole numbers below 2[*][*]53 only"),
        ({"search": {"learning_rate": [1e-3, 1e-3]}}, "has a value twice"),
        ({"search": {"learning_rate": [-1.0]}}, "learning_rate -1.0: input should be greater than 0"),
        (
            {"search": {"learning_rate": {"loguniform": [1e-4, 1e-2]}}},
            "is sampled at random: write 'search_algorithm: random'",
        ),
        ({"search": {"seed": [1, 2]}}, r"search: seed: the sweep sets this: write 'seeds: \[0, 1\]'"),
        ({"search": {"sigma": [0.25]}}, "search: sigma has a value elsewhere in the file too"),
        ({"search_algorithm": "random"}, "write the number of samples, such as 'num_trials: 20'"),
        ({"search_algorithm": "random", "num_trials": 3}, "'search' has nothing to sample"),
        ({"search_algorithm": "optuna", "num_trials": 3, "search": RANGES}, "optimizer: optuna samples from"),
        ({"num_trials": 3}, "a grid is searched completely"),
        ({"metric": "acurracy"}, "unknown metric 'acurracy'"),
        (
            {"metric": "certified_accuracy"},
            r"radius is missing: write a number, 0 or more \(the radius, as in",
        ),
        ({"metric": "certified_accuracy:radius=-1"}, "option radius=-1: write a number, 0 or more"),
        ({"metric": "certified_accuracy:radius=64"}, "option radius=64: .*at most 10: .*write radius=64/255 .0.251."),
        ({"search": {"learning_rate": ["1/4", 0.25]}}, "has a value twice"),
        ({"metric": "acr:radius=1"}, "metric 'acr' has no option 'radius'"),
        ({"metric": None, "scheduler": "asha"}, "scheduler: asha needs a metric"),
        ({"metric": None, "certify": {"n": 1000}}, "there is no winner without a metric"),
        ({"scheduler": "hyperband"}, "unknown scheduler 'hyperband'"),
        ({"scheduler": "asha:grce=2"}, "scheduler 'asha' has no option 'grce': did you mean 'grace'"),
        ({"scheduler": "asha:factor=1"}, "scheduler 'asha:factor=1': option factor=1: write a whole number, 2 or more"),
        ({"scheduler": "pbt:quantile=0.6"}, "option quantile=0.6: write a number above 0, at most 0.5"),
        ({"scheduler": "asha:grace=1.5"}, "option grace=1.5: write a whole number above 0"),
        ({"scheduler": "fifo:grace=1"}, "scheduler 'fifo' has no option 'grace': it takes none, write fifo"),
        ({"scheduler": "pbt"}, "copies weights from trial to trial, which may not fit another optimizer"),
        ({"search": {"optimizer": ["adam", "sgd"]}, "scheduler": "pbt"}, "changes numbers while training"),
        ({"validation": {"imges": 3}}, "unknown setting 'imges': did you mean 'images'"),
        ({"validation": {"n": 0}}, "n 0: input should be greater than or equal to 1"),
        ({"certify": {"classifier": "lenet"}}, "certify: unknown setting 'classifier'"),
        ({"warm_start": {"objective": "mse"}}, "warm_start: classifiers start fresh"),
        (
            {"train": "rejector", "settings": REJECTOR, "metric": "accuracy_under_noise"},
            "accuracy_under_noise is none of a rejector: write one of certified_accuracy, acr, validation_loss",
        ),
        ({"train": "rejector", "settings": REJECTOR, "warm_start": {}}, "warm_start: rejectors start fresh"),
        ({"seeds": [0, 0]}, "write each once"),
        ({"train": "network"}, "unknown training 'network'"),
        ({"by": "random"}, "^unknown setting 'by': it is now called search_algorithm$"),
        ({"each": []}, "^unknown setting 'each': it is now called configurations$"),
        ({"trials": 3}, "^unknown setting 'trials': it is now called num_trials$"),
        ({"hours": 2}, "^unknown setting 'hours': it is now called time_budget_hours$"),
        ({"concurrent": 2}, "^unknown setting 'concurrent': it is now called max_concurrent_trials$"),
    ],
)
def test_bad_experiments_are_refused_with_the_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RaysmoothError, match=message) as refused:
        sweep(**changes)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"classifier": ["digits_cnn", "digits_cnm"]}}, "unknown classifier 'digits_cnm': did you mean"),
        ({"search": {"objective": ["gaussian", "gausian"]}}, "unknown classifier objective 'gausian'"),
        ({"search": {"recipe": ["digits-gaussian", "none-such"]}}, "unknown recipe"),
        ({"configurations": [{"augment": "shift"}, {"augment": "flop"}], "search": {}}, "unknown augmentation 'flop'"),
        ({"settings": {"dataset": "mnist", "data_root": "nowhere", "classifier": "lenet", "sigma": 1}}, "nowhere does"),
        (
            {"search": {"epochs": [9, 4], "data_dependent": ["epochs_from=2,steps=1", "epochs_from=4,steps=1"]}},
            "--data-dependent epochs_from=4,steps=1: the training ends after 4 epochs",
        ),
        ({"search": {"classifier": ["digits_cnn", "cifar_resnet20"]}}, "preprocess has constants for 3 channels"),
        (
            {
                "train": "denoiser",
                "settings": {
                    "dataset": "digits", "denoiser": "dncnn:channels=1,depth=3,width=8", "objective": "stab+mse",
                    "sigma": 0.25,
                },
                "metric": "validation_loss", "search": {"surrogates": ["digits-surrogates:1", "digits-surrogates:2"]},
                "warm_start": {"epochs": 2},
            },
            "--surrogates digits-surrogates:1 does not exist: give a weights file, or the folder of a sweep",
        ),
    ],
)  # fmt: skip
def test_what_a_trial_would_refuse_is_refused_before_any(changes: dict[str, Any], message: str) -> None:
    settings = {**BASE["settings"], **changes.get("settings", {})} if "train" not in changes else changes["settings"]
    given = {
        **changes,
        "settings": {key: value for key, value in settings.items() if key not in changes.get("search", {})},
    }
    with pytest.raises(RaysmoothError, match=message):
        refuse_impossible_trials(sweep(**given))


def test_a_metric_under_noise_needs_noise() -> None:
    settings = {"dataset": "digits", "classifier": "digits_cnn"}
    with pytest.raises(RaysmoothError, match=r"metric: acr is measured under noise: write 'sigma: 0.5'"):
        sweep(settings=settings)
    assert sweep(settings=settings, metric="validation_loss").planned == 4


def test_yaml_reads_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump({**BASE, "cpus-per-trial": 2}))
    assert checked(SweepSettings, {}, file).cpus_per_trial == 2


@pytest.mark.parametrize("count", [1, 7, 50, 1000])
def test_validation_images_are_held_out_ones_and_no_test_images(count: int) -> None:
    training = sweep().settings_class.model_validate({**BASE["settings"], "skip": 2, "out": "w.safetensors"})
    train, test = open_dataset("digits", None, "train", None, None), open_dataset("digits", None, None, None, None)
    assert (train.split, test.split) == ("train", "test")
    ids = validation_ids(train, training, count)
    # Every tenth of every second image: 18, 38, 58, ... by hand.
    held_out = list(range(18, len(train), 20))
    assert list(held_out_ids(IndexSet(len(train), 2).ids)) == held_out
    assert set(ids) <= set(held_out)
    assert len(ids) == min(count, len(held_out))
    images = {train.read(image_id).image.tobytes() for image_id in ids}
    assert not images & {test.read(image_id).image.tobytes() for image_id in range(len(test))}


def test_the_noise_that_chooses_is_never_that_of_a_certificate() -> None:
    for model in (CertifySettings, PredictSettings):
        with pytest.raises(RaysmoothError, match="should be less than"):
            checked(model, {"dataset": "digits", "classifier": "digits_cnn", "sigma": 0.5, "seed": SEED})


def test_test_images_that_trials_see_are_refused() -> None:
    training = sweep().settings_class.model_validate({**BASE["settings"], "skip": 2, "out": "w.safetensors"})
    train = open_dataset("digits", None, "train", None, None)
    test = open_dataset("digits", None, "test", None, None)
    refuse_shared(training, test, None, range(len(test)))
    refuse_shared(training, train, None, range(1, 100, 2))  # the images between those that were taken
    with pytest.raises(
        RaysmoothError, match="certify: 5 of the test images are images of digits train that trials train on"
    ):
        refuse_shared(training, train, None, range(10))


def test_a_sweep_says_once_what_each_choice_of_images_is() -> None:
    settings = {**BASE["settings"], "max": None}
    of_two = sweep(settings=settings, configurations=[{"skip": 1}, {"skip": 2}], seeds=[0, 1])
    assert list(_said_of_data(of_two)) == [
        line
        for used in ("", " (every 2nd of 1397 (699 images))")
        for line in (
            f"data: digits, split train: 1,397 images{used}, 10 classes (0, 1, 2, 3, 4, 5, ...) from the data set, "
            "1 x 8 x 8, 17 levels of grey",
            "recipe digits-classifier: the one made for gaussian on digits; 'recipe: NAME' takes another",
        )
    ]
    named = sweep(settings={**settings, "recipe": "digits-mse", "sigma": 5})
    assert [line for line in _said_of_data(named) if not line.startswith("data: ")] == [
        "warning: sigma 5 is above all that papers use, 3.5; pixels are in [0, 1]: for 5 of 255 grey levels write "
        "--sigma 5/255 (0.0196)"
    ]


def test_what_is_certified_is_read_as_what_was_trained_on() -> None:
    chosen = {"channels": 3, "label_map": "map.yaml", "class_order": "number", "resize": 9}
    one = sweep(settings={**BASE["settings"], **chosen}, certify={"n": 100})
    training = next(_distinct_data(one))
    assert chosen.items() <= _certify_values(one, training, "w.safetensors").items()


def test_a_rejector_is_certified_behind_the_networks_that_it_was_trained_for() -> None:
    """Its size is on the card of its weights, like that of a denoiser."""
    behind = {"classifier_weights": "c.safetensors", "denoiser": "dncnn", "denoiser_weights": "d.safetensors"}
    one = sweep(train="rejector", settings={**REJECTOR, **behind, "rejector": "network:width=8,depth=10"})
    values = _certify_values(one, next(_distinct_data(one)), "r.safetensors")
    expected = {**REJECTOR, **behind, "rejector": "network:width=8,depth=10", "rejector_weights": "r.safetensors"}
    assert expected.items() <= values.items()
    checked(CertifySettings, values)


def test_every_training_can_be_swept_with_its_settings() -> None:
    assert {name: training.settings for name, training in TRAININGS.items()} == dict(TRAINING_SETTINGS)


def test_settings_do_not_import_trainings() -> None:
    for module in ("settings", "nested_settings", "metrics", "schedulers", "search_space"):
        assert "tune.training" not in (REPOSITORY / "tune" / "sweeps" / f"{module}.py").read_text()
