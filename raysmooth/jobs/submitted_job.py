"""A job on a cluster: submitted, its log followed, stopped. Thin over Ray's JobSubmissionClient."""

import asyncio
import logging
import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.jobs.dashboard import Dashboard

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PATIENCE = 60.0
"""A job is no longer followed when its dashboard has not answered for this many seconds."""

_POLL_SECONDS = 0.5


@dataclass
class SubmittedJob:
    """A job that the cluster has accepted; it runs on without this process."""

    id: str
    dashboard: Dashboard
    _client: "JobSubmissionClient"
    _shown: int = field(default=0, init=False)

    @classmethod
    def submit(
        cls, dashboard: Dashboard, working_directory: str, arguments: Sequence[str], columns: int
    ) -> "SubmittedJob":
        """Upload the folder, if the cluster does not have it yet, and start `python -m raysmooth ARGUMENTS` in it.

        `columns` is the width of tables in the log. Raises RaysmoothError if the cluster refuses the job.
        """
        runtime = {
            "working_dir": working_directory,
            # The log is a file: lines must not wait in a buffer, and tables need a width.
            "env_vars": {"PYTHONUNBUFFERED": "1", "COLUMNS": str(columns)},
        }
        with _ray_quiet(), _address_of(dashboard):
            from ray.exceptions import AuthenticationError
            from ray.job_submission import JobSubmissionClient

            try:
                client = JobSubmissionClient(dashboard.address, headers=dashboard.headers)
                entrypoint = shlex.join(["python", "-m", "raysmooth", *arguments])
                job_id = client.submit_job(entrypoint=entrypoint, runtime_env=runtime)
            except (RuntimeError, ValueError, OSError, AuthenticationError) as error:
                said = one_line(error, whole=True)
                raise RaysmoothError(f"the cluster at {dashboard.address} did not accept the job: {said}") from error
        return cls(job_id, dashboard, client)

    def follow(self, write: Callable[[str], Any]) -> tuple[int, str | None]:
        """Pass the log to `write` as it comes, until the job has ended. Return its exit code, and Ray's message if the
        command itself did not end it. Resumes after an interruption.

        Raises RaysmoothError if the dashboard does not answer for `PATIENCE`; the job runs on.
        """
        with _ray_quiet():
            return self._follow(write)

    def _follow(self, write: Callable[[str], Any]) -> tuple[int, str | None]:
        from ray.job_submission import JobStatus

        heard = monotonic()
        while True:
            # The end of the log means nothing yet: the connection may be lost, or the job not started.
            with suppress(*_silences()):
                asyncio.run(self._write_log(write))
                heard = monotonic()
            try:
                details = self._client.get_job_info(self.id)
                heard = monotonic()
            except _silences() as error:
                if monotonic() - heard > PATIENCE:
                    raise RaysmoothError(
                        f"{self.dashboard.address} no longer answers ({one_line(error, whole=True, limit=200)}); the "
                        f"job runs on: {self.how_to_follow}"
                    ) from error
                sleep(_POLL_SECONDS)
                continue
            if not details.status.is_terminal():
                sleep(_POLL_SECONDS)
            elif details.status == JobStatus.SUCCEEDED:
                return 0, None
            elif details.status == JobStatus.STOPPED:
                return 1, "it was stopped"
            elif details.driver_exit_code is None or details.driver_exit_code < 0:
                return 1, details.message
            else:
                return details.driver_exit_code, None

    def stop(self) -> None:
        """Ask the cluster to end the job; finished work stays. Raises RaysmoothError if there is no answer."""
        try:
            self._client.stop_job(self.id)
        except _silences() as error:
            again = self.dashboard.command("stop", self.id)
            raise RaysmoothError(f"{self.dashboard.address} does not answer; the job may still run: {again}") from error

    @property
    def how_to_follow(self) -> str:
        return self.dashboard.command("logs", "--follow", self.id)

    async def _write_log(self, write: Callable[[str], Any]) -> None:
        """Write the rest of the log; Ray always sends it from its beginning."""
        seen = 0
        async for text in self._client.tail_job_logs(self.id):
            new = text[max(0, self._shown - seen) :]
            seen += len(text)
            if new:
                # Counted first: after an interruption while writing, it must not be written again.
                self._shown = seen
                write(new)


def _silences() -> tuple[type[Exception], ...]:
    """The errors of a failed connection."""
    import aiohttp

    return (aiohttp.ClientError, RuntimeError, OSError)


@contextmanager
def _address_of(dashboard: Dashboard) -> Any:
    """JobSubmissionClient prefers the address in these variables to the one that it is given."""
    names = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["RAY_API_SERVER_ADDRESS"] = dashboard.address
    try:
        yield
    finally:
        del os.environ["RAY_API_SERVER_ADDRESS"]
        os.environ.update(before)


@contextmanager
def _ray_quiet() -> Any:
    """Suppress Ray's messages on packing, uploading and connections; raysmooth prints the important ones."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
