"""Runs one case in this process, without Ray."""

import atexit
import gc
import io
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from unittest import mock

from fuzz.case import Attempt, Defect, Kind, Play, Request
from fuzz.oracle import Ended, judge
from fuzz.sandbox import watched
from raysmooth.common.errors import RaysmoothError

PLAYED = "played"
"""A file beside the case's folder that says what is done: for a case that hangs."""

TEMPORARY = "temporary"
"""A folder beside the case's, for temporary files."""

_STARTS = (
    "raysmooth.pipeline.drawing.driver.connected",
    "raysmooth.tune.experiments.experiment.connected",
    "raysmooth.tune.sweeps.sweep.connected",
    "raysmooth.tune.training.train.on_workers",
    "raysmooth.tune.training.trainer.Trainer.train_epoch",
    "ray.init",
)
"""Where commands begin what no case needs: Ray, or an epoch."""


_FIGURES = tuple(
    f"raysmooth.pipeline.pictures.{name}"
    for name in ("show.plot_image", "show.save_figure", "gallery.plot_gallery", "gallery.save_figure")
)
"""What draws figures, which takes most of the time of its commands."""


class Accepted(BaseException):
    """Raised where a command would start Ray or train an epoch: everything before that was accepted."""


def build(kind: Kind, folder: Path) -> None:
    """The valid inputs of a kind, in a new folder."""
    folder.mkdir(parents=True)
    with _inside(folder):
        kind.build()


def attempt(name: str, kind: Kind, number: int, seed: int, inputs: Path, work: Path) -> Attempt:
    """Case `number` of a kind, on a copy of `inputs` below `work`. The copy stays there until the next case."""
    folder = work / "case"
    _remove(folder)
    shutil.copytree(inputs, folder, symlinks=True)
    _remove(work / TEMPORARY)
    (work / TEMPORARY).mkdir(parents=True)
    tempfile.tempdir = str(work / TEMPORARY)  # of this process
    (work / "outside").mkdir(exist_ok=True)
    (work / "outside" / "secret").write_text("{}")
    rng = Random(f"{seed}/{name}/{number}")
    with _inside(folder):
        with warnings.catch_warnings(action="ignore"):  # libraries' warnings of what is altered on purpose
            play = kind.play(rng)
        request = (
            " ".join(map(ascii, play.request)) if isinstance(play.request, Sequence) else play.request.__doc__ or ""
        )
        (work / PLAYED).write_text(f"{play.altered}\n{request}", errors="backslashreplace")
        began = time.monotonic()
        ended = _ended(play, folder)
        outcome, detail = judge(play, ended)
    return Attempt(name, number, play.altered, request, outcome, detail, time.monotonic() - began, folder)


def _ended(play: Play, folder: Path) -> Ended:
    code: int | None
    with (
        _captured() as (out, err),
        _without_ray(),
        watched(folder, folder.parent / TEMPORARY) as seen,
        warnings.catch_warnings(),
    ):
        message, defect = "", None
        try:
            code = _asked(play.request)
        except Accepted:
            code = 0
        except RaysmoothError as refusal:
            code, message = 2, str(refusal)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else None
        except Defect as found:
            code, message, defect = None, str(found), found.outcome
        except BaseException:  # all others are defects, KeyboardInterrupt among them
            code, message = None, traceback.format_exc()[-4000:]
    return Ended(code, out(), err(), message, tuple(seen), defect)


def _asked(request: Request) -> int:
    if callable(request):
        request()
        return 0
    from raysmooth.__main__ import main

    with mock.patch.object(sys, "argv", ["raysmooth", *request]):
        try:
            main()
        finally:
            atexit.unregister(gc.freeze)  # this process does not end with the command
            gc.enable()
    return 0


@contextmanager
def _without_ray() -> Iterator[None]:
    """Within, Ray is not started, no epoch is trained, nothing is fetched, and no figure is drawn."""

    def accept(*_: object, **__: object) -> None:
        raise Accepted

    def refuse(*_: object, **__: object) -> None:
        raise RaysmoothError("there is no network in this test")

    with ExitStack() as patches:
        for place in _STARTS:
            patches.enter_context(mock.patch(place, accept))
        patches.enter_context(mock.patch("raysmooth.storage.store_urls.open_store", refuse))
        patches.enter_context(mock.patch("raysmooth.tune.sweeps.sweep.will_be_local", return_value=True))
        patches.enter_context(mock.patch("raysmooth.pipeline.report.report.FIGURES", {}))
        for place in _FIGURES:
            patches.enter_context(mock.patch(place))
        yield


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _captured() -> "Iterator[tuple[object, object]]":
    """Functions that return what was written within to standard output and error; both are encoded as in a terminal."""
    texts = {}
    kept = sys.stdout, sys.stderr
    for name, errors in (("stdout", "strict"), ("stderr", "backslashreplace")):
        texts[name] = io.TextIOWrapper(io.BytesIO(), "utf-8", errors, newline="", write_through=True)
        setattr(sys, name, texts[name])

    def content(name: str) -> str:
        return texts[name].buffer.getvalue().decode()

    try:
        yield (lambda: content("stdout")), (lambda: content("stderr"))
    finally:
        sys.stdout, sys.stderr = kept


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
