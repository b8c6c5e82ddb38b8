"""An experiment: its stages one after the other, each done once; rerunning the same command resumes it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.common.settings import TRUST_CODE
from raysmooth.pipeline.analysis.failures import Failures, failures
from raysmooth.pipeline.progress.progress_bars import Display
from raysmooth.pipeline.queries.query_settings import QuerySettings
from raysmooth.pipeline.ray_cluster.cluster import connected
from raysmooth.pipeline.runs.base_run import SCHEME
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.storage.download_cache import local_copy
from raysmooth.tune.experiments.check import NETWORKS, Inspector, refuse_impossible, refuse_missing_files
from raysmooth.tune.experiments.plan import ENDPOINT, REPORT, RUN_SETTINGS, Plan
from raysmooth.tune.experiments.references import Reference, replaced
from raysmooth.tune.experiments.results import Result, file_hash, read_note, write_note
from raysmooth.tune.experiments.stage_kinds import Context, ReadyRun
from raysmooth.tune.experiments.stage_run import StageRun
from raysmooth.tune.experiments.weight_files import files_of
from raysmooth.tune.training.ensemble import WEIGHTS

_NOT_DECISIVE = {
    "data_root", "device", "loader_workers", "replicas", "gpus_per_replica", "max_errors", "max_concurrent_trials",
    "retries", "gpus_per_trial", "storage", "out", "overwrite", "address", "verbose",
    "channels", "label_column", "class_order", "classes", "label_map", *QuerySettings.OF_THE_COMMAND,
}  # fmt: skip
"""Settings that do not affect a result. (The data set does, by its content.)"""


@dataclass(frozen=True)
class ExperimentOutcome:
    """The results of all stage runs that are done, by name, and the names of those done by this call. `failed` are the
    failed images of the stage runs that were wanted, each with the stage run's name, whether done now or earlier.
    """

    results: Mapping[str, Result]
    done_now: Sequence[str]
    failed: Sequence[tuple[str, Failures]] = ()


def run_experiment(
    plan: Plan, only: str | None = None, address: str | None = None, show: bool = True, trust_code: bool = False
) -> ExperimentOutcome:
    """Execute the stage runs of `plan` that are not done, or those of stage `only`; the caller makes the report.

    A stage run is done if its note has the hash of everything that affects its result (its settings, its data, the
    results that it uses), and its result is complete. Raises RaysmoothError, before the first stage run, for all errors
    that can be found by then; with `only`, if a stage that it needs is not done; and without `trust_code`, if a stage
    names code of the user's own.
    """
    inspector = Inspector(trust_code)
    wanted = list(plan.stage_runs) if only is None else plan.named(only)
    refuse_impossible(plan, inspector)
    refuse_missing_files(plan)
    execution = _Execution(plan, inspector, Context(plan.out, address, show))
    if only is not None:
        execution.find_needed(wanted)
    with ExitStack() as held:
        for group in _groups(run for run in wanted if run.kind != REPORT):
            execution.execute(group, held)
    execution.find_others()
    failed = [
        (run.name, one)
        for run in wanted
        if run.entry.has_rows
        for run_id in execution.results[run.name].runs
        for one in failures(read_rows(plan.out, str(execution.results[run.name].rows_in), run_id))
    ]
    return ExperimentOutcome(execution.results, execution.done_now, failed)


def _groups(runs: Iterator[StageRun]) -> Iterator[list[StageRun]]:
    """Consecutive stage runs that are executed together, and all others alone."""
    group: list[StageRun] = []
    for run in runs:
        if group and not (run.entry.together and run.kind == group[-1].kind):
            yield group
            group = []
        group.append(run)
    if group:
        yield group


class _Execution:
    """The state of an experiment while its stage runs are executed: `results` by name, `done_now` in order."""

    def __init__(self, plan: Plan, inspector: Inspector, context: Context) -> None:
        self._plan, self._inspector, self._context = plan, inspector, context
        self._by_name = {run.name: run for run in plan.stage_runs}
        self._endpoints: dict[str, str] = {}
        self.results: dict[str, Result] = {}
        self.done_now: list[str] = []

    def execute(self, group: Sequence[StageRun], held: ExitStack) -> None:
        """Execute the stage runs in `group` that are not done; what they share, servers and in a smoke test Ray, stays
        until `held` closes.
        """
        waiting: list[tuple[StageRun, str]] = []
        for run in group:
            identity = stage_identity(run, self.results, self._inspector)
            if (found := self._stored(run, identity)) is not None:
                self.results[run.name] = found
                self._note(run, "already done")
            else:
                waiting.append((run, identity))
        if not waiting:
            return
        for run, _ in waiting:
            self._note(run, "started")
            self._serve_for(run, held)
        ready = [self._ready(run, identity) for run, identity in waiting]
        entry = group[0].entry
        assert entry.execute is not None
        # The stages of a smoke test take less time than to start Ray again for each; others know what they need of it.
        if self._plan.smoke and entry.needs_ray:
            held.enter_context(connected(self._context.address, False, Display(self._context.show).note))
        for (run, identity), result in zip(waiting, entry.execute(ready, self._context), strict=True):
            write_note(self._plan.out, run.name, identity, run.values, result)
            self.results[run.name] = result
            self.done_now.append(run.name)

    def _serve_for(self, run: StageRun, held: ExitStack) -> None:
        """Start the servers that a stage run asks, unless they run."""
        for name in run.needs:
            server = self._by_name[name]
            if server.entry.serve is not None and name not in self._endpoints:
                settings = self._ready(server, self.results[name].digest).settings
                self._endpoints[name] = held.enter_context(server.entry.serve(settings))
                self._note(server, f"serving at {self._endpoints[name]}")

    def find_needed(self, wanted: Sequence[StageRun]) -> None:
        """Find the results that `wanted` stage runs need of others; raises RaysmoothError for one that is not done."""
        own = {run.name for run in wanted}
        for run in wanted:
            for name in run.needs:
                self._find(name, run, own)

    def _find(self, name: str, needed_by: StageRun, own: set[str]) -> None:
        if name in self.results or name in own:
            return
        run = self._by_name[name]
        for needed in run.needs:
            self._find(needed, run, own)
        found = self._stored(run, stage_identity(run, self.results, self._inspector))
        if found is None:
            raise RaysmoothError(
                f"stage {needed_by.name} needs {name}, which is not there, or has other settings: write --only "
                f"{run.stage} first, or leave --only out"
            )
        self.results[name] = found

    def find_others(self) -> None:
        """Find the results of all other stage runs that are done, for the report."""
        for run in self._plan.stage_runs:
            known = run.kind == REPORT or run.name in self.results
            if known or not all(name in self.results for name in run.needs):
                continue
            found = self._stored(run, stage_identity(run, self.results, self._inspector))
            if found is not None:
                self.results[run.name] = found

    def _stored(self, run: StageRun, identity: str) -> Result | None:
        """The result of a stage run that is done; None for one that is not."""
        note = read_note(self._plan.out, run.name)
        if note is None or note[0] != identity or not note[1].is_complete(self._plan.out):
            return None
        return note[1]

    def _ready(self, run: StageRun, identity: str) -> ReadyRun:
        values = replaced(dict(run.values), self._path)
        outputs: dict[str, Any] = {key: str(self._plan.out / path) for key, path in run.entry.outputs(run.name).items()}
        if run.kind == "sweep":
            # A sweep does not start in the folder of another, so the folder's name has the identity.
            outputs["out"] = str(self._plan.out) if self._plan.settings is None else f"{outputs['out']}-{identity[:8]}"
        if run.entry.trains in NETWORKS:
            outputs["overwrite"] = True
        settings = run.entry.check({**values, **outputs})
        if TRUST_CODE in type(settings).model_fields:
            settings = settings.model_copy(update={TRUST_CODE: self._inspector.trust_code})
        return ReadyRun(run.name, settings)

    def _path(self, key: str, reference: Reference) -> str:
        """What the setting `key` says in place of a reference: mostly the path of weights."""
        if "{sigma}" in reference.name:
            return str(self._plan.out / "weights" / f"{reference.name}.safetensors")
        result = self.results[reference.name]
        if key in RUN_SETTINGS:
            return ",".join(result.runs)
        if key == ENDPOINT:
            return self._endpoints[reference.name]
        if key in NETWORKS:
            return str(result.architecture)
        if key == "surrogates" and result.folder is not None:
            return str(self._plan.out / result.folder) + ("" if reference.first is None else f":{reference.first}")
        return str(self._plan.out / str(result.weights))

    def _note(self, run: StageRun, words: str) -> None:
        if self._context.show:
            number = self._plan.stage_runs.index(run) + 1
            line = f"stage {number} of {len(self._plan.stage_runs)}: {run}: {words}"
            Console(stderr=True, highlight=False).print(line, soft_wrap=True, markup=False)


def stage_identity(run: StageRun, results: Mapping[str, Result], inspector: Inspector) -> str:
    """SHA-256, in hex, of everything that affects the result of a stage run."""
    settings: dict[str, Any] = {**run.values, **(run.values.get("settings") or {})}
    split = settings.get("split") or ("train" if run.entry.trains else None)
    return settings_hash(
        {
            "kind": run.kind,
            "settings": _decisive(run.values),
            "takes": {name: results[name].digest for name in run.needs},
            "defaults": _decisive(inspector.defaults.get(run.name)),
            "scheme": SCHEME,
            "files": {path: _file_hashes(local_copy(path)) for _, path in files_of(run.values)},
            "data": None if run.entry.data is None else inspector.data_fingerprint({**settings, "split": split}),
        }
    )


def _file_hashes(path: Path) -> dict[str, str]:
    """Hashes of a weights file, or of all weights in a sweep's folder; none for the name of torchvision's weights."""
    files = [path] if path.is_file() else sorted((path / WEIGHTS).glob("*.safetensors"))
    return {file.name: file_hash(file) for file in files}


def _decisive(values: Any) -> Any:
    """`values`, however deep, without the settings that do not affect a result."""
    if isinstance(values, Mapping):
        return {key: _decisive(value) for key, value in values.items() if key not in _NOT_DECISIVE}
    return [_decisive(value) for value in values] if isinstance(values, list) else values
