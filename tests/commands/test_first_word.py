"""What prints text alone imports no library that takes long to load: its first word comes at once."""

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY, SUPPORT

COMMANDS = (
    "certify", "predict", "list", "run", "demo", "show", "gallery", "recertify", "report", "import", "status", "submit",
    "sweep", "train classifier", "train denoiser",
)  # fmt: skip


def outcomes(commands: list[str]) -> list[tuple[int | str, str, str]]:
    """Exit code (or the library that was to be imported), standard output and standard error of each command."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(SUPPORT)])}
    process = subprocess.run(
        [sys.executable, SUPPORT / "bare_command.py", json.dumps(commands)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return [(code, out, err) for code, out, err in json.loads(process.stdout)]


@pytest.mark.processes
def test_help_is_printed_without_large_imports() -> None:
    commands = ["--help", *(f"{command} --help" for command in COMMANDS)]
    for command, (code, out, _) in zip(commands, outcomes(commands), strict=True):
        assert code == 0, command
        assert "Usage: " in out, command


@pytest.mark.processes
def test_refusals_of_flags_need_no_large_imports() -> None:
    reasons = {
        "certify --dataset digits --sigma x": "--sigma x: input should be a valid number",
        "certify --dataset digits --classifier digits_cnn": "--sigma is missing",
        "certify --dataset digits --classifier digits_cnn --noise nope:1": "unknown noise family 'nope'",
        "train denoiser --dataset digits --epochs 0": "--epochs 0: input should be greater than or equal to 1",
    }
    for (command, reason), (code, out, err) in zip(reasons.items(), outcomes([*reasons]), strict=True):
        assert (code, out) == (2, ""), command
        assert err.startswith("raysmooth: "), command
        assert reason in err, command


def test_help_is_tried_for_every_command() -> None:
    from raysmooth.commands.app import app, train

    names = {one.name for one in app.registered_commands}
    names |= {f"train {one.name}" for one in train.registered_commands}
    assert names == set(COMMANDS)
