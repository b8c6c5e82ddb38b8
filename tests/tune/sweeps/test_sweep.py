"""Whole sweeps on the digits, on real Ray: their results, and what they survive."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from conftest import REPOSITORY
from digits_trainings import DENOISER, classifier_settings, rejector_settings, same_weights
from preloaded import PreloadedCommand
from sweeps import CLASSIFIER, TRAINING, experiment, run_here, settings_of, swept

import raysmooth.tune.sweeps.sweep
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.noise.families import noise_family
from raysmooth.commands.app import app
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.sweeps.progress import TrialStates, observed_by
from raysmooth.tune.sweeps.report import command_lines, trial_table, write_sweep_report
from raysmooth.tune.sweeps.sweep import SweepResult
from raysmooth.tune.sweeps.validation_certificates import certified_metrics, certify_validation, validation_set
from raysmooth.tune.training.train import train_classifier

CPU = torch.device("cpu")

pytestmark = pytest.mark.timeout(1800)  # on a busy machine Ray alone takes minutes to start a process


@pytest.fixture(scope="module")
def grid(ray_cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SweepResult]:
    out = tmp_path_factory.mktemp("grid") / "sweep"
    return out, swept(out, certify={"max": 6, "n": 100})


class TestGrid:
    def test_it_has_a_trial_for_each_combination(self, grid: tuple[Path, SweepResult]) -> None:
        rows = pd.read_parquet(grid[0] / "trials")
        last = rows[rows["last"]]
        assert sorted(zip(last["optimizer"], last["learning_rate"], strict=True)) == [
            ("adam", 1e-3), ("adam", 1e-2), ("sgd", 1e-3), ("sgd", 1e-2),
        ]  # fmt: skip
        assert set(last["status"]) == {"finished"}
        assert set(last["epoch"]) == set(last["epochs"]) == {2}
        assert len(rows) == 8

    def test_the_winner_is_what_the_parquet_says(self, grid: tuple[Path, SweepResult]) -> None:
        out, result = grid
        rows = pd.read_parquet(out / "trials")
        best = rows[rows["last"]].sort_values("acr").iloc[-1]
        assert result.winner is not None
        assert (result.winner.value, result.winner.epoch) == (best["acr"], 2)
        assert best["acr"] == rows.groupby(["optimizer", "learning_rate"])["acr"].last().max()
        assert trial_table(rows, settings_of(out)).iloc[0]["trial_id"] == result.winner.trial_id

    def test_the_winners_weights_are_those_of_its_command(self, grid: tuple[Path, SweepResult], tmp_path: Path) -> None:
        _, result = grid
        assert result.winner is not None
        config = {key: result.winner.config[key] for key in ("optimizer", "learning_rate")}
        again = train_classifier(
            classifier_settings(tmp_path / "again.safetensors", **CLASSIFIER, **config), show=False
        )
        assert same_weights(again, result.winner.weights)

    def test_the_winner_is_certified_on_test_images(self, grid: tuple[Path, SweepResult]) -> None:
        out, result = grid
        assert result.winner is not None
        rows = pd.read_parquet(out / "certificates")
        assert list(rows["split"].unique()) == ["test"]
        assert len(rows) == 6
        trials = pd.read_parquet(out / "trials")
        joined = trials[trials["last"]].merge(rows, left_on="weights_fingerprint", right_on="classifier_fingerprint")
        assert list(joined["trial_id"].unique()) == [result.winner.trial_id]

    def test_the_same_sweep_again_trains_nothing(self, grid: tuple[Path, SweepResult]) -> None:
        out, before = grid
        stamps = {file: file.stat().st_mtime_ns for file in (out / "tune").rglob("state.pt")}
        assert len(stamps) == 4
        again = swept(out, certify={"max": 6, "n": 100})
        assert {file: file.stat().st_mtime_ns for file in (out / "tune").rglob("state.pt")} == stamps
        pd.testing.assert_frame_equal(again.trials, before.trials)
        assert again.winner == before.winner

    def test_another_sweep_there_is_refused(self, grid: tuple[Path, SweepResult]) -> None:
        with pytest.raises(RaysmoothError, match="holds another sweep, with search"):
            swept(grid[0], search={"optimizer": ["adam"], "learning_rate": [1e-2, 1e-3]})

    def test_its_report(self, grid: tuple[Path, SweepResult]) -> None:
        out, result = grid
        files = write_sweep_report(result.trials, settings_of(out), result.winner, out)
        assert [file.name for file in files] == ["trials.csv", "trials.md", "trials.png"]
        assert "best of 4 trials by acr" in files[1].read_text()
        assert len(pd.read_csv(files[0])) == 4


def test_rejectors_are_judged_by_certificates_with_rejection(
    ray_cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner by ACR, of trials that run in this process: that of the most certificates, computed here again."""
    monkeypatch.setattr(raysmooth.tune.sweeps.sweep, "run_trials", run_here)
    classifier = train_classifier(classifier_settings(tmp_path / "c.safetensors", skip=2, epochs=2), show=False)
    small = {"rejector": "network:depth=10,width=4", "objective": "disagreement:T=2", "skip": 2, "epochs": 2}
    behind = {"classifier": "digits_cnn", "classifier_weights": str(classifier), "sigma": 0.5}
    result = swept(
        tmp_path / "sweep", train="rejector", settings={**TRAINING, **behind, **small},
        search={"learning_rate": [1e-3, 1e-30]},
    )  # fmt: skip
    last = result.trials[result.trials["last"]]
    assert set(last["status"]) == {"finished"}, list(last["error"])
    assert last["acr"].nunique() == 2
    assert {"auc", "rejected", "kept_accuracy", "validation_images"} <= set(last.columns)
    assert result.winner is not None
    best = last.sort_values("acr").iloc[-1]
    assert (best["trial_id"], best["acr"]) == (result.winner.trial_id, result.winner.value)
    weights = str(result.winner.weights)
    spec = BaseClassifierSpec("digits_cnn", str(classifier), rejector="network", rejector_weights=weights)
    images = validation_set(rejector_settings(tmp_path / "r.safetensors", classifier, classifier, skip=2), 8)
    validation = settings_of(tmp_path / "sweep").validation
    model = load_base_classifier(spec, CPU).model
    rows = certify_validation(model, images, validation, noise_family("gaussian", 0.5), CPU)
    assert certified_metrics(rows, None)["acr"] == best["acr"]


