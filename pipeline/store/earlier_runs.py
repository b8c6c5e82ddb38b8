"""What earlier commands left in a folder of results: the run that a command resumes, the runs beside which it begins a
new one, or a run that is being written at this moment. Found by their manifests.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
from pydantic import BaseModel

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store.manifest import ROW_FOLDERS, Manifest, RunFolder, manifests, run_id
from raysmooth.pipeline.store.parts import part_files, read_part
from raysmooth.pipeline.store.run_differences import COMPUTE, Difference, RunFacts, differences, what_to_write
from raysmooth.pipeline.store.run_lock import refuse_being_written
from raysmooth.storage.location import Where

_PLACES = {"sigma", "out", "replicas", "max_errors", "verbose"}
"""Settings that may differ between sessions of a run; each sigma is a run, and the identity has it."""

MOST_DIFFERENCES = 3
"""A new run that differs from every earlier one in more than these is another study, not a slip."""

_MOST_NAMED = 5


@dataclass(frozen=True)
class PlannedRun:
    """A run that a command draws into `out`. `by_timing`: how it computes has just been chosen by a benchmark."""

    out: Where
    identity: Mapping[str, Any]
    settings: BaseModel
    by_timing: bool

    @property
    def facts(self) -> RunFacts:
        return RunFacts(run_id(self.identity), _as_stored(self.identity), _as_stored(self.settings.model_dump()))

    @property
    def left_open(self) -> list[str]:
        """Keys of the identity that its settings leave to raysmooth: a manifest decides them, where there is one."""
        return [key for key, setting in COMPUTE.items() if getattr(self.settings, setting, None) in ("auto", None)]


@dataclass(frozen=True)
class Announcement:
    """A line about runs and earlier ones; `is_surprising` where a run may have been expected to be resumed."""

    line: str
    is_surprising: bool = False


@dataclass(frozen=True)
class _Beside:
    """An earlier run beside a new one, and what the new one differs in."""

    new: PlannedRun
    run: RunFolder
    manifest: Manifest
    found: tuple[Difference, ...]


def announcements(planned: Sequence[PlannedRun], dry: bool = False) -> list[Announcement]:
    """What becomes of earlier runs: which ones are resumed, and in what the new ones differ from the nearest earlier
    run of their procedure. A `dry` run says what would become of them, of the first run in a folder too.
    """
    said: list[Announcement] = []
    for out in dict.fromkeys(one.out for one in planned):
        own = {run_id(one.identity): one for one in planned if one.out == out}
        earlier = list(manifests(out, "identity", "settings", skip_bad=True))
        resumed = [(run, manifest) for run, manifest in earlier if run.run_id in own]
        if resumed:
            said += _resumed(resumed, dry)
        begun = [one for run, one in own.items() if run not in {folder.run_id for folder, _ in resumed}]
        beside = {run_id(one.identity): _nearest(one, earlier) for one in begun}
        said += _begun([one for one in beside.values() if one is not None], dry)
        first = [one for one in begun if beside[run_id(one.identity)] is None]
        if dry and first:
            said.append(Announcement(f"would begin {_new(first, dry)} in {out}"))
    return said


def refuse_second_driver(out: Where, identity: Mapping[str, Any], settings: BaseModel) -> None:
    """Raises RaysmoothError if another process of this machine writes the run with these `settings`. `identity` is what
    is known of the run's before there is a replica. The run's lock refuses what is not found here.
    """
    known = _as_stored(identity)
    wanted = _as_stored(settings.model_dump(exclude=_PLACES))
    for run, manifest in manifests(out, "identity", "settings", skip_bad=True):
        theirs = _their_settings(manifest, settings)
        if all(manifest.identity.get(name) == value for name, value in known.items()) and all(
            theirs.get(name) == value for name, value in wanted.items()
        ):
            refuse_being_written(run.home)


def _their_settings(manifest: Manifest, settings: BaseModel) -> dict[str, Any]:
    """The settings in a manifest; those of earlier versions lack some that were added later."""
    theirs = manifest["settings"] if isinstance(manifest["settings"], Mapping) else {}
    defaults = {name: field.get_default() for name, field in type(settings).model_fields.items()}
    return {**_as_stored(defaults), **theirs}


def _nearest(new: PlannedRun, earlier: Iterable[tuple[RunFolder, Manifest]]) -> _Beside | None:
    """The earlier run from which `new` differs in the fewest things; the last of several."""
    found = [
        _Beside(new, run, manifest, tuple(differences(_facts(run, manifest, new), new.facts, new.left_open)))
        for run, manifest in earlier
        if manifest.procedure == new.identity["procedure"]
    ]
    found.sort(key=lambda beside: str(beside.manifest.get("started")), reverse=True)
    return min(found, key=lambda beside: len(beside.found), default=None)


def _facts(run: RunFolder, manifest: Manifest, new: PlannedRun) -> RunFacts:
    return RunFacts(run.run_id, manifest.identity, _their_settings(manifest, new.settings))


def _begun(besides: Sequence[_Beside], dry: bool) -> Iterator[Announcement]:
    """One line for all new runs that differ in the same from theirs."""
    for found in dict.fromkeys(beside.found for beside in besides):
        group = [beside for beside in besides if beside.found == found]
        new, old = [beside.new for beside in group], list({beside.run: beside for beside in group}.values())
        several = len(new) > 1
        begins = (
            f"would begin {_new(new, dry)}, which differ{'s' * (not several)}"
            if dry
            else f"{_new(new, dry)} " + ("differ" if several else "differs")
        )
        if len(found) > MOST_DIFFERENCES:
            more = len(found) - _MOST_NAMED
            named = [difference.what for difference in found[:_MOST_NAMED]]
            listed = f"{', '.join(named)} and {more} more" if more > 0 else _joined(named)
            yield Announcement(f"{begins} from the nearest earlier {_runs(one.run.run_id for one in old)} in {listed}")
            continue
        done, images = _progress((beside.run, beside.manifest) for beside in old)
        that = "those" if len(old) > 1 else "that one"
        finished = done >= images
        purpose = f"for {that} (finished)" if finished else f"to continue {that} ({_share(done, images)} finished)"
        yield Announcement(
            f"{begins} from {_runs(one.run.run_id for one in old)} in {_joined([str(one) for one in found])}; "
            f"{purpose}, {what_to_write(found)}",
            is_surprising=not finished or not all(difference.is_flag for difference in found),
        )


def _resumed(runs: Sequence[tuple[RunFolder, Manifest]], dry: bool) -> Iterator[Announcement]:
    done, images = _progress(runs)
    named = _runs(run.run_id for run, _ in runs)
    if done >= images:
        are = "are" if len(runs) > 1 else "is"
        yield Announcement(f"{named} {are} finished: all {images:,} images have their rows")
    else:
        yield Announcement(f"{'would resume' if dry else 'resuming'} {named}: {_share(done, images)} are finished")


def _progress(runs: Iterable[tuple[RunFolder, Manifest]]) -> tuple[int, int]:
    """How many images of `runs` have their rows, and how many images they have."""
    done = images = 0
    for run, manifest in runs:
        images += manifest.identity["images"]
        for file in part_files(run.rows(ROW_FOLDERS[manifest.procedure])):
            try:
                # A search has several rows for an image.
                done += pc.count_distinct(read_part(file, columns=["image_id"])["image_id"]).as_py()
            except RaysmoothError:  # its run refuses it, and says why
                continue
    return done, images


def _new(runs: Sequence[PlannedRun], dry: bool) -> str:
    """The new runs by their ids, which are not certain before a `dry` run's benchmark has been made for good."""
    if dry and any(one.by_timing for one in runs):
        return f"{len(runs)} new runs" if len(runs) > 1 else "a new run"
    return f"new {_runs(run_id(one.identity) for one in runs)}"


def _runs(ids: Iterable[str]) -> str:
    named = list(ids)
    return f"run{'s' * (len(named) > 1)} {', '.join(named)}"


def _share(done: int, images: int) -> str:
    return f"{done:,} of {images:,} images"


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return stored
