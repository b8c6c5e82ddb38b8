"""What a training leaves beside its weights file, and what the same command, or another, makes of it."""

import copy
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pandas as pd
import pytest
import torch
from digits_trainings import (
    Stopped,
    classifier_settings,
    denoiser_settings,
    events,
    metrics,
    no_training,
    same_weights,
    stopped_after,
    tensors,
)

from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.recipes.settings import TrainClassifierSettings
from raysmooth.tune.training.train import train_classifier, train_denoiser
from raysmooth.tune.training.training_folder import TrainingFolder


def settings(folder: Path, /, **values: Any) -> TrainClassifierSettings:
    common = {"objective": "gaussian", "sigma": 0.2, "max": 200, "epochs": 3}
    return classifier_settings(folder / "w.safetensors", **(common | values))


def train(folder: Path, /, **values: Any) -> Path:
    return train_classifier(settings(folder, **values), show=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("undisturbed"))


def names(out: Path) -> set[str]:
    return {file.name.partition(".tfevents")[0] for file in out.with_suffix(".training").iterdir()}


LEFT = {"last.safetensors", "best.safetensors", "metrics.csv", "events.out", "training.json", "lock"}


def test_both_weights_metrics_and_events_stay_beside(undisturbed: Path) -> None:
    assert names(undisturbed) == LEFT
    assert sorted(file.name for file in undisturbed.parent.iterdir()) == ["w.safetensors", "w.training"]


def test_csv_events_and_card_agree_on_each_epoch(undisturbed: Path) -> None:
    rows = pd.read_csv(undisturbed.with_suffix(".training") / "metrics.csv")
    assert list(rows.epoch) == [1, 2, 3]
    assert {"loss", "learning_rate", "steps", "images_per_second", "accuracy", "noisy_accuracy"} == {*rows} - {"epoch"}
    in_rows = {(name, int(row.epoch)): row[name] for _, row in rows.iterrows() for name in rows if name != "epoch"}
    assert events(undisturbed) == {key: pytest.approx(value, rel=1e-6) for key, value in in_rows.items()}
    card = read_weights(undisturbed).card
    assert card["epochs_done"] == 3
    assert card["metrics"] == {name: rows[name].iloc[-1] for name in ("accuracy", "noisy_accuracy")}


def test_the_same_command_again_trains_nothing(undisturbed: Path) -> None:
    last = undisturbed.with_suffix(".training") / "last.safetensors"
    before = [(file.stat().st_mtime_ns, file.read_bytes()) for file in (undisturbed, last)]
    with no_training():
        assert train(undisturbed.parent) == undisturbed
    assert [(file.stat().st_mtime_ns, file.read_bytes()) for file in (undisturbed, last)] == before
    assert names(undisturbed) == LEFT


@pytest.mark.parametrize("how", [{"threads": 2}, {"overwrite": True}, {"device": "auto"}])
def test_settings_outside_the_identity_start_no_other_training(undisturbed: Path, how: dict[str, Any]) -> None:
    with no_training():
        train(undisturbed.parent, **how)


def test_the_folder_may_be_tidied_away(tmp_path: Path) -> None:
    out = train(tmp_path, epochs=1)
    before = out.read_bytes()
    for file in out.with_suffix(".training").iterdir():
        file.unlink()
    out.with_suffix(".training").rmdir()
    with no_training():
        train(tmp_path, epochs=1)
    assert out.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]


