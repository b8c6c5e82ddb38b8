"""`raysmooth`, several commands one after another, in a process that cannot import what takes long to load.

python bare_command.py '["certify --help", ...]' '["torch", ...]' prints, as JSON, for each command its exit code,
standard output and standard error; or, in place of the code, the name of the library that it wanted to import.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BLOCKED = (
    "torch", "torchvision", "timm", "ray", "pandas", "pyarrow", "scipy.special", "scipy.stats", "matplotlib",
    "sklearn", "statsmodels",
)  # fmt: skip


class _Wanted(BaseException):
    """An import of one of BLOCKED. No ImportError, which a library may catch and do without."""


class _Refusing:
    def __init__(self, blocked: Sequence[str]) -> None:
        self._blocked = blocked

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in self._blocked:
            raise _Wanted(name)


def outcomes(commands: Sequence[str], blocked: Sequence[str] = BLOCKED) -> list[tuple[int | str, str, str]]:
    """Exit code (or the library that was to be imported), standard output and standard error of each command, in
    another process.
    """
    here = Path(__file__).resolve()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[2]), str(here.parent)])}
    process = subprocess.run(
        [sys.executable, here, json.dumps(commands), json.dumps(blocked)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return [(code, out, err) for code, out, err in json.loads(process.stdout)]


def outcome(command: str) -> tuple[int | str, str, str]:
    from raysmooth.__main__ import main

    sys.argv = ["raysmooth", *command.split()]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except _Wanted as wanted:
            return str(wanted), out.getvalue(), err.getvalue()
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    sys.meta_path.insert(0, _Refusing(json.loads(sys.argv[2])))
    print(json.dumps([outcome(command) for command in json.loads(sys.argv[1])]))
