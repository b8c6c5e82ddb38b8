"""The heartbeat of a command that draws: progress files of its runs, and their metrics, from a separate thread."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread
from time import monotonic
from types import TracebackType

from raysmooth.common.errors import RaysmoothError, named_image, one_line
from raysmooth.pipeline.drawing.base_ledger import BaseLedger
from raysmooth.pipeline.pool.metrics import Publisher
from raysmooth.pipeline.pool.telemetry import RunNumbers, Telemetry
from raysmooth.pipeline.store.part_store import PartStore
from raysmooth.pipeline.store.progress_file import HEARTBEAT_SECONDS, Phase, ProgressRecord
from raysmooth.pipeline.store.writer_process import WriterProcess

_TICK_SECONDS = 1.0


class Heartbeat:
    """A context around the drawing of `ledgers`, all runs of the pool. Every `HEARTBEAT_SECONDS` it writes the progress
    file of each run that had images left; on exit it writes how each ended. `beside` is called at each of these times.
    An error here never stops a run.
    """

    def __init__(
        self, telemetry: Telemetry, ledgers: Sequence[BaseLedger], beside: Callable[[], object] = lambda: None
    ) -> None:
        self._telemetry, self._ledgers, self._beside = telemetry, ledgers, beside
        self._runs = [_Run(ledger) for ledger in ledgers if ledger.images_left]
        self._publisher = Publisher(telemetry)
        self._writer = WriterProcess.here()
        self._deaths_before = telemetry.deaths
        self._over = Event()
        self._thread = Thread(target=self._keep_beating, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        with suppress(Exception):
            self._publisher.end(self._numbers())
        self._beat(over=True, why=None if error is None else _reason(error))

    def _keep_beating(self) -> None:
        last_beat = monotonic()
        while not self._over.wait(_TICK_SECONDS):
            with suppress(Exception):
                self._publisher.publish(self._numbers())
            if monotonic() - last_beat >= HEARTBEAT_SECONDS:
                last_beat = monotonic()
                self._beat()

    def _numbers(self) -> list[RunNumbers]:
        return [
            RunNumbers(
                ledger.run_id,
                ledger.run.noise.scale,
                ledger.drawn,
                ledger.finished,
                len(ledger.errors),
                ledger.images_left - ledger.finished,
            )
            for ledger in self._ledgers
        ]

    def _beat(self, over: bool = False, why: str | None = None) -> None:
        with suppress(Exception):
            self._beside()
        for run in self._runs:
            with suppress(Exception):
                run.store.write_progress(self._record(run, self._phase(run, over, why is not None), why))

    def _phase(self, run: "_Run", over: bool, failed: bool) -> Phase:
        drawn = run.ledger.finished >= run.ledger.images_left
        if over:
            return Phase.DONE if drawn and not failed else Phase.STOPPED
        if drawn:
            return Phase.DRAWN
        if run.ledger.began is not None:
            return Phase.DRAWING
        return Phase.WAITING if any(other.ledger.began is not None for other in self._runs) else Phase.STARTING

    def _record(self, run: "_Run", phase: Phase, why: str | None) -> ProgressRecord:
        ledger = run.ledger
        first = ledger.errors[0] if ledger.errors else None
        return ProgressRecord(
            session=run.store.session,
            phase=phase,
            images=ledger.finished,
            errors=len(ledger.errors),
            draws=ledger.drawn,
            seconds=run.seconds(),
            seconds_before=run.seconds_before,
            replicas=self._telemetry.replicas,
            deaths=self._telemetry.deaths - self._deaths_before,
            writer=self._writer,
            why=why,
            error=f"{named_image(first['image_id'], first['file'])}: {first['error']}" if first is not None else None,
        )


class _Run:
    """A run, and what is remembered of it between two beats."""

    def __init__(self, ledger: BaseLedger) -> None:
        assert isinstance(ledger.store, PartStore), "a run without files has no heartbeat"
        self.ledger, self.store = ledger, ledger.store
        before = self.store.last_record()
        self.seconds_before = before.seconds_before + before.seconds if before is not None else 0.0
        self._ended: float | None = None

    def seconds(self) -> float:
        """Time from the first request for a unit until the last image was finished, or until now."""
        if self.ledger.began is None:
            return 0.0
        if self._ended is None and self.ledger.finished >= self.ledger.images_left:
            self._ended = monotonic()
        return (self._ended or monotonic()) - self.ledger.began


def _reason(error: BaseException) -> str:
    """Why a command ended, on one line."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    if isinstance(error, RaysmoothError):
        return str(error).removeprefix("stopped: ")
    return f"{type(error).__name__}: {one_line(error, whole=True)}"[:300]
