"""`raysmooth` in a real process of its own that starts in a moment: the fork of one that has loaded the modules.

Loading torch, Ray and pandas costs each command three seconds of computing. What a test kills, signals or reads here is
a process like any other; only its modules are loaded already.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["preloaded_modules"])


class PreloadedCommand:
    """`raysmooth ARGUMENTS` in a process and a session of its own, with the methods of `subprocess.Popen` that tests
    use. What it prints goes to files.
    """

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._printed = tempfile.TemporaryDirectory(prefix="printed-")
        process = _context.Process(target=_run, args=(list(arguments), dict(env), str(cwd), self._printed.name))
        process.start()
        assert process.pid is not None
        self._process, self.pid = process, process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("raysmooth", timeout or 0.0)
        return self._process.exitcode

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def errors(self) -> str:
        """Standard error so far."""
        return (Path(self._printed.name) / "err").read_text()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Standard output and standard error, once it has ended."""
        self.wait(timeout)
        return (Path(self._printed.name) / "out").read_text(), self.errors


def _run(arguments: list[str], env: dict[str, str], cwd: str, printed: str) -> None:
    os.setsid()
    for descriptor, name in ((1, "out"), (2, "err")):
        with open(os.path.join(printed, name), "wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["raysmooth", *arguments]
    code = 1
    try:
        from raysmooth.__main__ import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