class Recorder:
    """An observer of a sweep: the trials it has seen, and the most that ran at once."""

    def __init__(self) -> None:
        self.trials: set[str] = set()
        self.most_running = 0

    def trials_changed(self, trials: TrialStates) -> None:
        self.trials |= set(trials)
        self.most_running = max(self.most_running, sum(status == "RUNNING" for status, *_ in trials.values()))

    def trial_validated(self, trial_id: str, metrics: Mapping[str, Any]) -> None: ...


def test_asha_ends_the_worse_trials_early(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    recorder = Recorder()
    with observed_by(recorder):
        result = swept(
            tmp_path / "asha",
            settings={**CLASSIFIER, "epochs": 6},
            search={"learning_rate": [1e-2, 1e-6, 2e-6, 3e-6]},
            scheduler="asha:grace=1,factor=2",
            metric="accuracy_under_noise",
        )
    last = result.trials[result.trials["last"]]
    assert "stopped" in set(last["status"])
    stopped = last[last["status"] == "stopped"]
    assert (stopped["epoch"] < 6).all()
    assert recorder.trials == set(last["trial_id"])
    assert recorder.most_running <= 1
    assert result.winner is not None
    assert result.winner.config["learning_rate"] == 1e-2


def test_pbt_continues_with_other_rates(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    """All four trials train at the same time, since each waits for the others in its first epoch. Every other exploited
    trial keeps its rate by chance; with ten of them, one changes.
    """
    settings = {key: value for key, value in CLASSIFIER.items() if key != "classifier"}
    (tmp_path / "started").mkdir()
    result = swept(
        tmp_path / "pbt",
        settings={**settings, "classifier": f"sweeps:meeting_cnn:folder={tmp_path / 'started'},count=4", "epochs": 12},
        search={"learning_rate": [1e-2, 1e-6]},
        seeds=[0, 1],
        scheduler="pbt:every=2,quantile=0.5,resample=0.5",
        metric="accuracy_under_noise",
        max_concurrent_trials=None,
    )
    rates = result.trials.groupby("trial_id")["epoch_learning_rate"].nunique()
    assert (result.trials[result.trials["last"]]["epoch"] == 12).all()
    assert (rates > 1).any()


def test_a_trial_that_always_fails_does_not_stop_the_others(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    result = swept(tmp_path / "failing", search={"learning_rate": [1e-2, 1e30]}, retries=1)
    last = result.trials[result.trials["last"]].set_index("learning_rate")
    assert last.loc[1e-2, "status"] == "finished"
    assert last.loc[1e30, "status"] == "failed"
    assert "write a smaller rate" in last.loc[1e30, "error"]
    assert result.winner is not None
    assert result.winner.config["learning_rate"] == 1e-2


def test_a_trial_whose_worker_is_killed_resumes(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    """The network kills its process, once, in the third epoch; the weights are those of a trial that lived."""
    settings = {**CLASSIFIER, "epochs": 4}
    dying = f"base_classifiers:digits_cnn_that_dies:once={tmp_path / 'died'}"
    search = {"classifier": [dying, "base_classifiers:digits_cnn_that_dies:once=never"]}
    result = swept(
        tmp_path / "killed", settings={k: v for k, v in settings.items() if k != "classifier"}, search=search
    )
    last = result.trials[result.trials["last"]]
    assert (tmp_path / "died").exists()
    assert list(last["status"]) == ["finished"] * 2
    one, other = (Path(path) for path in last["weights"])
    assert same_weights(one, other)


def test_a_killed_sweep_resumes(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    """SIGKILL of the driver when a trial is finished: finished trials are kept, and the results are those of a sweep
    that was not killed. Two of the four trials cannot finish before the kill: they wait for a file.
    """
    whole, out, released = tmp_path / "whole", tmp_path / "killed", tmp_path / "released"
    settings = {key: value for key, value in CLASSIFIER.items() if key != "classifier"}
    search = {"classifier": ["digits_cnn", f"sweeps:held_cnn:until={released}"], "learning_rate": [1e-2, 1e-3]}
    changes = {"search": search, "settings": settings, "max_concurrent_trials": 3}
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(experiment(out, **changes)))
    command = ["sweep", str(file), "--trust-code"]
    process = PreloadedCommand(command, ray_cluster, REPOSITORY)
    while not _finished(out):
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = _finished(out)
    assert 1 <= len(done) <= 2
    stamps = {file: file.stat().st_mtime_ns for file in done}
    released.touch()
    again = PreloadedCommand(command, ray_cluster, REPOSITORY)
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert {file: file.stat().st_mtime_ns for file in done} == stamps
    undisturbed = swept(whole, **changes)
    rows = pd.read_parquet(out / "trials")
    columns = ["classifier", "learning_rate", "epoch", "loss", "acr"]
    pd.testing.assert_frame_equal(
        rows[columns].sort_values(columns[:3], ignore_index=True),
        undisturbed.trials[columns].sort_values(columns[:3], ignore_index=True),
    )


def _finished(out: Path) -> list[Path]:
    """The training states of the trials that Ray Tune has saved as finished."""
    found = []
    for state in (out / "tune" / "trials").glob("experiment_state-*.json"):
        for trial, _ in json.loads(state.read_text() or "{}").get("trial_data", []):  # the very first may be empty
            state_of = json.loads(trial)
            if state_of["status"] == "TERMINATED":
                found += (out / "tune" / "trials" / state_of["trial_id"]).rglob("state.pt")
    return found


@pytest.fixture(scope="module")
def ensemble(ray_cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ensemble") / "surrogates"
    configurations = [{"classifier": f"digits_cnn:width={width}"} for width in (8, 12, 16, 20)]
    settings = {**TRAINING, "epochs": 3, "skip": 2}
    swept(out, settings=settings, search={}, configurations=configurations, metric=None, validation={})
    return out


class TestSurrogates:
    def test_the_ablation_on_their_number(
        self, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        protected = train_classifier(
            classifier_settings(tmp_path / "protected.safetensors", epochs=3, skip=2, seed=5), show=False
        )
        settings = {
            **TRAINING, "skip": 2, "epochs": 2, "sigma": 0.4, "denoiser": DENOISER, "objective": "stab+mse",
            "classifier": "digits_cnn", "classifier_weights": str(protected),
        }  # fmt: skip
        counts = [1, 2, 4]
        out = tmp_path / "ablation"
        changes: dict[str, Any] = {
            "train": "denoiser", "settings": settings, "search": {"surrogates": [f"{ensemble}:{k}" for k in counts]},
            "warm_start": {"epochs": 2}, "certify": {"max": 5, "n": 100}, "certify_all": True,
        }  # fmt: skip
        result = swept(out, **changes)
        last = result.trials[result.trials["last"]]
        cards = [json.loads(card) for card in last["card"]]
        assert [len(card["parents"]["surrogates"]) for card in cards] == counts
        assert {card["access"] for card in cards} == {"black-box"}
        # One MSE training, whose weights all start from.
        assert len({card["parents"]["init_weights"] for card in cards}) == 1
        assert len(list((out / "warm" / "weights").glob("*.safetensors"))) == 1
        assert result.certificates is not None
        assert result.certificates["run_id"].nunique() == 3
        files = write_sweep_report(result.trials, settings_of(out, **changes), result.winner, out, result.certificates)
        assert {file.name for file in files} >= {"trials.png", "curves.png"}
        assert result.winner is not None
        first, second = command_lines(settings_of(out, **changes), result.winner)
        assert "--objective mse" in first
        assert "--init-weights mse.safetensors" in second
        monkeypatch.chdir(tmp_path)
        for line in (first, second):
            app(shlex.split(line)[1:], standalone_mode=False)
        assert same_weights(tmp_path / "best.safetensors", result.winner.weights)

    def test_what_is_no_whole_ensemble_is_refused(self, ensemble: Path, tmp_path: Path) -> None:
        from raysmooth.tune.training.ensemble import members

        assert members(str(tmp_path / "w.safetensors")) is None
        assert len(members(str(ensemble)) or []) == 4
        with pytest.raises(RaysmoothError, match=r"the sweep has 4 classifiers: write .*:4"):
            members(f"{ensemble}:5")
        files = members(f"{ensemble}:2")
        assert files is not None
        hidden = Path(files[1]).rename(tmp_path / "hidden")
        with pytest.raises(RaysmoothError, match="is missing: rerun the ensemble's sweep"):
            members(f"{ensemble}:2")
        assert len(members(f"{ensemble}:1") or []) == 1
        hidden.rename(files[1])


@pytest.mark.processes
def test_too_few_resources_are_refused_before_ray_starts(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(experiment(tmp_path / "out", cpus_per_trial=1000, address="local")))
    run = subprocess.run(
        [sys.executable, "-m", "raysmooth", "sweep", str(file)],
        env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert run.returncode == 2
    assert "cpus_per_trial: 1000 is more than the" in run.stderr
    assert not (tmp_path / "out").exists()
