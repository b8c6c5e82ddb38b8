"""The folder beside trained weights, that of a sweep, and the notes of an experiment's stages."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import torch

from fuzz.case import Kind, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.kinds.settings_files import EXPERIMENT, SWEEP, _dumped
from fuzz.kinds.weights_files import CLASSIFIER, _evil, build_weights
from fuzz.values import altered_tree, json_text, odd_value
from raysmooth.common.settings import checked
from raysmooth.tune.recipes.settings import TrainClassifierSettings
from raysmooth.tune.sweeps.folder import refuse_other_sweep
from raysmooth.tune.sweeps.settings import SweepSettings
from raysmooth.tune.training.train import train_classifier
from raysmooth.tune.training.trainer import Trainer

OUT = Path("t.safetensors")
FOLDER = OUT.with_suffix(".training")
VALUES = {
    "dataset": "digits",
    "classifier": CLASSIFIER,
    "epochs": 3,
    "max": 40,
    "out": str(OUT),
    "device": "cpu",
    "threads": 1,
}
REQUEST = ["train", "classifier", *(part for name, value in VALUES.items() for part in (f"--{name}", str(value)))]


class _Stop(BaseException):
    pass


def build_training() -> None:
    """A training stopped after an epoch, a sweep and an experiment that have begun."""
    build_weights()
    train_epoch = Trainer.train_epoch

    def stop(self: Trainer, *arguments: Any) -> Any:
        if self.epochs_done == 1:
            raise _Stop
        return train_epoch(self, *arguments)

    with mock.patch.object(Trainer, "train_epoch", stop), suppress(_Stop):
        train_classifier(checked(TrainClassifierSettings, VALUES), show=False)
    sweep = checked(SweepSettings, SWEEP)
    Path("sweep.yaml").write_text(_dumped(dict(SWEEP)))
    refuse_other_sweep(Path(sweep.out), sweep)
    Path("experiment.yaml").write_text(_dumped(dict(EXPERIMENT)))
    notes = Path("out/stages")
    notes.mkdir(parents=True)
    result = {
        "digest": "0",
        "weights": "w",
        "architecture": CLASSIFIER,
        "folder": None,
        "rows_in": None,
        "runs": {},
        "files": {},
    }
    (notes / "net.json").write_text(json.dumps({"hash": "0", "settings": {}, "result": result}))


def play_training(rng: Random) -> Play:
    return rng.choice(_PLAYS)(rng)


def _identity(rng: Random) -> Play:
    file = FOLDER / "training.json"
    before = json.loads(file.read_text())
    altered, what = altered_tree(rng, before)
    text, how = json_text(rng, altered)
    file.write_bytes(text)
    return Play(f"training.json: {what} {how}", REQUEST)


def _state(rng: Random) -> Play:
    """The state, with one value altered."""
    file = FOLDER / "state.pt"
    state = torch.load(file, weights_only=True)
    altered, what = altered_tree(rng, state, rng.choice(((), ("trainer",), ("rows",))))
    torch.save(altered, file)
    return Play(f"state.pt: {what}", REQUEST)


def _evil_state(rng: Random) -> Play:
    file = FOLDER / "state.pt"
    content = torch.load(file, weights_only=True)
    torch.save({"state_dict": content}, file)
    altered, expected = _evil(rng, file)
    return Play(f"state.pt: {altered}", REQUEST, expected)


def _bytes(rng: Random) -> Play:
    file = rng.choice(sorted(file for file in FOLDER.iterdir() if file.is_file()))
    return Play(damage(rng, file, OUT.name.encode()), REQUEST)


def _other(rng: Random) -> Play:
    file = rng.choice([*sorted(FOLDER.iterdir()), OUT])
    if not file.exists():
        file.write_bytes(b"")
    return Play(replaced_by_other(rng, file), REQUEST)


def _sweep(rng: Random) -> Play:
    (file,) = [file for file in Path("sweep").iterdir() if file.suffix == ".json"]
    altered, what = altered_tree(rng, json.loads(file.read_text()))
    text, how = json_text(rng, altered)
    file.write_bytes(text)
    if rng.random() < 0.2:
        what = replaced_by_other(rng, file)
    return Play(f"sweep.json: {what} {how}", ["sweep", "sweep.yaml"])


def _note(rng: Random) -> Play:
    file = Path("out/stages/net.json")
    altered, what = altered_tree(rng, json.loads(file.read_text()))
    text, how = json_text(rng, altered)
    file.write_bytes(text)
    if rng.random() < 0.2:
        what = replaced_by_other(rng, file)
    only = rng.choice(([], ["--only", "report"], ["--only", "certify"]))
    return Play(f"note of a stage: {what} {how}", ["run", "experiment.yaml", *only])


def _ensemble(rng: Random) -> Play:
    """A sweep's folder as surrogates."""
    weights = Path("sweep/weights")
    weights.mkdir()
    names = rng.choice((("a",), ("a", "b"), ("a\nFORGED",), ("\x1b[31m",), ()))
    for name in names:
        (weights / f"{name}.safetensors").write_bytes(Path("w.safetensors").read_bytes())
    trials = Path("sweep/trials")
    if rng.random() < 0.5:
        trials.write_bytes(json_text(rng, odd_value(rng))[0])
    text = rng.choice(
        ("sweep", "sweep:1", "sweep:0", "sweep:-1", f"sweep:{10**30}", "sweep:x", "sweep:", "sweep,sweep")
    )
    train = [
        "train", "denoiser", "--dataset", "digits", "--max", "40", "--denoiser", "dncnn:channels=1,depth=3,width=2",
        "--objective",
        "clf", "--recipe", "digits-mse", "--sigma", "0.25", "--out", "d2.safetensors", "--device", "cpu",
        "--surrogates", text,
    ]  # fmt: skip
    return Play(f"surrogates {text}, of {names!a}", train)


_PLAYS: tuple[Callable[[Random], Play], ...] = (
    _identity,
    _identity,
    _state,
    _state,
    _evil_state,
    _bytes,
    _other,
    _sweep,
    _note,
    _ensemble,
)

TRAININGS = Kind("folders of trainings, sweeps and stages", build_training, play_training)
