"""Ray's worker processes, each a real one of its own, that start in a moment: forks of one that has loaded the modules.

Loading torch costs each worker some four seconds of computing, and the tests start hundreds. Ray starts a worker by a
command, PYTHON [setup_worker.py] default_worker.py FLAGS; here PYTHON is a launcher, which hands the command, its
environment and its open files to a fork server, and lives as long as the fork. Workers that need another Python or a
shell start in the ordinary way.
"""

import argparse
import json
import os
import random
import runpy
import selectors
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

_MOST_BYTES = 1 << 17
"""Of a request: command and environment of a worker."""

_SETUP = argparse.ArgumentParser()
"""As of setup_worker.py."""
_SETUP.add_argument("--serialized-runtime-env-context")
_SETUP.add_argument("--language")

_PRELOADED = (
    "pandas", "pyarrow.parquet", "scipy.stats", "torch", "raysmooth.actors.queries.query_replica",
    "raysmooth.actors.replica.replica", "raysmooth.tune.training.trainer",
)  # fmt: skip

_ELSEWHERE = b"elsewhere"
"""The answer to a request that the server does not take."""

_LAUNCHER = """#!{python} -ISE
import json, os, socket, sys
def start_in_the_ordinary_way():
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
if len(sys.argv) < 3 or not sys.argv[1].endswith(("/setup_worker.py", "/default_worker.py")):
    start_in_the_ordinary_way()
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    request = json.dumps(dict(arguments=sys.argv[1:], environment=dict(os.environ), folder=os.getcwd()))
    socket.send_fds(server, [request.encode()], [0, 1, 2])
    answer = server.recv(64)
if answer == {elsewhere!r}:
    start_in_the_ordinary_way()
os._exit(int(answer or 1))
"""


@contextmanager
def preloaded_workers() -> Iterator[str]:
    """The launcher's path. A Ray that starts while `sys.executable` is this path starts its workers so."""
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        address, launcher = str(Path(folder, "server")), Path(folder, "python")
        launcher.write_text(_LAUNCHER.format(python=sys.executable, address=address, elsewhere=_ELSEWHERE))
        launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
        command = [sys.executable, __file__, address]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a fork has no threads
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield str(launcher)
            server.stdin.close()  # which ends it


def serve(address: str) -> None:
    """Start workers for as long as standard input is open."""
    for module in _PRELOADED:
        import_module(module)

    # It reads variables of the worker when it is loaded: the job's number, for one.
    assert "ray" not in sys.modules
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen(64)
    ended, wake = socket.socketpair()
    for end in (ended, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    print("ready", flush=True)
    launchers: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is listener:
                    launcher, _ = listener.accept()
                    request, files, _, _ = socket.recv_fds(launcher, _MOST_BYTES, 3)
                    worker = _started(json.loads(request), files, [listener, ended, wake, *launchers.values()])
                    for file in files:
                        os.close(file)
                    if worker is None:
                        launcher.send(_ELSEWHERE)
                        launcher.close()
                        continue
                    launchers[worker] = launcher
                    selector.register(launcher, selectors.EVENT_READ, worker)
                elif key.fileobj is ended:
                    with suppress(BlockingIOError):
                        ended.recv(1 << 12)
                else:  # the launcher is gone: what Ray ends is the worker
                    with suppress(ProcessLookupError):
                        os.kill(key.data, signal.SIGKILL)
                    selector.unregister(key.fileobj)
            while launchers:
                worker, status = os.waitpid(-1, os.WNOHANG)
                if worker == 0:
                    break
                with launchers.pop(worker) as launcher:
                    with suppress(KeyError):
                        selector.unregister(launcher)
                    with suppress(OSError):
                        launcher.send(str(os.waitstatus_to_exitcode(status) % 256).encode())


def _started(request: dict[str, Any], files: list[int], own: list[socket.socket]) -> int | None:
    """The process of the worker; None if it is not to be a fork."""
    arguments, context = request["arguments"], {}
    if arguments[0].endswith("/setup_worker.py"):
        given, arguments = _SETUP.parse_known_args(arguments[1:])
        context = json.loads(given.serialized_runtime_env_context or "{}")
    plain = not (context.get("command_prefix") or context.get("override_worker_entrypoint") or context.get("java_jars"))
    if not plain or context.get("py_executable", sys.executable) != sys.executable:
        return None
    worker = os.fork()
    if worker == 0:
        for one in own:
            one.close()
        _run(arguments, request["environment"], context.get("env_vars") or {}, request["folder"], files)
    return worker


def _run(
    arguments: list[str], environment: dict[str, str], more: dict[str, str], folder: str, files: list[int]
) -> NoReturn:
    """What setup_worker.py and default_worker.py do, in this process."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for place, file in enumerate(files):
            os.dup2(file, place)
        os.environ.clear()
        os.environ.update(environment)
        from ray._private.utils import update_envs

        update_envs(more)
        os.chdir(folder)
        random.seed()
        script, *flags = arguments
        paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        sys.path[:1] = [str(Path(script).parent), *(path for path in paths if path not in sys.path)]
        sys.argv = [script, *flags]
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
