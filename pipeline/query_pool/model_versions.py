"""Whether one and the same model has answered: a certificate is about one function."""

from collections.abc import Sequence

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.queries.query_log import QueryLog
from raysmooth.pipeline.query_pool.query_task import QueryTask

_INSTEAD = "certificates are about one model. Name a fixed version with --classifier, or begin again with another --out"


class ModelVersions:
    """The version of the model behind each log, as its answers name it."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def check(self, tasks: Sequence[QueryTask]) -> None:
        """Begin with what the logs have. Raises RaysmoothError for one with answers of several versions."""
        for task in tasks:
            for log in filter(None, (task.log, task.reference_log)):
                versions = sorted(log.versions)
                if len(versions) > 1:
                    named = " and ".join(map(printable, versions))
                    raise RaysmoothError(
                        f"the answers in {log.folder} are of several versions of the model behind {task.spec.api}, "
                        f"{named}: {_INSTEAD}"
                    )
                if versions:
                    self._known[id(log)] = versions[0]

    def changed(self, log: QueryLog, version: str | None, api: str) -> str | None:
        """Enter the version of an answer. The refusal, if it is another one than before."""
        if version is None:
            return None
        before = self._known.setdefault(id(log), version)
        if before == version:
            return None
        return (
            f"the model behind {api} has changed from version {printable(before)} to {printable(version)}: {_INSTEAD}"
        )