def test_the_best_epochs_weights_or_the_last_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: Iterator[float] = iter([0.5, 0.9, 0.7, 0.9])
    monkeypatch.setattr("raysmooth.tune.training.classifier_task.noisy_accuracy", lambda *_: next(judged))
    out = train(tmp_path, epochs=4)
    kept = {name: out.with_suffix(".training") / f"{name}.safetensors" for name in ("last", "best")}
    assert [read_weights(kept[name]).card["epochs_done"] for name in ("last", "best")] == [4, 2]
    assert [read_weights(kept[name]).card["metrics"]["noisy_accuracy"] for name in ("last", "best")] == [0.9, 0.9]
    assert not same_weights(kept["last"], kept["best"])
    assert out.read_bytes() == kept["last"].read_bytes()
    with no_training():
        train(tmp_path, epochs=4, keep="best")
        assert out.read_bytes() == kept["best"].read_bytes()
        train(tmp_path, epochs=4)
    assert out.read_bytes() == kept["last"].read_bytes()


def test_the_best_so_far_is_known_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: Iterator[float] = iter([0.9, 0.5, 0.7])
    monkeypatch.setattr("raysmooth.tune.training.classifier_task.noisy_accuracy", lambda *_: next(judged))
    with stopped_after(2):
        train(tmp_path, keep="best")
    card = read_weights(train(tmp_path, keep="best")).card
    assert (card["epochs_done"], card["metrics"]["noisy_accuracy"]) == (1, 0.9)


PHASES = "adam:epochs=2,learning_rate=1e-2; nesterov:epochs=3,learning_rate=1e-2,step_size=2"


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_training_that_was_stopped_goes_on_to_the_same_numbers(
    epochs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the midst of a phase and between two: with Adam's moments, SGD's momentum, and drops of the rate."""
    whole = train(tmp_path / "whole", epochs=None, phases=PHASES)
    with stopped_after(epochs):
        train(tmp_path / "stopped", epochs=None, phases=PHASES)
    out = tmp_path / "stopped/w.safetensors"
    assert not out.exists()
    assert "state.pt" in names(out)
    train_classifier(settings(tmp_path / "stopped", epochs=None, phases=PHASES))
    assert f"digits_cnn gaussian: resumes after epoch {epochs} of 5" in capsys.readouterr().err.splitlines()
    assert same_weights(out, whole)
    pd.testing.assert_frame_equal(metrics(out), metrics(whole), check_exact=True)
    assert read_weights(out).card == read_weights(whole).card
    assert {key for key, _ in events(out).items()} == {key for key, _ in events(whole).items()}
    assert names(out) == LEFT


def tear(monkeypatch: pytest.MonkeyPatch, name: str, time: int) -> Callable[[], None]:
    """Stop where the file is to get its name for the `time`-th time; returns what mends it."""
    replace, seen = os.replace, []

    def stop(source: Any, target: Any) -> None:
        if Path(target).name == name:
            seen.append(target)
            if len(seen) == time:
                raise Stopped
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    return lambda: monkeypatch.setattr(os, "replace", replace)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("last.safetensors", 1),
        ("best.safetensors", 1),
        ("metrics.csv", 1),
        ("state.pt", 1),
        ("last.safetensors", 2),
        ("metrics.csv", 2),
        ("state.pt", 2),
        ("state.pt", 3),
        ("w.safetensors", 1),
    ],
)
def test_stopped_between_any_two_files(
    name: str, time: int, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch that was half written down is trained again, to the same numbers, and reported once."""
    mend = tear(monkeypatch, name, time)
    with pytest.raises(Stopped):
        train(tmp_path)
    mend()
    out = train(tmp_path)
    assert same_weights(out, undisturbed)
    assert same_weights(
        out.with_suffix(".training") / "best.safetensors", undisturbed.with_suffix(".training") / "best.safetensors"
    )
    pd.testing.assert_frame_equal(metrics(out), metrics(undisturbed), check_exact=True)
    speeds = ("images_per_second",)
    found, expected = ({k: v for k, v in events(path).items() if k[0] not in speeds} for path in (out, undisturbed))
    assert found == expected
    assert names(out) == LEFT


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"sigma": 0.3}, "sigma 0.2, not 0.3"),
        ({"objective": "stability"}, 'objective "gaussian", not "stability"'),
        ({"objective": "stability:lambda=1"}, 'objective "gaussian", not "stability"'),
        ({"noise": "uniform"}, 'noise "gaussian", not "uniform"'),
        ({"learning_rate": 0.02}, "learning_rate 0.01, not 0.02"),
        ({"schedule": "cosine"}, 'schedule "step", not "cosine"'),
        (
            {"phases": "adam:epochs=1,learning_rate=1e-2; sgd:epochs=2,learning_rate=1e-2"},
            r"phases \[.*\.\.\., not \[.*",
        ),
        ({"epochs": 4}, "epochs 3, not 4"),
        ({"batch_size": 32}, "batch_size 64, not 32"),
        ({"augment": "none"}, 'augment "shift", not "none"'),
        ({"max": 100}, "max 200, not 100"),
        ({"skip": 2}, "skip 1, not 2"),
        ({"split": "test"}, 'split "train", not "test"'),
        ({"classifier": "digits_cnn:width=8"}, 'architecture "digits_cnn", not "digits_cnn:width=8"'),
        ({"preprocess": "0.5/0.5"}, 'preprocess "none", not "0.5/0.5"'),
        ({"precision": "bfloat16"}, 'precision "float32", not "bfloat16"'),
    ],
)
def test_other_settings_into_the_same_file_are_refused(
    change: dict[str, Any], difference: str, undisturbed: Path
) -> None:
    before = undisturbed.read_bytes()
    again = rf"w\.training holds a training with {difference}: write another --out, or --overwrite$"
    with no_training(), pytest.raises(RaysmoothError, match=again) as refusal:
        train(undisturbed.parent, **change)
    assert "\n" not in str(refusal.value)
    assert undisturbed.read_bytes() == before
    assert names(undisturbed) == LEFT
    with no_training():
        train(undisturbed.parent)


