"""`raysmooth`, several commands one after another, in a process that cannot import what takes long to load.

python bare_command.py '["certify --help", ...]' prints, as JSON, for each command its exit code, standard output and
standard error; or, in place of the code, the name of the library that it wanted to import.
"""

import contextlib
import io
import json
import sys
from typing import Any

BLOCKED = (
    "torch", "torchvision", "timm", "ray", "pandas", "pyarrow", "scipy.special", "scipy.stats", "matplotlib",
    "sklearn", "statsmodels",
)  # fmt: skip


class _Wanted(BaseException):
    """An import of one of BLOCKED. No ImportError, which a library may catch and do without."""


class _Refusing:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in BLOCKED:
            raise _Wanted(name)


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
    sys.meta_path.insert(0, _Refusing())
    print(json.dumps([outcome(command) for command in json.loads(sys.argv[1])]))
