"""How far the runs of a folder are, how fast they go and whether anybody draws them: from what is on disk alone."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.status.run_files import FOLDERS, Part, PartReader, drawn_manifests
from raysmooth.pipeline.status.throughput import Mark, draws_per_second, seconds_drawn
from raysmooth.pipeline.store.progress_file import SILENCE, Phase, ProgressRecord, last_record
from raysmooth.storage.location import Location, Where, located


class State(StrEnum):
    """What becomes of a run: as its driver says (`Phase`), or as is found out without it."""

    STARTING = Phase.STARTING.value
    WAITING = Phase.WAITING.value
    DRAWING = Phase.DRAWING.value
    DRAWN = Phase.DRAWN.value
    STOPPED = "stopped"
    """Nobody draws it, and it is not finished."""
    SILENT = "silent"
    """Its driver should have given a sign of life, and has not."""
    FINISHED = "finished"


_ALIVE = (State.STARTING, State.WAITING, State.DRAWING, State.DRAWN)


@dataclass(frozen=True)
class RunStatus:
    """One run at one moment. `done` images of `images` have ended, `errors` of them as error rows, for `draws` draws;
    what an unfinished run's driver had in memory counts as long as the driver lives. `mean_draws` is what an image
    needs, by settings or by those that are done, `pace` in draws/s (of the last five minutes of drawing), `seconds` of
    drawing so far; `heard` is when the run last gave a sign, seconds since the epoch, and `age` how long ago that was.
    None is unknown.
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
    beat: ProgressRecord | None

    @property
    def is_alive(self) -> bool:
        return self.state in _ALIVE

    @property
    def draws_left(self) -> float | None:
        """What the open images still need; what they have is what no image that is done has needed."""
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
    """The runs in `out`; what was read once is not read again."""

    def __init__(self, out: Where) -> None:
        self._out, self._parts = located(out), PartReader()

    def read(self, now: float | None = None) -> list[RunStatus]:
        """Every run that was drawn here, in the order in which they began. Raises RaysmoothError where there are none, and for
        a part that is torn.
        """
        at = time.time() if now is None else now
        runs = [self._status(home, manifest, at) for home, manifest in drawn_manifests(self._out)]
        if not runs:
            raise RaysmoothError(
                f"{self._out} holds no runs that were drawn there: give the --out of 'raysmooth certify'"
            )
        return _with_common_pace(sorted(runs, key=lambda run: (run.started or "", run.run_id)))

    def _status(self, home: Location, manifest: Mapping[str, Any], now: float) -> RunStatus:
        identity, found = manifest["identity"], last_record(home)
        # Rows first: their counts were on disk before them.
        rows = self._parts.rows(self._out / FOLDERS[identity["procedure"]] / f"run_id={home.name}")
        counts = self._parts.counts(home / "counts")
        beat, heard = found if found is not None else (None, None)
        images, on_disk = identity["images"], sum(part.images for part in rows)
        state = State.FINISHED if on_disk >= images else _state(beat, heard, now)
        done, errors, draws = on_disk, sum(part.errors for part in rows), sum(part.draws for part in counts)
        first_error = next((part.first_error for part in rows if part.first_error), None)
        if beat is not None and state in _ALIVE:  # what it has not written yet
            done += max(0, beat.images - sum(part.images for part in rows if part.session == beat.session))
            draws += max(0, beat.draws - sum(part.draws for part in counts if part.session == beat.session))
            errors, first_error = errors + beat.errors, first_error or beat.error
        sessions = _sessions(counts, beat, heard)
        signs = [part.time for part in (*rows, *counts)] + ([] if heard is None else [heard])
        last = max(signs, default=None)
        return RunStatus(
            run_id=home.name,
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
            seconds=seconds_drawn(sessions) if beat is None else beat.seconds_before + beat.seconds,
            heard=last,
            age=None if last is None else max(0.0, now - last),
            beat=beat,
        )


def _state(beat: ProgressRecord | None, heard: float | None, now: float) -> State:
    """Of a run that is not finished."""
    if beat is None or heard is None or beat.stage in (Phase.STOPPED, Phase.DONE) or beat.writer.is_gone:
        return State.STOPPED
    return State(beat.stage.value) if now - heard <= SILENCE else State.SILENT


def _sessions(counts: Sequence[Part], beat: ProgressRecord | None, heard: float | None) -> list[list[Mark]]:
    """How many draws each session had made by when: by its parts and, of the last, by its beat."""
    sessions: dict[str, list[Mark]] = {}
    for part in sorted(counts, key=lambda part: part.time):
        marks = sessions.setdefault(part.session, [])
        marks.append(Mark(part.time, part.draws + (marks[-1].draws if marks else 0)))
    if beat is not None and heard is not None and beat.seconds > 0:
        last = sessions.setdefault(beat.session, [])
        last += [Mark(heard - beat.seconds, 0), Mark(heard, beat.draws)]
    return list(sessions.values())


def _mean_draws(identity: Mapping[str, Any], rows: Sequence[Part]) -> float | None:
    """What an image needs: as the settings say or, where images stop early, as those that are done needed."""
    if identity.get("sampling", "fixed") == "fixed":
        return float(identity.get("n0", 0) + identity["n"])
    finished = sum(part.images - part.errors for part in rows)
    return sum(part.draws for part in rows) / finished if finished else None


def _with_common_pace(runs: Sequence[RunStatus]) -> list[RunStatus]:
    """A run whose turn has not come goes, until something better is known, at the pace of the one that its command
    draws now.
    """
    drawing = {run.beat.writer: run.pace for run in runs if run.beat is not None and run.state == State.DRAWING}
    return [
        replace(run, pace=drawing.get(run.beat.writer))
        if run.beat is not None and run.state == State.WAITING and run.pace is None
        else run
        for run in runs
    ]
