"""What is said where a pool ends before all is asked: why, what is left, and whether the same command goes on."""

from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.queries.amounts import in_dollars, queries
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.versions import INSTEAD

SPENT = "the budget is spent"

RERUN = "rerun the same command to resume: answers so far are on the disk and are not paid for again"


def stopped(ending: str | None, spent: Charges, images: int | None) -> RaysmoothError:
    """The refusal to go on after `ending`, which names how many `images` are unfinished, where that is known."""
    if ending == SPENT:
        cost = f", {in_dollars(spent.dollars)}" * bool(spent.cost)
        ending = f"{SPENT} ({queries(spent.queries)}{cost}): write a larger --budget or --max-queries"
    left = "" if images is None else f"; {counted(images, 'image')} unfinished"
    return RaysmoothError(f"stopped: {ending}{left}" + f"; {RERUN}" * (INSTEAD not in str(ending)))


def not_logged(missing: int, are_more: bool) -> RaysmoothError:
    """The refusal to go on without asking."""
    more = ", or more" * are_more
    return RaysmoothError(
        f"--offline: the query logs lack {counted(missing, 'answer')}{more}: leave --offline out to ask for them"
    )