def test_other_settings_do_not_go_on_from_half_a_training(tmp_path: Path) -> None:
    with stopped_after(1):
        train(tmp_path)
    with no_training(), pytest.raises(RaysmoothError, match="holds a training with seed 0, not 1: write another --out"):
        train(tmp_path, seed=1)
    again = train(tmp_path, seed=1, overwrite=True)
    assert same_weights(again, train(tmp_path / "elsewhere", seed=1))
    assert list(metrics(again).epoch) == [1, 2, 3]


def test_overwrite_starts_again_and_leaves_nothing_of_the_other(tmp_path: Path) -> None:
    train(tmp_path, epochs=5)
    again = train(tmp_path, seed=1, overwrite=True)
    alone = train(tmp_path / "elsewhere", seed=1)
    assert same_weights(again, alone)
    pd.testing.assert_frame_equal(metrics(again), metrics(alone), check_exact=True)
    assert events(again).keys() == events(alone).keys()
    assert names(again) == LEFT


def test_overwrite_that_is_refused_for_its_settings_overwrites_nothing(tmp_path: Path) -> None:
    before = train(tmp_path, epochs=1).read_bytes()
    with pytest.raises(RaysmoothError, match="did you mean 'gaussian'"):
        train(tmp_path, epochs=1, objective="gausian", overwrite=True)
    assert (tmp_path / "w.safetensors").read_bytes() == before


@pytest.mark.parametrize("content", ["weights", "no weights"])
def test_weights_that_came_from_elsewhere_are_not_overwritten(content: str, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    out.write_bytes(undisturbed.read_bytes() if content == "weights" else b"no weights at all")
    before = out.read_bytes()
    with (
        no_training(),
        pytest.raises(RaysmoothError, match=r"w\.safetensors holds other weights: write another --out") as no,
    ):
        train(tmp_path, seed=1)
    assert "\n" not in str(no.value)
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]
    assert out.read_bytes() == before
    train(tmp_path, seed=1, overwrite=True)
    assert read_weights(out).card["seed"] == 1


