"""A process in place of a replica on Ray: it answers calls of a `Replica`'s methods until the pipe is closed."""

import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from raysmooth.common.errors import RaysmoothError, one_line

_START = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from raysmooth.pipeline.dry_run.trial_process import answer_calls; answer_calls(*map(int, sys.argv[1:3]))"
)

_STDERR = 2
"""The file descriptor: in a notebook, sys.stderr has none."""


class TrialProcess:
    """The parent's side. The process starts at once, and has torch loaded by the time that it is asked something.

    It searches for modules where this process does, and prints only if `verbose`.
    """

    def __init__(self, threads: int, verbose: bool) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                # -P: not first in the working directory, where its json.py or torch.py would be found
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), str(threads), *filter(None, sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR if verbose else subprocess.DEVNULL,  # our standard output is the table's
                stderr=_STDERR if verbose else subprocess.DEVNULL,
            )

    @property
    def pipe(self) -> Connection:
        """To wait until there is an answer."""
        return self._pipe

    def ask(self, question: str, *arguments: Any) -> None:
        """Call the replica's method `question`; `answer` gives its result."""
        try:
            self._pipe.send((question, arguments))
        except OSError:
            raise self._gone() from None

    def answer(self) -> Any:
        """Waits for the result; raises RaysmoothError for an exception there, and if the process has ended."""
        try:
            failed, result = self._pipe.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if failed:
            raise RaysmoothError(result)
        return result

    def close(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.wait()

    def _gone(self) -> RaysmoothError:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return RaysmoothError(
            f"a process that tried the networks ended ({how}): write --verbose to see why, or fewer --replicas if the "
            "memory is too small"
        )


def reason_of(error: BaseException) -> str:
    """An exception of a replica, on one line."""
    return str(error) if isinstance(error, RaysmoothError) else f"{type(error).__name__}: {one_line(error)}"


def answer_calls(pipe: int, threads: int) -> None:
    """The process's side, with the number of its end of the `pipe`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, too, which closes the pipe
    from raysmooth.actors.replica.replica import Replica

    with Connection(pipe) as calls:
        replica = Replica("cpu", threads)
        while True:
            try:
                question, arguments = calls.recv()
            except (EOFError, OSError):
                os._exit(0)
            try:
                answer = False, getattr(replica, question)(*arguments)
            except (Exception, SystemExit) as error:
                answer = True, reason_of(error)
            calls.send(answer)
