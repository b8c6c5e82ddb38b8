"""A run as the query pool sees it: how it asks, where its answers are kept, and what they count as."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.actors.replica.work_unit import Block
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.queries.query_log import QueryLog


@dataclass(frozen=True, eq=False)
class QueryTask:
    """`log` keeps the answers to noisy pictures; `reference_log` those to the images themselves, which are asked once
    an image, None where the run needs none. Runs that ask the same share a log, the same object. `draw_codes` gives the
    codes, from 0 to `num_labels` - 1, that a unit's answers count as: it is called with them in the order of their
    draws, and unit after unit in the order of the requests. `block_size`: draws of each block but an image's last.
    """

    spec: QuerySpec
    log: QueryLog
    reference_log: QueryLog | None
    draw_codes: Callable[[Sequence[LoggedAnswer]], Sequence[int]]
    num_labels: int
    block_size: int

    def draws_of(self, block: Block) -> range:
        """The numbers of a block's draws, within its image and role."""
        first = block.index * self.block_size
        return range(first, first + block.draws)

    def log_of(self, role: Role) -> QueryLog:
        """The log that keeps the answers to draws of a role."""
        if role is not Role.REFERENCE:
            return self.log
        assert self.reference_log is not None
        return self.reference_log
