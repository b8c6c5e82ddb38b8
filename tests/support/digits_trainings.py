"""Trainings on the digits that can be stopped, and what they leave."""

import os
import signal
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from base_classifiers import Linear
from preloaded import PreloadedCommand
from tensorboardX.proto.event_pb2 import Event, SessionLog

from raysmooth.actors.models.weights import read_weights
from raysmooth.tune.recipes.settings import TrainClassifierSettings, TrainDenoiserSettings, TrainRejectorSettings
from raysmooth.tune.training.train import train_classifier, train_denoiser
from raysmooth.tune.training.trainer import Trainer

DENOISER = "dncnn:channels=1,depth=3,width=8"
COMMON = {"dataset": "digits", "threads": 1, "device": "cpu", "precision": "float32", "trust_code": True}


class Stopped(BaseException):
    """Like Ctrl-C, but raised by these tests alone."""


def classifier_settings(path: Path, /, **values: Any) -> TrainClassifierSettings:
    common = COMMON | {"classifier": "digits_cnn", "epochs": 4, "out": str(path)}
    return TrainClassifierSettings.model_validate(common | values)


def denoiser_settings(path: Path, behind: Path | None, /, **values: Any) -> TrainDenoiserSettings:
    common: dict[str, Any] = COMMON | {"denoiser": DENOISER, "objective": "mse", "sigma": 0.4}
    common |= {"epochs": 2, "out": str(path)}
    if behind is not None:
        common |= {"classifier": "digits_cnn", "classifier_weights": str(behind)}
    return TrainDenoiserSettings.model_validate(common | values)


def rejector_settings(path: Path, classifier: Path, denoiser: Path, /, **values: Any) -> TrainRejectorSettings:
    common: dict[str, Any] = COMMON | {"rejector": "network:width=8,depth=10", "objective": "disagreement:T=4"}
    common |= {"sigma": 0.4, "epochs": 3, "out": str(path), "denoiser": "dncnn", "denoiser_weights": str(denoiser)}
    common |= {"classifier": "digits_cnn", "classifier_weights": str(classifier)}
    return TrainRejectorSettings.model_validate(common | values)


@cache
def trained_classifier(base: Path) -> Path:
    """Weights of a classifier, trained once in a session, whose temporary files are below `base`. Tests leave them as
    they are.
    """
    return train_classifier(classifier_settings(base / "trained-classifier" / "w.safetensors"), show=False)


@cache
def trained_mse(base: Path) -> Path:
    """Weights of a denoiser for it, likewise."""
    out = base / "trained-mse" / "w.safetensors"
    return train_denoiser(denoiser_settings(out, trained_classifier(base), epochs=4), show=False)


def killed_once(kind: str, folder: Path, flags: Mapping[str, str]) -> tuple[Path, str]:
    """Train on 60 digits for three epochs, with a classifier that kills its process once, when an epoch is done; then
    the same command again. The weights, and what the second process printed to stderr.
    """
    out, flag = folder / "killed.safetensors", folder / "flag"
    given = {**killed_settings(folder), **flags, "out": str(out)}
    command = ["train", kind, *(part for name, value in given.items() for part in (f"--{name}", value))]
    flag.touch()
    killed = PreloadedCommand(command, os.environ, folder)
    assert killed.wait(500) == -signal.SIGKILL
    assert len(metrics(out)) == 1
    assert not out.exists()
    again = PreloadedCommand(command, os.environ, folder)
    _, err = again.communicate(timeout=500)
    assert again.returncode == 0, err
    assert "resumes after epoch 1 of 3" in err
    return out, err


def killed_settings(folder: Path) -> dict[str, str]:
    """The flags of `killed_once`, for a training that is not killed any more."""
    classifier = f"digits_trainings:DiesOnce:flag={folder / 'flag'},out={folder / 'killed.safetensors'}"
    common = {"dataset": "digits", "threads": "1", "device": "cpu", "precision": "float32"}
    return {**common, "max": "60", "epochs": "3", "classifier": classifier}


class DiesOnce(Linear):
    """Kills its process, once in all, if the file `flag` exists and the training to `out` has finished an epoch."""

    def __init__(self, out: str, flag: str) -> None:
        super().__init__()
        self.state = Path(out).with_suffix(".training") / "state.pt"
        self.flag = Path(flag)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if self.state.exists():
            with suppress(FileNotFoundError):
                self.flag.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(batch)


@contextmanager
def stopped_after(epochs: int) -> Iterator[None]:
    """Stops a training within once `epochs` epochs are done."""
    train_epoch = Trainer.train_epoch

    def stop(self: Trainer, *arguments: Any) -> Any:
        if self.epochs_done == epochs:
            raise Stopped
        return train_epoch(self, *arguments)

    stopped = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", stop)
        try:
            yield
        except Stopped:
            stopped = True
    assert stopped


@contextmanager
def no_training() -> Iterator[None]:
    """A training within is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("an epoch was trained")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", refuse)
        yield


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return read_weights(path).state_dict


def same_weights(one: Path, other: Path) -> bool:
    """Whether two files hold equal tensors, to the last bit."""
    first, second = tensors(one), tensors(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def metrics(out: Path) -> pd.DataFrame:
    """metrics.csv beside a weights file, without the speed."""
    rows = pd.read_csv(out.with_suffix(".training") / "metrics.csv")
    return rows.drop(columns="images_per_second")


def events(out: Path) -> dict[tuple[str, int], float]:
    """The scalars that TensorBoard shows of the training beside a weights file, by (name, step).

    Read as TensorBoard does: files by name; the start of a session hides everything from its step on.
    """
    shown: dict[tuple[str, int], float] = {}
    for file in sorted(out.with_suffix(".training").glob("events.*")):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.session_log.status == SessionLog.START:
                shown = {(name, step): value for (name, step), value in shown.items() if step < event.step}
            for value in event.summary.value:
                assert (value.tag, event.step) not in shown
                shown[value.tag, event.step] = value.simple_value
    return shown
