"""What a trial resumes from, where a kill may have lost it."""

from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem
from ray.tune import Checkpoint

from raysmooth.tune.sweeps.trial import fetch


def kept(folder: Path) -> Checkpoint:
    folder.mkdir()
    (folder / "training.json").write_text("{}")
    (folder / "state.pt").write_bytes(b"state")
    return Checkpoint(str(folder), LocalFileSystem())


def test_a_checkpoint_is_copied(tmp_path: Path) -> None:
    fetch(kept(tmp_path / "checkpoint"), tmp_path / "training", perturbs=False)
    assert {file.name for file in (tmp_path / "training").iterdir()} == {"training.json", "state.pt"}


def test_settings_of_another_trial_are_left_out(tmp_path: Path) -> None:
    fetch(kept(tmp_path / "checkpoint"), tmp_path / "training", perturbs=True)
    assert [file.name for file in (tmp_path / "training").iterdir()] == ["state.pt"]


def test_without_its_checkpoint_a_training_begins_again(tmp_path: Path) -> None:
    lost = Checkpoint(str(tmp_path / "lost"), LocalFileSystem())
    fetch(lost, tmp_path / "training", perturbs=False)
    assert not (tmp_path / "training").exists()
    fetch(None, tmp_path / "training", perturbs=False)
    assert not (tmp_path / "training").exists()


def test_weights_that_another_trial_copies_are_never_replaced_by_new_ones(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Path not found"):
        fetch(Checkpoint(str(tmp_path / "lost"), LocalFileSystem()), tmp_path / "training", perturbs=True)