def test_a_corrupt_state_is_refused_in_one_line(tmp_path: Path) -> None:
    with stopped_after(2):
        train(tmp_path)
    state = tmp_path / "w.training/state.pt"
    whole = state.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no state"):
        state.write_bytes(content)
        again = r"state\.pt cannot be read: delete .*w\.training to start again$"
        with no_training(), pytest.raises(RaysmoothError, match=again) as refusal:
            train(tmp_path)
        assert "\n" not in str(refusal.value)
        assert state.read_bytes() == content
        assert "last.safetensors" in names(tmp_path / "w.safetensors")


def test_a_state_of_other_values_is_refused(tmp_path: Path) -> None:
    """Half of it would train on from wrong moments, or end in an error of torch."""
    with stopped_after(2):
        train(tmp_path)
    file = tmp_path / "w.training/state.pt"
    whole = torch.load(file, weights_only=True)
    alterations: list[Callable[[dict[str, Any]], Any]] = [
        lambda state: state["trainer"].update(epochs_done=1),  # two rows
        lambda state: state["trainer"].update(epochs_done=2.0),
        lambda state: state["trainer"].update(steps_done=-1),
        lambda state: state["trainer"].pop("optimizer"),
        lambda state: state["trainer"]["network"].update({"1.7.bias": None}),
        lambda state: state["trainer"]["network"].update({"1.7.bias": torch.zeros(3)}),
        lambda state: state["trainer"]["network"].pop("1.7.bias"),
        lambda state: state["trainer"]["optimizer"].update(state=[]),
        lambda state: state["trainer"]["optimizer"]["state"][0].update(exp_avg=torch.zeros(7)),
        lambda state: state["trainer"]["optimizer"]["state"][0].pop("step"),
        lambda state: state["rows"].pop(),
        lambda state: state["rows"].reverse(),
        lambda state: state["rows"][1].update(loss="low"),
        lambda state: state["rows"][0].pop("noisy_accuracy"),
        lambda state: state.update(more=1),
    ]
    for alter in alterations:
        state = copy.deepcopy(whole)
        alter(state)
        torch.save(state, file)
        with no_training(), pytest.raises(RaysmoothError, match=r"state\.pt cannot be read: delete"):
            train(tmp_path)
    torch.save(whole, file)
    train(tmp_path)
    assert metrics(tmp_path / "w.safetensors")["epoch"].tolist() == [1, 2, 3]


def test_a_state_is_never_code(tmp_path: Path) -> None:
    with stopped_after(1):
        train(tmp_path)
    ran = tmp_path / "ran"

    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(ran),)

    (tmp_path / "w.training/state.pt").write_bytes(pickle.dumps(Code(), protocol=2))
    with pytest.raises(RaysmoothError, match="cannot be read"):
        train(tmp_path)
    assert not ran.exists()


def test_files_of_a_killed_writer_are_ignored(undisturbed: Path, tmp_path: Path) -> None:
    with stopped_after(2):
        train(tmp_path)
    folder = tmp_path / "w.training"
    for name in ("state.pt", "last.safetensors", "best.safetensors", "metrics.csv"):
        (folder / f".{name}.999999.part").write_bytes((folder / name).read_bytes()[:100])
    (tmp_path / ".w.safetensors.999999.part").write_bytes(b"half")
    out = train(tmp_path)
    assert same_weights(out, undisturbed)
    pd.testing.assert_frame_equal(metrics(out), metrics(undisturbed), check_exact=True)


@pytest.mark.parametrize("values", [{"learning_rate": 1e20}, {"batch_size": 1, "learning_rate": 1e30}])
def test_a_first_epoch_that_diverges_leaves_nothing(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        RaysmoothError, match=r"^digits_cnn gaussian: .* at step .*\(epoch 1, learning rate .*write a smaller"
    ):
        train(tmp_path, **values)
    assert not list(tmp_path.iterdir())


