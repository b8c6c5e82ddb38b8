"""What a training leaves beside its weights file, epoch by epoch, so that it can be watched and continued."""

import filecmp
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, lockf
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tensorboardX import SummaryWriter

from raysmooth.actors.models.weights import read_weights, save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.tune.training.card import identity

Row = dict[str, float]
"""Metrics of an epoch by name, `epoch` among them."""


@dataclass(frozen=True)
class Saved:
    """Where a training stood at the end of an epoch: the trainer's state, and a row for each epoch so far."""

    trainer: dict[str, Any]
    rows: list[Row]


def folder_of(out: Path) -> Path:
    return out.with_suffix(".training")


def metrics_of(out: Path) -> Path:
    return folder_of(out) / "metrics.csv"


class TrainingFolder:
    """`X.training/` beside the weights file `X.safetensors`, which appears when all epochs are done.

    last.safetensors, best.safetensors (by validation), each with its card; metrics.csv, a row an epoch; TensorBoard's
    events; training.json, what decides the training; and, until it is done, state.pt to continue from. Each file is
    written whole or not at all; the state last, so that whatever is torn away is trained again to the same numbers.
    Between `open` and `close` no other process may train to the same file. `decisive` are the JSON values that decide
    the training; `training`, their hash, stands on the card of its weights.
    """

    def __init__(self, out: Path, decisive: Mapping[str, Any]) -> None:
        self.out = out
        self.path = folder_of(out)
        self.training = identity(decisive)
        self._decisive = decisive
        self.metrics = metrics_of(out)
        self._state = self.path / "state.pt"
        self._told = self.path / "training.json"
        self._events: SummaryWriter | None = None

    def open(self, overwrite: bool) -> None:
        """Take the folder; raises RaysmoothError where another training is, or was, unless it may be overwritten."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("w")
        except OSError as error:
            raise RaysmoothError(
                f"folder {self.path} cannot be written: {error.strerror}: write another --out"
            ) from error
        try:
            lockf(self._lock, LOCK_EX | LOCK_NB)  # not flock, which forked loader processes would hold on
        except OSError:
            self._lock.close()
            raise RaysmoothError(
                f"another process is training to {self.out}: write another --out, or wait for it"
            ) from None
        for litter in (*self.path.glob(".*.part"), *self.out.parent.glob(f".{self.out.name}.*.part")):
            litter.unlink(missing_ok=True)  # what a kill left half written
        other = self._other()
        if other is not None and not overwrite:
            self.close()
            raise RaysmoothError(f"{other}: write another --out, or --overwrite")
        if other is not None:
            for file in self.path.iterdir():
                if file.name != "lock":
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
            self.out.unlink(missing_ok=True)
        _write(self._told, lambda partial: partial.write_text(json.dumps(self._decisive, indent=1)))

    def close(self) -> None:
        """Let go of the folder, which goes too if no epoch was finished in it and nobody else's files are there."""
        if self._events is not None:
            self._events.close()
        if not (self.path / "last.safetensors").exists():
            for file in (self._told, self.path / "lock"):
                file.unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()
        self._lock.close()

    def finished(self) -> bool:
        """Whether this very training has already given its weights."""
        try:
            return self.out.exists() and read_weights(self.out).card.get("training") == self.training
        except RaysmoothError:
            return False  # no weights at all

    def saved(self) -> Saved | None:
        """Where this training stood when it was stopped; None to begin. Raises RaysmoothError for a state that is torn."""
        if not self._state.exists():
            return None
        try:
            found = torch.load(self._state, map_location="cpu", weights_only=True)
            return Saved(found["trainer"], found["rows"])
        except Exception as error:
            raise RaysmoothError(f"{self._state} cannot be read: delete {self.path} to begin again") from error

    def keep(
        self, network: torch.nn.Module, card: Mapping[str, Any], trainer: dict[str, Any], rows: list[Row], best: bool
    ) -> None:
        """Write down the epoch that `rows` ends with, and the card of its weights, which are the best so far or not."""
        told = {**card, "training": self.training}
        save_weights(self.path / "last.safetensors", network, told)
        if best:
            save_weights(self.path / "best.safetensors", network, told)
        _write(self.metrics, lambda partial: pd.DataFrame(rows).to_csv(partial, index=False))
        self._tensorboard(rows[-1])
        _write(self._state, lambda partial: torch.save({"trainer": trainer, "rows": rows}, partial))

    def finish(self, keep: str) -> None:
        """Make the weights of the `keep` ("last" or "best") epoch those of the training."""
        chosen = self.path / f"{keep}.safetensors"
        there = self.out.exists() and chosen.exists() and filecmp.cmp(chosen, self.out, shallow=False)
        if chosen.exists() and not there:  # else somebody tidied up after an earlier end
            _write(self.out, lambda partial: shutil.copyfile(chosen, partial))
        self._state.unlink(missing_ok=True)

    def _tensorboard(self, row: Row) -> None:
        step = int(row["epoch"])
        if self._events is None:
            # Hides an epoch that was torn away; the suffix keeps a file that was begun in the same second.
            self._events = SummaryWriter(str(self.path), purge_step=step, filename_suffix=f".{step:06d}")
        for name, value in row.items():
            if name != "epoch":
                self._events.add_scalar(name, value, step)
        self._events.flush()

    def _other(self) -> str | None:
        """What is here that is not this training's, in words; epochs that nobody finished are no loss."""
        if not (self._state.exists() or self.out.exists()):
            return None
        if self._told.exists():
            before = json.loads(self._told.read_text())
            if differing := _first_difference(before, self._decisive):
                return f"{self.path} holds a training with {differing}"
        return f"{self.out} holds other weights" if self.out.exists() and not self.finished() else None


_FOLLOWS = ("best_by", "fingerprint", "fingerprint_of", "images", "held_out")
"""What is on a card because of other values on it."""


def _first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Words for a value that differs, rather one that a user sets than one that follows from it."""
    differing = sorted(_differences(before, now), key=lambda found: found[0] in _FOLLOWS)
    return next((f"{key} {_short(old)}, not {_short(new)}" for key, old, new in differing), None)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted({*before, *now}):
        old: Any = before.get(key)
        new: Any = now.get(key)
        if old == new:
            continue
        lists = isinstance(old, list) and isinstance(new, list) and len(old) == len(new)
        pairs = list(zip(old, new, strict=True)) if lists else [(old, new)]  # such as a recipe's phases
        if all(isinstance(value, dict) for pair in pairs for value in pair):
            for one, other in pairs:
                yield from _differences(one, other)
        else:
            yield key, old, new


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _write(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with atomic_file(path) as partial:
            write(partial)
    except OSError as error:
        raise RaysmoothError(f"{path} cannot be written: {error.strerror or error}") from error
