"""The command line, in this process."""

import atexit
import gc
from collections.abc import Mapping
from pathlib import Path

import pytest

from raysmooth.__main__ import main


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `raysmooth ARGUMENTS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["raysmooth", *arguments])
        try:
            main()
            code = 0
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    atexit.unregister(gc.freeze)  # this process does not end with the command
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which `raysmooth ARGUMENTS` refuses, without the prefix "raysmooth: ".

    Fails unless the exit code is 2, standard output is empty and standard error is that line.
    """
    code, out, err = command(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("raysmooth: "), err
    return err.removeprefix("raysmooth: ").rstrip("\n")


def refused_without_trace(
    capsys: pytest.CaptureFixture[str], name: str, out: Path, settings: Mapping[str, object]
) -> str:
    """The line with which the command `name` refuses `settings`; fails if it leaves something at its --out."""
    line = refused(capsys, name, *flags({**settings, "out": out}))
    assert not out.exists()
    return line


def flags(settings: Mapping[str, object]) -> list[str]:
    """Settings as flags: {"max": 4} as ["--max", "4"]; None leaves a flag out."""
    return [part for name, value in settings.items() if value is not None for part in (f"--{name}", str(value))]
