"""The queries of all runs in a folder of results: one process at a time sends them, and one budget covers them.

<out>/queries/.lock, vocabulary.json, progress.json, identity=<id>/...
"""

from contextlib import ExitStack, suppress

from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.identity import QueryIdentity
from raysmooth.pipeline.queries.query_log import LoggedAnswers, QueryLog, folder_name, read_identity
from raysmooth.pipeline.queries.query_progress import QueryProgress, read_query_progress
from raysmooth.pipeline.store.part_store import full_is_refused
from raysmooth.pipeline.store.run_lock import lock_run
from raysmooth.storage.atomic_file import leftovers
from raysmooth.storage.location import Location, Where, located
from raysmooth.storage.object_store import Unreachable
from raysmooth.storage.records import BadRecord

QUERIES, PROGRESS = "queries", "progress.json"


class QueryFolder:
    """For the process that sends: a context, which holds the lock of `home`, <out>/queries, and closes its logs at its
    end. Raises RaysmoothError, naming the process, if another one sends.
    """

    def __init__(self, out: Where) -> None:
        self.home = located(out) / QUERIES
        self._logs: dict[str, QueryLog] = {}
        with full_is_refused(self.home):
            self.home.make_folder()
            self._lock = lock_run(self.home)
        if self.home.is_local:
            for leftover in leftovers(self.home.local):
                leftover.unlink()

    def verify(self) -> None:
        """Raises RaysmoothError if another process sends now."""
        self._lock.verify()

    def log(self, identity: QueryIdentity) -> QueryLog:
        """The log of an identity, the same one each time. Raises RaysmoothError as `QueryLog`."""
        if identity.id not in self._logs:
            self._logs[identity.id] = QueryLog(self.home / folder_name(identity.id), identity, self.verify)
        return self._logs[identity.id]

    def charges(self) -> Charges:
        """What all queries have cost, of all identities. Raises RaysmoothError for a log that cannot be read."""
        total = Charges()
        for folder in _log_folders(self.home):
            own = self._logs.get(read_identity(folder).id)
            total += (own or _read(folder)).charges
        return total

    def write_progress(self, progress: QueryProgress) -> None:
        """Replace the record for readers elsewhere; if that fails now, the next one will do."""
        with suppress(Unreachable, OSError):
            progress.write(self.home / PROGRESS)

    def commit(self) -> None:
        """Commit all logs."""
        for log in self._logs.values():
            log.commit()

    def close(self) -> None:
        with ExitStack() as closing:  # each of them, whichever fails
            closing.callback(self._lock.close)
            for log in self._logs.values():
                closing.callback(log.close)

    def __enter__(self) -> "QueryFolder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def logged_answers(out: Where, identity: QueryIdentity) -> LoggedAnswers:
    """The answers of an identity, to be read without a lock; none if there is no such log. Raises RaysmoothError for
    one that is corrupt.
    """
    return LoggedAnswers(located(out) / QUERIES / folder_name(identity.id), identity.id)


def all_logged_answers(out: Where) -> dict[QueryIdentity, LoggedAnswers]:
    """All query logs in a folder of results. Raises RaysmoothError as `logged_answers`."""
    return {read_identity(folder): _read(folder) for folder in _log_folders(located(out) / QUERIES)}


def all_charges(out: Where) -> Charges:
    """What all queries in a folder of results have cost, read without a lock."""
    return sum((log.charges for log in all_logged_answers(out).values()), Charges())


def query_progress(out: Where) -> tuple[QueryProgress, float] | None:
    """The last progress record of a folder of results and its time; None also for a file that is no record."""
    try:
        return read_query_progress(located(out) / QUERIES / PROGRESS)
    except BadRecord:
        return None


def _log_folders(home: Location) -> list[Location]:
    return [folder for folder in home.folders() if folder.name.startswith(folder_name(""))]


def _read(folder: Location) -> LoggedAnswers:
    return LoggedAnswers(folder, folder.name.removeprefix(folder_name("")))
