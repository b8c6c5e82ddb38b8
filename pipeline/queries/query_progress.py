"""What queries have cost and how fast they are, for readers elsewhere: <out>/queries/progress.json.

It decides nothing: the query log is what counts.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Annotated

from pydantic import Field

from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.store.writer_process import WriterProcess, WriterRecord
from raysmooth.storage.location import Location
from raysmooth.storage.records import Count, Record, Seconds, read_record

Dollars = Annotated[float, Field(ge=0, lt=1e12)]


@dataclass(frozen=True)
class QueryProgress:
    """Of all runs in a folder of results: dollars `spent` and `left` of the budget, `queries` charged and `unanswered`
    among them, `queries_left`. Of this session: answers `throttled` away, the `rate` in pictures a second that is held
    now, and the price of a query in dollars. None: no limit, or unknown.
    """

    spent: float
    left: float | None
    queries: int
    unanswered: int
    queries_left: int | None
    throttled: int
    rate: float | None
    price: float | None
    writer: WriterProcess

    def with_charges(self, spent: Charges) -> "QueryProgress":
        """What it would say had it been written when the queries had cost `spent`; nothing is sent any more."""
        left = None if self.left is None else max(0.0, self.left - max(0.0, spent.dollars - self.spent))
        queries_left = None if self.queries_left is None else max(0, self.queries_left - (spent.queries - self.queries))
        return replace(
            self,
            spent=spent.dollars,
            left=left,
            queries=spent.queries,
            unanswered=spent.unanswered,
            queries_left=queries_left,
        )

    def write(self, file: Location) -> None:
        """Replace the record; raises OSError, and Unreachable for an object store that does not answer at once."""
        file.write_atomic((json.dumps(asdict(self), indent=2) + "\n").encode(), durable=False, patiently=False)


class _StoredProgress(Record):
    spent: Dollars
    left: Dollars | None
    queries: Count
    unanswered: Count
    queries_left: Count | None
    throttled: Count
    rate: Seconds | None
    price: Dollars | None
    writer: WriterRecord


def read_query_progress(file: Location) -> tuple[QueryProgress, float] | None:
    """The last record, and when it was written (seconds since the epoch, by the clock of the file system); None if
    there is none. Raises BadRecord for a file that is no such record.
    """
    try:
        stored, when = read_record(_StoredProgress, file), file.modified()
    except OSError:
        return None
    own = {name: getattr(stored, name) for name in _StoredProgress.model_fields}
    return QueryProgress(**{**own, "writer": stored.writer.process}), when
