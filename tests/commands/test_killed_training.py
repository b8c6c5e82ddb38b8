"""Trainings that are killed: the same command resumes, and gives what an undisturbed training gives."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import REPOSITORY
from preloaded import PreloadedCommand

from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.recipes.settings import TrainClassifierSettings
from raysmooth.tune.training.train import train_classifier

DROPPING = """
import time
from pathlib import Path
from torch import nn

class Held(nn.Sequential):
    # Waits after the third epoch for as long as there is a file "hold" in the working directory.
    def forward(self, pixels):
        metrics = Path("w.training/metrics.csv")
        while Path("hold").exists() and metrics.exists() and metrics.read_text().count("\\n") > 3:
            time.sleep(0.01)
        return super().forward(pixels)

def net():
    hidden = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3)
    return Held(nn.Flatten(), *hidden, nn.Linear(32, 10))
"""
TRAINING = {
    "dataset": "digits", "classifier": "dropping:net", "objective": "gaussian", "sigma": 0.3, "augment": "shift",
    "phases": "adam:epochs=15,learning_rate=1e-2; nesterov:epochs=25,learning_rate=1e-2,step_size=10",
    "precision": "float32", "device": "cpu", "threads": 1,
}  # fmt: skip
EPOCHS = 40


def start(folder: Path) -> PreloadedCommand:
    """`raysmooth train classifier` of `TRAINING`, to w.safetensors in the folder, which holds the network."""
    flags = [part for name, value in TRAINING.items() for part in (f"--{name}", str(value))]
    command = ["train", "classifier", *flags, "--out", "w.safetensors"]
    return PreloadedCommand(command, {**os.environ, "OMP_NUM_THREADS": "1"}, folder)


def metrics(folder: Path) -> pd.DataFrame:
    rows = pd.read_csv(folder / "w.training/metrics.csv")
    return rows.drop(columns="images_per_second")


def wait_for_epochs(folder: Path, epochs: int, process: PreloadedCommand) -> None:
    """Gives up after minutes only: the machine may be busy."""
    deadline = time.monotonic() + 400
    while not (folder / "w.training/metrics.csv").exists() or len(metrics(folder)) < epochs:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def settings(folder: Path) -> TrainClassifierSettings:
    values = TRAINING | {"out": str(folder / "w.safetensors"), "trust_code": True}
    return TrainClassifierSettings.model_validate(values)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "dropping.py").write_text(DROPPING)
    sys.path.insert(0, str(folder))
    train_classifier(settings(folder), show=False)
    yield folder
    sys.path.remove(str(folder))


def check(folder: Path, undisturbed: Path) -> None:
    """Every number of every epoch, and every bit of the weights."""
    pd.testing.assert_frame_equal(metrics(folder), metrics(undisturbed), check_exact=True)
    for name in ("w.safetensors", "w.training/best.safetensors", "w.training/last.safetensors"):
        found, expected = read_weights(folder / name), read_weights(undisturbed / name)
        assert found.card == expected.card
        assert found.state_dict.keys() == expected.state_dict.keys()
        assert all(torch.equal(found.state_dict[key], tensor) for key, tensor in expected.state_dict.items())
    assert not (folder / "w.training/state.pt").exists()


@pytest.mark.processes
def test_sigkill_then_the_same_command(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "dropping.py").write_text(DROPPING)
    (tmp_path / "hold").touch()
    process = start(tmp_path)
    wait_for_epochs(tmp_path, 3, process)
    with pytest.raises(RaysmoothError, match=r"another process is training to .*w\.safetensors: wait for it, or write"):
        train_classifier(settings(tmp_path), show=False)
    process.kill()
    process.communicate()
    assert len(metrics(tmp_path)) == 3
    assert not (tmp_path / "w.safetensors").exists()

    (tmp_path / "hold").unlink()
    process = start(tmp_path)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    (resumed,) = (line for line in err.splitlines() if "resumes" in line)
    # The row of an epoch is written before the state to resume from.
    assert resumed in [f"dropping:net gaussian: resumes after epoch {k} of {EPOCHS}" for k in (3, 2)]
    assert out.count("\n") == 1
    assert out.startswith("dropping:net, gaussian at sigma 0.3: accuracy ")
    check(tmp_path, undisturbed)


TEAR = """
import os, signal, sys
import torch
import raysmooth.tune.training.training_folder
sys.path.insert(0, sys.argv[1])
import test_killed_training

whole, calls = torch.save, []

def save(content, path):
    whole(content, path)
    calls.append(path)
    if len(calls) == 4:
        os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = save
test_killed_training.train_classifier(test_killed_training.settings(test_killed_training.Path.cwd()), show=False)
"""


@pytest.mark.processes
def test_sigkill_with_half_the_state_written(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "dropping.py").write_text(DROPPING)
    killed = subprocess.run(
        [sys.executable, "-c", TEAR, str(Path(__file__).parent)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ["PYTHONPATH"], str(REPOSITORY / "tests")]),
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (partial,) = (tmp_path / "w.training").glob(".*.part")
    assert partial.name.startswith(".state.pt.")
    assert len(metrics(tmp_path)) == 4
    train_classifier(settings(tmp_path), show=False)
    check(tmp_path, undisturbed)
