"""Whether one and the same model has answered: a certificate is about one function."""

from collections.abc import Sequence

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.queries.query_log import QueryLog
from raysmooth.pipeline.query_pool.query_task import QueryTask

INSTEAD = "certificates are about one model. Name a fixed version with --classifier, or begin again with another --out"


class ModelVersions:
    """The version of the model behind each log, as its answers name it. The answers to the images themselves, which
    certificates are compared with, are of the same model as those to noisy pictures.
    """

    def __init__(self) -> None:
        self._known: dict[int, str] = {}
        self._together: dict[int, int] = {}
        """Logs, by their `id()`, and the log of references that they go with."""

    def check(self, tasks: Sequence[QueryTask]) -> None:
        """Begin with what the logs have. Raises RaysmoothError for a run with answers of several versions."""
        for task in tasks:
            if task.reference_log is not None:
                self._together[id(task.log)] = id(task.reference_log)
        for task in tasks:
            for log in filter(None, (task.reference_log, task.log)):
                for version in sorted(log.versions):
                    before = self._known.setdefault(self._model_of(log), version)
                    if version != before:
                        raise RaysmoothError(
                            f"the answers in {log.folder} are of several versions of the model behind {task.spec.api}, "
                            f"or of another than those it goes with, {printable(before)} and {printable(version)}: "
                            f"{INSTEAD}"
                        )

    def changed(self, log: QueryLog, version: str | None, api: str) -> str | None:
        """Enter the version of an answer. The refusal, if it is another one than before."""
        if version is None:
            return None
        before = self._known.setdefault(self._model_of(log), version)
        if before == version:
            return None
        return f"the model behind {api} has changed from version {printable(before)} to {printable(version)}: {INSTEAD}"

    def _model_of(self, log: QueryLog) -> int:
        return self._together.get(id(log), id(log))
