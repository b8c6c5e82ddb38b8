"""How a sweep samples its trials, and when it ends them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sweeps import CLASSIFIER, settings_of, swept

from raysmooth.tune.sweeps.report import how_chosen, printed, trial_table
from raysmooth.tune.sweeps.trials import Trial, winner_of, write_trials

pytestmark = pytest.mark.timeout(1800)  # on a busy machine Ray alone takes minutes to start a process


def test_random_search_tries_each_sample_with_every_seed(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "search": {"learning_rate": {"loguniform": [1e-3, 1e-1]}, "batch_size": {"randint": [16, 64]}},
        "settings": {**CLASSIFIER, "epochs": 1}, "search_algorithm": "random", "num_trials": 2, "seeds": [3, 4],
        "metric": "validation_loss",
    }  # fmt: skip
    last = swept(tmp_path / "random", **changes).trials
    assert settings_of(tmp_path, **changes).planned == len(last) == 4
    rates = last.groupby("learning_rate")["seed"].agg(sorted)
    assert list(rates) == [[3, 4], [3, 4]]
    assert last["learning_rate"].between(1e-3, 1e-1).all()
    assert last["batch_size"].between(16, 64).all()
    assert last.groupby("learning_rate")["batch_size"].nunique().eq(1).all()


def test_optuna_searches(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "search": {"optimizer": {"choice": ["adam", "sgd"]}, "learning_rate": {"loguniform": [1e-4, 1e-1]}},
        "settings": {**CLASSIFIER, "epochs": 1}, "search_algorithm": "optuna", "num_trials": 3,
        "metric": "accuracy_under_noise",
    }  # fmt: skip
    result = swept(tmp_path / "optuna", **changes)
    assert set(result.trials["status"]) == {"finished"}
    assert result.trials["learning_rate"].nunique() == settings_of(tmp_path, **changes).planned == 3
    assert result.winner is not None
    assert result.winner.value == result.trials["noisy_accuracy"].max()


def test_a_trial_that_no_longer_changes_is_ended(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    """At a rate of 1e-12 the accuracy stays what it is: the third validation is the last."""
    result = swept(
        tmp_path / "plateau",
        search={"learning_rate": [1e-12]},
        settings={**CLASSIFIER, "epochs": 9},
        metric="accuracy_under_noise",
        plateau={"results": 3, "std": 1e-3, "grace": 1},
    )
    assert list(result.trials["epoch"]) == [1, 2, 3]
    assert set(result.trials["status"]) == {"stopped"}


def test_when_the_time_is_over_trials_count_as_they_stand(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    result = swept(
        tmp_path / "hours",
        search={"learning_rate": [1e-2, 1e-3]},
        settings={**CLASSIFIER, "epochs": 10_000},
        metric="accuracy_under_noise",
        time_budget_hours=15 / 3600,
        max_concurrent_trials=None,
    )
    last = result.trials[result.trials["last"]]
    assert set(last["status"]) == {"stopped"}
    validated = last[last["epoch"].notna()]  # on a slow machine a trial may not have come so far
    assert (validated["epoch"] < 10_000).all()
    assert all(Path(weights).exists() for weights in validated["weights"])
    assert (result.winner is not None) == (len(validated) > 0)


def test_seeds_are_averaged_before_the_best_is_chosen(tmp_path: Path) -> None:
    """By hand: adam has 0.9 and 0.1, sgd 0.6 and 0.7; a third of adam's is failed. 0.65 is more than 0.5."""
    sweep = settings_of(tmp_path, search={"optimizer": ["adam", "sgd"]}, seeds=[0, 1, 2])

    def trial(number: int, config: Mapping[str, Any], acr: float | None) -> Trial:
        if acr is None:
            return Trial(f"t{number}", "failed", "RuntimeError: no", config, [], None, None, None)
        (tmp_path / f"{number}").touch()
        return Trial(
            f"t{number}",
            "finished",
            None,
            config,
            [{"epoch": 2, "acr": acr, "validation_images": 8}],
            tmp_path / f"{number}",
            "",
            {},
        )

    measured: list[tuple[str, int, float | None]] = [
        ("adam", 0, 0.9), ("adam", 1, 0.1), ("adam", 2, None), ("sgd", 0, 0.6), ("sgd", 1, 0.7),
    ]  # fmt: skip
    trials = [trial(n, {"optimizer": name, "seed": seed}, acr) for n, (name, seed, acr) in enumerate(measured)]
    rows = write_trials(trials, sweep, tmp_path)
    winner = winner_of(rows, sweep, trials)
    assert winner is not None
    assert (winner.trial_id, winner.value, winner.seeds) == ("t4", 0.7, 2)
    assert winner.mean == pytest.approx(0.65)
    assert "0.6500 on average over 2 seeds; the best of them has 0.7000 after epoch 2" in how_chosen(
        sweep, winner, rows
    )
    table = trial_table(rows, sweep)
    assert list(table["trial_id"]) == ["t4", "t3", "t0", "t1", "t2"]
    assert table.loc[0, "mean over seeds"] == pytest.approx(0.65)
    text = printed(table, sweep).loc[0]
    assert (text["acr"], text["mean over seeds"], text["epochs"]) == ("0.7000", "0.6500", "2/2")
    assert pd.read_parquet(tmp_path / "trials")["error"].notna().sum() == 1
