"""Whether one and the same model answers, answer after answer, as the logs have it from earlier ones."""

from collections.abc import Sequence

from raysmooth.common.errors import printable
from raysmooth.pipeline.queries.query_log import QueryLog
from raysmooth.pipeline.queries.versions import INSTEAD, one_version
from raysmooth.pipeline.query_pool.query_task import QueryTask


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
            model, logs = self._model_of(task.log), filter(None, (task.reference_log, task.log))
            version = one_version(logs, task.spec.api, self._known.get(model))
            if version is not None:
                self._known[model] = version

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
