"""Progress and speed of the runs in a folder, and whether a driver is at work; read from their files alone."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries.query_folder import all_charges, query_progress
from raysmooth.pipeline.queries.query_progress import QueryProgress
from raysmooth.pipeline.status.run_files import Part, PartReader, status_manifests
from raysmooth.pipeline.status.throughput import Mark, draws_per_second, seconds_drawn
from raysmooth.pipeline.store.manifest import CERTIFICATES, ROW_FOLDERS, SEARCH, Manifest, NoRuns, RunFolder
from raysmooth.pipeline.store.progress_file import SILENCE, Phase, ProgressRecord, read_progress
from raysmooth.storage.location import Where, located
from raysmooth.storage.records import BadRecord

IMPORT = "import"
"""Stands for the procedure of an imported run, whose manifest names none."""


class State(StrEnum):
    """State of a run: as its driver says (`Phase`), or as its files show."""

    STARTING = Phase.STARTING.value
    WAITING = Phase.WAITING.value
    DRAWING = Phase.DRAWING.value
    DRAWN = Phase.DRAWN.value
    STOPPED = "stopped"
    """No driver draws it, and it is not finished."""
    SILENT = "silent"
    """Its driver should have written a progress record, and has not."""
    FINISHED = "finished"


_ALIVE = (State.STARTING, State.WAITING, State.DRAWING, State.DRAWN)


@dataclass(frozen=True)
class RunStatus:
    """One run at one moment. `done` of its `images` are finished, `errors` of them as error rows, after `draws` draws;
    results in the memory of an unfinished run's driver count as long as the driver lives. `mean_draws` is the number
    that an image needs, by settings or by the finished images; `pace` is in draws/s over the last five minutes of
    drawing; `seconds` are those of drawing so far; `heard` is when the run last wrote a file, in seconds since the
    epoch, and `age` how long ago that was. None is unknown.
    """

    run_id: str
    identity: Mapping[str, Any]
    objective: str | None
    started: str | None
    state: State
    images: int
    done: int
    errors: int
    first_error: str | None
    draws: int
    mean_draws: float | None
    pace: float | None
    seconds: float
    heard: float | None
    age: float | None
    record: ProgressRecord | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of its first session."""
    problem: str | None = None
    """Why the progress record is unknown, if the file is there. It decides nothing."""
    queries: QueryProgress | None = None
    """What all queries of the folder have cost, where the classifier is a vision API."""

    @property
    def is_alive(self) -> bool:
        return self.state in _ALIVE

    @property
    def was_killed(self) -> bool:
        """Whether its driver has ended without a word."""
        return self.state is State.STOPPED and self.record is not None and self.record.phase is not Phase.STOPPED

    @property
    def draws_left(self) -> float | None:
        """Draws that unfinished images still need; draws made beyond those of finished images already count towards
        them.
        """
        if self.mean_draws is None:
            return None
        begun = max(0.0, self.draws - (self.done - self.errors) * self.mean_draws)
        return max(0.0, (self.images - self.done) * self.mean_draws - begun)

    @property
    def seconds_left(self) -> float | None:
        if self.state in (State.FINISHED, State.DRAWN):
            return 0.0
        return self.draws_left / self.pace if self.pace and self.draws_left is not None else None

    @property
    def images_per_second(self) -> float | None:
        return self.pace / self.mean_draws if self.pace is not None and self.mean_draws else None


