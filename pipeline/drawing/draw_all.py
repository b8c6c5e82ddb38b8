"""Drawing until every image has its row: units go to a pool, and their results to the ledgers."""

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Protocol

from rich.progress import TaskID

from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.common.errors import counted
from raysmooth.pipeline.drawing.base_ledger import BaseLedger
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.pool.telemetry import Telemetry
from raysmooth.pipeline.progress.progress_bars import Progress


class DrawingPool(Protocol):
    """What draws units: replicas with networks, or replicas that ask an API."""

    @property
    def telemetry(self) -> Telemetry: ...

    def draw(
        self,
        next_request: Callable[[], UnitRequest | None],
        wanted: Callable[[WorkUnit], bool],
        units_left: Callable[[], int] | None = None,
    ) -> Iterator[UnitResult]: ...


def draw_all(pool: DrawingPool, ledgers: Sequence[BaseLedger], progress: Progress, started: float) -> None:
    """Draw the units of all `ledgers` until every image has its row; `started`, when the command was, for the notes."""
    bars = [_add_bar(progress, ledger) for ledger in ledgers]
    drawing_since, waiting_for_first = monotonic(), True
    for result in pool.draw(
        lambda: next((request for ledger in ledgers if (request := ledger.next_request()) is not None), None),
        lambda unit: ledgers[unit.run].wants(unit),
        lambda: sum(ledger.units_left for ledger in ledgers),
    ):
        unit = result.request.unit
        ledger = ledgers[unit.run]
        finished = ledger.finished
        if result.drawn is not None:
            pool.telemetry.unit_done(unit.run, result.drawn.seconds)
        if (note := ledger.record(result)) is not None:
            progress.note(note)
        progress.advance(bars[ledger.index], ledger.finished - finished, ledger.drawn, ledger.expected_draws())
        if waiting_for_first and ledger.finished:
            waiting_for_first = False
            progress.note(f"first image finished {monotonic() - started:.1f} s after the start")
    images, draws = sum(ledger.finished for ledger in ledgers), sum(ledger.drawn for ledger in ledgers)
    seconds = monotonic() - drawing_since
    what = ledgers[0].run.DRAWN
    rates = f": {images / seconds:,.2f} images/s, {counted(round(draws / seconds), what)}/s" if draws else ""
    progress.note(f"drawing took {seconds:.1f} s for {counted(images, 'image')} and {counted(draws, what)}{rates}")
    if pool.telemetry.drawn_twice:
        progress.note(
            f"{pool.telemetry.drawn_twice} work units were drawn twice, for replicas that did not answer in time"
        )
    for ledger in ledgers:
        ledger.conclude()


def _add_bar(progress: Progress, ledger: BaseLedger) -> TaskID:
    run = ledger.run
    images = len(run.index_set)
    expected = ledger.expected_draws()
    return progress.add(run.label, images, images - ledger.images_left, expected, ledger.draws_per_second)
