"""An experiment: its stages one after the other, each done once, so that the same command goes on wherever it was
stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.pipeline.pool.cluster import connected
from raysmooth.pipeline.runs.run import SCHEME
from raysmooth.storage.download_cache import local_copy
from raysmooth.tune.experiments.check import Known, files_of, refuse_impossible, refuse_missing_files
from raysmooth.tune.experiments.plan import Job, Plan
from raysmooth.tune.experiments.references import Reference, replaced
from raysmooth.tune.experiments.stage import Result, Scene, Task, file_hash, read_note, write_note
from raysmooth.tune.training.ensemble import WEIGHTS

_CIRCUMSTANCES = {
    "data_root", "device", "loader_workers", "replicas", "gpus_per_replica", "max_errors", "concurrent", "retries",
    "gpus_per_trial", "storage", "out", "overwrite", "address", "verbose",
}  # fmt: skip
"""Settings that decide no result. (The data set itself is decisive by its content.)"""


@dataclass(frozen=True)
class ExperimentOutcome:
    """What all jobs of an experiment that are done have given, by their names, and the names of those done now."""

    results: Mapping[str, Result]
    done_now: Sequence[str]


def run_experiment(
    plan: Plan, only: str | None = None, address: str | None = None, show: bool = True
) -> ExperimentOutcome:
    """Do all of `plan`'s stages that are not done, or of stage `only` alone; reports are the caller's to make.

    A job is done where a note says so, made under the hash of all that decides it (its settings, its data, the hashes
    of what it takes in), and what it gave is still there. Raises RaysmoothError before the first stage begins for whatever can
    be known by then; with `only`, for what has to be made before it.
    """
    known, scene = Known(), Scene(plan.out, address, show)
    wanted = list(plan.jobs) if only is None else plan.named(only)
    refuse_impossible(plan, known)
    refuse_missing_files(plan)
    todo = [job for job in wanted if job.kind != "report"]
    results: dict[str, Result] = {}
    if only is not None:
        _find_before(plan, wanted, results, known)
    numbers = {job.name: number for number, job in enumerate(plan.jobs, start=1)}
    done_now: list[str] = []

    def note(job: Job, words: str) -> None:
        if show:
            line = f"stage {numbers[job.name]} of {len(plan.jobs)}: {job}: {words}"
            Console(stderr=True, highlight=False).print(line, soft_wrap=True, markup=False)

    with ExitStack() as ray:
        for jobs in _groups(todo):
            waiting = []
            for job in jobs:
                decided_by = _decided_by(job, results, plan, known)
                if (found := _found(job, decided_by, plan)) is not None:
                    results[job.name] = found
                    note(job, "done before")
                else:
                    waiting.append((job, decided_by))
            if not waiting:
                continue
            for job, _ in waiting:
                note(job, "begins")
            tasks = [_task(job, decided_by, results, plan) for job, decided_by in waiting]
            row = waiting[0][0].row
            assert row.carry_out is not None
            # A smoke test's stages are over before Ray would be up again for each; others say how much of it they need.
            if plan.smoke and row.needs_ray:
                ray.enter_context(connected(address, verbose=False))
            done = row.carry_out(tasks, scene)
            for (job, decided_by), result in zip(waiting, done, strict=True):
                write_note(plan.out, job.name, decided_by, job.values, result)
                results[job.name] = result
                done_now.append(job.name)
    for job in plan.jobs:
        if job.kind != "report" and job.name not in results and all(name in results for name in job.needs):
            found = _found(job, _decided_by(job, results, plan, known), plan)
            results |= {} if found is None else {job.name: found}
    return ExperimentOutcome(results, done_now)


def _groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs in a row that are done together, else each alone."""
    group: list[Job] = []
    for job in jobs:
        if group and not (job.row.together and job.kind == group[-1].kind):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _find_before(plan: Plan, wanted: Sequence[Job], results: dict[str, Result], known: Known) -> None:
    """Put what `wanted` jobs need of others into `results`; raises RaysmoothError where that is not there, or is of other
    settings.
    """
    by_name = {job.name: job for job in plan.jobs}
    own = {job.name for job in wanted}

    def find(name: str, asked_by: Job) -> None:
        if name in results or name in own:
            return
        job = by_name[name]
        for needed in job.needs:
            find(needed, job)
        found = _found(job, _decided_by(job, results, plan, known), plan)
        if found is None:
            raise RaysmoothError(
                f"stage {asked_by.name} needs {name}, which is not there, or is of other settings: write --only "
                f"{job.stage} first, or leave --only out"
            )
        results[name] = found

    for job in wanted:
        for name in job.needs:
            find(name, job)


def _decided_by(job: Job, results: Mapping[str, Result], plan: Plan, known: Known) -> str:
    """SHA-256 in hex of all that decides what a job gives."""
    settings: dict[str, Any] = {**job.values, **(job.values.get("settings") or {})}
    split = settings.get("split") or ("train" if job.row.gives else None)
    data = {**settings, "split": split}
    return settings_hash(
        {
            "kind": job.kind,
            "settings": _decisive(job.values),
            "takes": {name: results[name].digest for name in job.needs},
            "defaults": _decisive(known.defaults.get(job.name)),
            "scheme": SCHEME,
            "files": {path: _file_hashes(local_copy(path)) for _, path in files_of(job.values)},
            "data": known.data_fingerprint(data),
        }
    )


def _file_hashes(path: Path) -> dict[str, str]:
    """Of a weights file, or of all that a sweep has trained; of torchvision's own, which have a name, nothing."""
    files = [path] if path.is_file() else sorted((path / WEIGHTS).glob("*.safetensors"))
    return {file.name: file_hash(file) for file in files}


def _decisive(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _decisive(value) for key, value in values.items() if key not in _CIRCUMSTANCES}
    return [_decisive(value) for value in values] if isinstance(values, list) else values


def _found(job: Job, decided_by: str, plan: Plan) -> Result | None:
    note = read_note(plan.out, job.name)
    return note[1] if note is not None and note[0] == decided_by and note[1].is_there(plan.out) else None


def _task(job: Job, decided_by: str, results: Mapping[str, Result], plan: Plan) -> Task:
    """The job with paths in the place of references. A sweep's folder is called after what decides it, since a sweep
    does not begin again where another was.
    """

    def path(key: str, reference: Reference) -> str:
        if "{sigma}" in reference.name:
            return str(plan.out / "weights" / f"{reference.name}.safetensors")
        result = results[reference.name]
        if key in ("classifier", "denoiser"):
            return str(result.architecture)
        if key == "surrogates" and result.folder is not None:
            return str(plan.out / result.folder) + ("" if reference.first is None else f":{reference.first}")
        return str(plan.out / str(result.weights))

    values = replaced(dict(job.values), path)
    place: dict[str, Any] = {key: str(plan.out / below) for key, below in job.row.place(job.name).items()}
    if job.kind == "sweep":
        place["out"] = str(plan.out) if plan.plain else f"{place['out']}-{decided_by[:8]}"
    if job.row.gives in ("classifier", "denoiser"):
        place["overwrite"] = True
    return Task(job.name, job.row.check({**values, **place}))