class StatusReader:
    """The runs in `out`; parts are read only once."""

    def __init__(self, out: Where) -> None:
        self._out, self._parts = located(out), PartReader()
        self._counted: QueryProgress | None = None

    def read(self, now: float | None = None) -> list[RunStatus]:
        """Every run that was drawn here, in the order in which they began; where there are none, those that were
        imported or recertified. Raises NoRuns if there are none either, and RaysmoothError for a part that is corrupt.
        """
        at = time.time() if now is None else now
        runs = [self._status(run, manifest, at) for run, manifest in status_manifests(self._out)]
        if asking := [run for run in runs if "query_identity" in run.identity]:
            queries = self._queries(asking)
            runs = [replace(run, queries=queries) if run in asking else run for run in runs]
        if not runs:
            raise NoRuns(f"{self._out} holds no runs: give the --out of 'raysmooth certify'")
        return _with_common_pace(sorted(runs, key=lambda run: (run.started or "", run.run_id)))

    def _queries(self, asking: Sequence[RunStatus]) -> QueryProgress | None:
        """What the driver of these runs has written last; if it was killed, with what the logs have had since then."""
        found = query_progress(self._out)
        if found is None or not any(run.was_killed for run in asking) or not found[0].writer.is_gone:
            return None if found is None else found[0]
        if self._counted is None or self._counted.writer != found[0].writer:
            with suppress(RaysmoothError):  # a log that cannot be read: the command that resumes says so
                self._counted = found[0].with_charges(all_charges(self._out))
        return self._counted or found[0]

    def _status(self, run: RunFolder, manifest: Manifest, now: float) -> RunStatus:
        if manifest.procedure not in ROW_FOLDERS:
            return self._derived(run, manifest, now)
        identity, found, problem = manifest.identity, None, None
        try:
            found = read_progress(run)
        except BadRecord as bad:
            problem = str(bad)
        folder = run.rows(ROW_FOLDERS[manifest.procedure])
        if manifest.procedure == SEARCH:
            rows = counts = self._parts.sigmas(folder, read_search(identity["search"])[1].passes)
        else:  # rows first: their counts were on disk before them
            rows, counts = self._parts.rows(folder), self._parts.counts(run.counts)
        record, heard = found if found is not None else (None, None)
        images, on_disk = identity["images"], sum(part.images for part in rows)
        state = State.FINISHED if on_disk >= images else _state(record, heard, now)
        done, errors, draws = on_disk, sum(part.errors for part in rows), sum(part.draws for part in counts)
        first_error = next((part.first_error for part in rows if part.first_error), None)
        if record is not None and state in _ALIVE:  # results that it has not written yet
            done += max(0, record.images - sum(part.images for part in rows if part.session == record.session))
            draws += max(0, record.draws - sum(part.draws for part in counts if part.session == record.session))
            errors, first_error = errors + record.errors, first_error or record.error
        sessions = _sessions(counts, record, heard)
        times = [part.time for part in (*rows, *counts)] + ([] if heard is None else [heard])
        last = max(times, default=None)
        return RunStatus(
            run_id=run.run_id,
            identity=identity,
            objective=manifest.get("objective"),
            started=manifest.get("started"),
            state=state,
            images=images,
            done=min(done, images),
            errors=errors,
            first_error=first_error,
            draws=draws,
            mean_draws=_mean_draws(identity, rows),
            pace=draws_per_second(sessions),
            seconds=seconds_drawn(sessions) if record is None else record.seconds_before + record.seconds,
            heard=last,
            age=None if last is None else max(0.0, now - last),
            record=record,
            settings=manifest.get("settings") or {},
            problem=problem,
        )

    def _derived(self, run: RunFolder, manifest: Manifest, now: float) -> RunStatus:
        """A run whose rows were all written at once, from a log or from another run's counts."""
        rows = self._parts.rows(run.rows(CERTIFICATES))
        images, last = sum(part.images for part in rows), max((part.time for part in rows), default=None)
        return RunStatus(
            run_id=run.run_id,
            identity={**manifest.identity, "procedure": manifest.identity.get("procedure") or IMPORT},
            objective=manifest.get("objective"),
            started=manifest.get("started"),
            state=State.FINISHED,
            images=images,
            done=images,
            errors=sum(part.errors for part in rows),
            first_error=next((part.first_error for part in rows if part.first_error), None),
            draws=0,
            mean_draws=None,
            pace=None,
            seconds=0.0,
            heard=last,
            age=None if last is None else max(0.0, now - last),
            record=None,
            settings=manifest.get("settings") or {},
        )


def _state(record: ProgressRecord | None, heard: float | None, now: float) -> State:
    """Of a run that is not finished."""
    if record is None or heard is None or record.phase in (Phase.STOPPED, Phase.DONE) or record.writer.is_gone:
        return State.STOPPED
    return State(record.phase.value) if now - heard <= SILENCE else State.SILENT


def _sessions(counts: Sequence[Part], record: ProgressRecord | None, heard: float | None) -> list[list[Mark]]:
    """Times and numbers of draws of each session: from its parts and, for the last one, its progress record."""
    sessions: dict[str, list[Mark]] = {}
    for part in sorted(counts, key=lambda part: part.time):
        marks = sessions.setdefault(part.session, [])
        marks.append(Mark(part.time, part.draws + (marks[-1].draws if marks else 0)))
    if record is not None and heard is not None and record.seconds > 0:
        last = sessions.setdefault(record.session, [])
        last += [Mark(heard - record.seconds, 0), Mark(heard, record.draws)]
    return list(sessions.values())


def _mean_draws(identity: Mapping[str, Any], rows: Sequence[Part]) -> float | None:
    """Draws that an image needs: by the settings or, if images stop early, by the finished images."""
    if identity["procedure"] == SEARCH:
        return float(read_search(identity["search"])[1].passes)
    if identity.get("sampling", "fixed") == "fixed":
        return float(identity.get("n0", 0) + identity["n"])
    finished = sum(part.images - part.errors for part in rows)
    return sum(part.draws for part in rows) / finished if finished else None


def _with_common_pace(runs: Sequence[RunStatus]) -> list[RunStatus]:
    """A run that waits for its turn gets the pace of the run that its command draws now."""
    drawing = {run.record.writer: run.pace for run in runs if run.record is not None and run.state == State.DRAWING}
    return [
        replace(run, pace=drawing.get(run.record.writer))
        if run.record is not None and run.state == State.WAITING and run.pace is None
        else run
        for run in runs
    ]
