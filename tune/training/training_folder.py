"""The folder beside a weights file: a record of each epoch, and the state to resume from."""

import filecmp
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, lockf
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from tensorboardX import SummaryWriter

from raysmooth.actors.models.weights import read_weights, save_weights
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.hashing import settings_hash
from raysmooth.storage.atomic_file import atomic_file, leftovers
from raysmooth.storage.records import BadRecord, Record, read_record, shown
from raysmooth.storage.regular_file import open_lock, refuse_unfit

Row = dict[str, float]
"""Metrics of an epoch by name, `epoch` among them."""


@dataclass(frozen=True)
class Saved:
    """A training at the end of an epoch: the trainer's state, and one row per epoch so far."""

    trainer: dict[str, Any]
    rows: list[Row]


class _TrainerState(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)

    epochs_done: Annotated[int, Field(ge=1)]
    steps_done: Annotated[int, Field(ge=0)]
    network: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    sigmas: torch.Tensor | None = None


class _State(BaseModel):
    """The content of state.pt: the trainer's state, and a row for each epoch done."""

    model_config = ConfigDict(strict=True, extra="forbid")

    trainer: _TrainerState
    rows: list[dict[str, int | float]]

    @model_validator(mode="after")
    def _refuse_missing_epochs(self) -> "_State":
        if [row.get("epoch") for row in self.rows] != list(range(1, self.trainer.epochs_done + 1)):
            raise ValueError("its rows are not those of its epochs")
        return self


def folder_of(out: Path) -> Path:
    return out.with_suffix(".training")


def metrics_of(out: Path) -> Path:
    return folder_of(out) / "metrics.csv"


class TrainingFolder:
    """`X.training/` beside the weights file `X.safetensors`, which appears when all epochs are done.

    It holds last.safetensors and best.safetensors (by validation), each with its card; metrics.csv, one row per epoch;
    TensorBoard's events; training.json, the training's identity; and, until it is finished, state.pt to resume from.
    Files appear whole, the state last: an epoch lost to a kill is trained again to the same numbers. Between `open`
    and `close` no other process may train to the same file. `identity` are the JSON values that decide the training;
    `training` is their SHA-256, which is also on the card of the weights.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self.out = out
        self.path = folder_of(out)
        self.training = settings_hash(identity)
        self._identity = identity
        self.metrics = metrics_of(out)
        self._state = self.path / "state.pt"
        self._identity_file = self.path / "training.json"
        self._events: SummaryWriter | None = None

    def open(self, overwrite: bool) -> None:
        """Lock the folder; raises RaysmoothError if it holds another training, unless that may be overwritten."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open_lock(self.path / "lock", "w")
        except OSError as error:
            raise RaysmoothError(
                f"folder {self.path} cannot be written: {error.strerror}: write another --out"
            ) from error
        try:
            lockf(self._lock, LOCK_EX | LOCK_NB)  # not flock, which forked loader workers would keep
        except OSError:
            self._lock.close()
            raise RaysmoothError(
                f"another process is training to {self.out}: wait for it, or write another --out"
            ) from None
        for leftover in (*leftovers(self.path), *leftovers(self.out.parent, self.out.name)):
            leftover.unlink(missing_ok=True)
        other = self._other()
        if other is not None and not overwrite:
            self.close()
            raise RaysmoothError(f"{other}: write another --out, or --overwrite")
        if other is not None:
            for file in self.path.iterdir():
                if file.name != "lock":
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
            self.out.unlink(missing_ok=True)
        _write(self._identity_file, lambda partial: partial.write_text(json.dumps(self._identity, indent=1)))

    def close(self) -> None:
        """Release the folder; remove it if no epoch was finished and it holds no other files."""
        if self._events is not None:
            self._events.close()
        if not (self.path / "last.safetensors").exists():
            for file in (self._identity_file, self.path / "lock"):
                file.unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()
        self._lock.close()

    def finished(self) -> bool:
        """Whether the weights of this training are written."""
        try:
            return self.out.exists() and read_weights(self.out).card.get("training") == self.training
        except RaysmoothError:
            return False  # not a weights file

    def saved(self) -> Saved | None:
        """The state to resume from; None to start. Raises RaysmoothError for a corrupt state file."""
        if not self._state.exists():
            return None
        try:
            refuse_unfit(self._state)
            found = torch.load(self._state, map_location="cpu", weights_only=True)
            _State.model_validate(found)
        except Exception as error:
            raise self.unusable_state() from error
        return Saved(found["trainer"], found["rows"])

    def unusable_state(self) -> RaysmoothError:
        """The refusal of a state that is corrupt, or not of this training."""
        return RaysmoothError(f"{self._state} cannot be read: delete {self.path} to start again")

    def keep(
        self, network: torch.nn.Module, card: Mapping[str, Any], trainer: dict[str, Any], rows: list[Row], best: bool
    ) -> None:
        """Record the last epoch of `rows` and its weights with their `card`; `best` if they are the best so far."""
        card = {**card, "training": self.training}
        save_weights(self.path / "last.safetensors", network, card)
        if best:
            save_weights(self.path / "best.safetensors", network, card)
        _write(self.metrics, lambda partial: pd.DataFrame(rows).to_csv(partial, index=False))
        self._tensorboard(rows[-1])
        _write(self._state, lambda partial: torch.save({"trainer": trainer, "rows": rows}, partial))

    def finish(self, keep: str) -> None:
        """Copy the weights of the `keep` ("last" or "best") epoch to `out`."""
        chosen = self.path / f"{keep}.safetensors"
        there = self.out.exists() and chosen.exists() and filecmp.cmp(chosen, self.out, shallow=False)
        if chosen.exists() and not there:  # else a finished training whose folder was deleted
            _write(self.out, lambda partial: shutil.copyfile(chosen, partial))
        self._state.unlink(missing_ok=True)

    def _tensorboard(self, row: Row) -> None:
        step = int(row["epoch"])
        if self._events is None:
            # Hides an epoch lost to a kill; the suffix keeps a file begun in the same second.
            self._events = SummaryWriter(str(self.path), purge_step=step, filename_suffix=f".{step:06d}")
        for name, value in row.items():
            if name != "epoch":
                self._events.add_scalar(name, value, step)
        self._events.flush()

    def _other(self) -> str | None:
        """A description of another training found here; one without a finished epoch does not count."""
        if not (self._state.exists() or self.out.exists()):
            return None
        if self._identity_file.exists():
            try:
                before = read_record(Record, self._identity_file).model_extra or {}
            except (BadRecord, OSError) as bad:
                return f"the training in {self.path} is unknown: {bad}"
            if differing := _first_difference(before, self._identity):
                return f"{self.path} holds a training with {differing}"
        return f"{self.out} holds other weights" if self.out.exists() and not self.finished() else None


_FOLLOWS = ("best_by", "fingerprint", "fingerprint_of", "images", "held_out")
"""Values on a card that follow from others."""


def _first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """A value that differs, in words: preferably one that a user sets."""
    differing = sorted(_differences(before, now), key=lambda found: found[0] in _FOLLOWS)
    return next((f"{printable(key)} {_short(old)}, not {_short(new)}" for key, old, new in differing), None)


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
    return f"{value:g}" if isinstance(value, float) else shown(value)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with atomic_file(path) as partial:
            write(partial)
    except OSError as error:
        raise RaysmoothError(f"{path} cannot be written: {error.strerror or error}") from error