def test_a_later_epoch_that_diverges_leaves_those_before(tmp_path: Path) -> None:
    phases = "adam:epochs=2,learning_rate=1e-2; sgd:epochs=1,learning_rate=1e20"
    with pytest.raises(RaysmoothError, match=r"\(epoch 3, learning rate 1e\+20\)"):
        train(tmp_path, epochs=None, phases=phases)
    assert list(metrics(tmp_path / "w.safetensors").epoch) == [1, 2]
    assert not (tmp_path / "w.safetensors").exists()
    assert all(tensor.isfinite().all() for tensor in tensors(tmp_path / "w.training/last.safetensors").values())


def test_a_users_own_folder_of_that_name_is_not_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "w.training").mkdir()
    (tmp_path / "w.training/notes.txt").write_text("mine")
    with pytest.raises(RaysmoothError, match="write a smaller rate"):
        train(tmp_path, learning_rate=1e20)
    assert [file.name for file in (tmp_path / "w.training").iterdir()] == ["notes.txt"]


@pytest.mark.processes
def test_one_process_at_a_time(undisturbed: Path, tmp_path: Path) -> None:
    with stopped_after(1):
        train(tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "w.training").iterdir()}
    hold = f"import fcntl; f = open({str(tmp_path / 'w.training/lock')!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX)"
    command = [sys.executable, "-c", f"{hold}; print('held', flush=True); input()"]
    with Popen(command, stdin=PIPE, stdout=PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for change in ({}, {"seed": 1, "overwrite": True}):
            with (
                no_training(),
                pytest.raises(RaysmoothError, match=r"another process is training to .*w\.safetensors: wait for it"),
            ):
                train(tmp_path, **change)
            assert {file: file.read_bytes() for file in (tmp_path / "w.training").iterdir()} == before
        other.kill()
    assert same_weights(train(tmp_path), undisturbed)


def test_what_a_kill_left_half_written_is_swept(undisturbed: Path, tmp_path: Path) -> None:
    with stopped_after(1):
        train(tmp_path)
    litter = [tmp_path / ".w.safetensors.77.part", tmp_path / "w.training/.state.pt.77.part"]
    for file in litter:
        file.write_bytes(b"half")
    assert same_weights(train(tmp_path), undisturbed)
    assert not any(file.exists() for file in litter)


def test_objectives_that_mean_the_same_are_the_same_training(tmp_path: Path) -> None:
    out = train(tmp_path, objective="stability", epochs=1)
    for written in ("stability:lambda=2", "stability:lambda=2.0"):
        with no_training():
            assert train(tmp_path, objective=written, epochs=1) == out


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "w.training").write_text("a file")
    with pytest.raises(
        RaysmoothError, match=r"^folder .*w\.training cannot be written: File exists: write another --out$"
    ):
        train(tmp_path)


def test_a_denoiser_is_kept_by_its_accuracy_behind_the_classifier_else_by_psnr(
    undisturbed: Path, tmp_path: Path
) -> None:
    for behind, by in ((undisturbed, "denoised_accuracy"), (None, "psnr")):
        out = train_denoiser(denoiser_settings(tmp_path / f"{by}.safetensors", behind, epochs=4, max=200), show=False)
        rows = metrics(out)
        best = read_weights(out.with_suffix(".training") / "best.safetensors").card
        assert best["best_by"] == by
        assert best["epochs_done"] == rows.epoch[rows[by].idxmax()]


def test_a_lock_that_is_a_link_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    folder = TrainingFolder(tmp_path / "w.safetensors", {"seed": 0})
    folder.path.mkdir()
    lock = folder.path / "lock"
    for make in (lambda: lock.symlink_to("../precious"), lambda: os.mkfifo(lock)):
        make()
        with pytest.raises(RaysmoothError, match=r"^folder .*w\.training cannot be written: .*: write another --out$"):
            folder.open(overwrite=False)
        lock.unlink()
    assert (tmp_path / "precious").read_text() == "mine"
