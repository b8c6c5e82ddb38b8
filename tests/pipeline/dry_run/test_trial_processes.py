"""A dry run without Ray: the same class computes the same, in this process and in others at the same time."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_runs import DIGITS, settings_of
from rich.console import Console

from raysmooth.actors.compute.compute_config import ComputeConfig, ComputeRequest
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.replica.replica import Replica
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.commands.estimate_table import print_estimates
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.dry_run import dry_run
from raysmooth.pipeline.dry_run.dry_run import estimate
from raysmooth.pipeline.dry_run.trial_process import TrialProcess
from raysmooth.pipeline.dry_run.trial_processes import TrialProcesses
from raysmooth.pipeline.pool.tasks import UnitRequest
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA

pytestmark = pytest.mark.processes

BASE = BaseClassifierSpec(DIGITS["classifier"], import_path=(os.getcwd(),), trust_code=True)
SAMPLING = Sampling(BASE, ComputeConfig("float32", False, 100), Gaussian(0.25), 0)
SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def other() -> Iterator[TrialProcess]:
    with closing(TrialProcess(1, verbose=False)) as process:
        yield process


@pytest.fixture
def trial(other: TrialProcess) -> Iterator[TrialProcesses]:
    with TrialProcesses([other], 1) as trial:
        yield trial


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, no_ray: None) -> None:
    """As on a machine without GPUs, in a process that would start a local Ray."""
    monkeypatch.setattr(dry_run, "will_be_local", lambda address: True)
    monkeypatch.setattr(dry_run, "surely_on_cpu", lambda settings: True)


def test_all_answer_and_a_speed_is_their_mean(trial: TrialProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = trial.ask_all("identity")
    assert here.kind == there.kind
    assert here.pid == os.getpid() != there.pid
    choices = []
    ask_all = trial.ask_all
    monkeypatch.setattr(trial, "ask_all", lambda *question: choices.extend(ask_all(*question)) or choices)
    request = ComputeRequest("float32", "off", 100)
    speed = trial.ask("choose", BASE, SHAPE, request, 1000, True).draws_per_second
    assert speed == pytest.approx((choices[0].draws_per_second + choices[1].draws_per_second) / 2)


def test_units_are_drawn_as_on_a_replica(trial: TrialProcesses) -> None:
    """Six units, on two processes: each once, with the counts of a replica that draws them alone."""
    trial.prepare([SAMPLING], [SHAPE])
    images = {number: np.full(SHAPE, number / 6, np.float32) for number in range(6)}
    requests = [
        UnitRequest(WorkUnit(0, Role.SELECTION, (Block(number, 0, 100),)), {number: image})
        for number, image in images.items()
    ]
    waiting = iter(requests)
    results = list(trial.draw(lambda: next(waiting, None), lambda unit: True))
    assert {result.request for result in results} == {*requests}
    replica = Replica("cpu", 1)
    replica.prepare([SAMPLING], [SHAPE])
    for result in results:
        (number,) = result.request.unit.image_ids
        (alone,) = replica.draw([result.request.unit], [(0, number)], images[number]).counts
        assert result.drawn is not None
        assert result.drawn.counts.tolist() == alone.counts.tolist()


def test_this_process_gets_its_threads_back(other: TrialProcess) -> None:
    before = torch.get_num_threads()
    with TrialProcesses([other], before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_what_goes_wrong_is_one_line(trial: TrialProcesses, other: TrialProcess) -> None:
    other.ask("prepare", [SAMPLING], [(3, 8, 8)])
    with pytest.raises(RaysmoothError, match=r"^RuntimeError: [^\n]+$"):
        other.answer()
    with pytest.raises(RaysmoothError, match=r"^RuntimeError: [^\n]+$"):
        trial._answer("prepare", [SAMPLING], [(3, 8, 8)])
    with closing(TrialProcess(1, verbose=False)) as process:
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(RaysmoothError, match=r"a process that tried the networks ended \(signal SIGKILL\)"):
            process.answer()


def test_a_dry_run_starts_no_ray(alone: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the draws of a dry run on Ray, and images that stop early judged by some."""
    settings = settings_of(tmp_path / "out", sampling="adaptive", n=4000, max=5, compile="off")
    (one,) = estimate(PROCEDURES["certify"], settings)
    assert (one.images, one.sampled, one.replicas, one.guessed_from) == (5, 5, 1, None)
    assert 5 * 40 < one.draws < one.most_draws == 5 * 4040
    assert one.tried == "float32, batches of 100, 2 s in one process"
    said = capsys.readouterr().err
    assert "trying the networks for a few seconds, in 1 process of 1 thread in place of replicas: Ray is not" in said
    assert "computing as requested: --precision float32 --compile" in said
    assert not (tmp_path / "out").exists()


def test_more_replicas_than_fit_are_tried_as_many_as_fit(alone: None, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("raysmooth.pipeline.ray_cluster.cluster.get_num_cpus", lambda **_: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (one,) = estimate(PROCEDURES["certify"], settings_of(tmp_path / "out", max=5, replicas=16), show_progress=False)
    assert one.replicas == 2
    assert one.tried == "float32, batches of 100, 2 s in each of 2 processes at once"
    assert one.seconds(16) == pytest.approx(one.seconds() / 8)


def test_a_search_costs_its_forward_passes(alone: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 12, "batch_size": 8}
    asked = user_settings(OPTIMIZE_SIGMA.settings, {**given, "replicas": 1, "out": str(tmp_path / "out")})
    (one,) = estimate(OPTIMIZE_SIGMA, asked)
    # 900 steps of a forward pass, and a backward pass that counts as two.
    assert (one.images, one.draws, one.most_draws, one.replicas) == (12, 12 * 2700, 12 * 2700, 1)
    assert one.busy_seconds > 0
    print_estimates([one], 4, Console(stderr=True))
    printed, said = capsys.readouterr()
    lines = {line[:26].strip(): line.split()[-1] for line in printed.splitlines()}
    assert lines["images to do"] == "12"
    assert lines["forward passes"] == "32,400"
    assert any(line.startswith("time, 4 replicas") for line in printed.splitlines())
    assert "searching in float32, not compiled, --batch-size 8" in said
    assert not (tmp_path / "out").exists()
