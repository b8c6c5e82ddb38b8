"""From an experiment's file to its jobs, in order: each stage, or what its `for` repeats it for, with what it needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, product
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.settings import read_yaml
from raysmooth.pipeline.runs.noise_setting import settled_noise
from raysmooth.storage.store_urls import refuse_url
from raysmooth.tune.experiments.references import NAME, Reference, filled, references, word
from raysmooth.tune.experiments.settings import ExperimentSettings, is_sweep, located, read_experiment
from raysmooth.tune.experiments.stage_kinds import STAGE_KINDS, StageKind
from raysmooth.tune.sweeps.settings import mapping

REPORT = "report"
"""The stage that every experiment ends with, and its kind."""

FILES = ("classifier_weights", "denoiser_weights", "init_weights", "surrogates")
"""Settings that name weights, or folders of them."""

_SIGMA = frozenset({"sigma"})


@dataclass(frozen=True)
class Job:
    """One piece of work: `values` are its settings, with references to other jobs as they are written; `variables` what
    its stage's `for` chose for it. `names` are those it may be called by: its stage's, which others share, and that
    with what was chosen, variable by variable, up to its own.
    """

    names: tuple[str, ...]
    kind: str
    values: Mapping[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        return self.names[0]

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def row(self) -> StageKind:
        return STAGE_KINDS[self.kind]

    @cached_property
    def needs(self) -> list[str]:
        """Names of the jobs that it refers to, each once."""
        return list(dict.fromkeys(name for found in references(self.values) for name in self.meant(found)))

    def meant(self, reference: Reference) -> list[str]:
        """The jobs that a reference of this one means: one, or one for each of its noise levels."""
        if "{sigma}" not in reference.name:
            return [reference.name]
        levels = self.values.get("sigma")
        return [reference.name.replace("{sigma}", word(sigma)) for sigma in _levels(levels)]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.kind != self.name else self.name


@dataclass(frozen=True)
class Plan:
    """All that an experiment does. `plain`: its file is that of a sweep, which lies in `out` itself."""

    name: str
    settings: ExperimentSettings | None
    out: Path
    jobs: Sequence[Job]
    plain: bool = False
    smoke: bool = False

    def named(self, name: str) -> list[Job]:
        """The jobs of a stage, or some of them; raises RaysmoothError for a name that nothing has."""
        found = [job for job in self.jobs if name in job.names]
        if not found:
            known = {each for job in self.jobs for each in job.names}
            raise RaysmoothError(f"unknown stage '{name}': {nearest(name, known)}")
        return found


def read_plan(file: Path, out: str | None = None, data_root: str | None = None) -> Plan:
    """The plan of an experiment's file. Raises RaysmoothError, naming the file, for stages that are none, names that nothing
    has, and stages that need what comes after them.
    """
    try:
        if is_sweep(file):
            return _plain(file, out, data_root)
        settings = read_experiment(file, **({} if out is None else {"out": out}))
        jobs = list(_jobs(file, settings, data_root))
        _refuse_bad_names(jobs)
        _refuse_unknown_rows(settings, jobs)
    except RaysmoothError as refusal:
        text = str(refusal)
        raise RaysmoothError(text if text.startswith(str(file)) else f"{file}: {text}") from None
    refuse_url(settings.out, "out:")
    return Plan(file.stem, settings, Path(settings.out).expanduser(), jobs)


def _plain(file: Path, out: str | None, data_root: str | None) -> Plan:
    values = read_yaml(file)
    if data_root is not None:
        values["settings"] = {**values.get("settings", {}), "data_root": data_root}
    folder = out or str(values.pop("out", "sweep"))
    values.pop("out", None)
    return Plan(file.stem, None, Path(folder).expanduser(), [Job((file.stem,), "sweep", values)], plain=True)


def _jobs(file: Path, settings: ExperimentSettings, data_root: str | None) -> Iterator[Job]:
    data = {**settings.data, **({} if data_root is None else {"data_root": data_root})}
    jobs = [
        job
        for stage, written in _stages(file, settings, (file.resolve(),)).items()
        for job in _expanded(stage, written, data)
    ]
    yield from jobs
    if not any(job.kind == REPORT for job in jobs):
        yield Job((REPORT,), "report", {})


def _stages(file: Path, settings: ExperimentSettings, seen: tuple[Path, ...]) -> dict[str, Any]:
    """What the file does: stages of others first."""
    stages: dict[str, Any] = {}
    for other_name, wanted in settings.use.items():
        beside = file.parent / f"{other_name}.yaml"
        other_file = beside if beside.is_file() else located(other_name)
        if other_file.resolve() in seen:
            raise RaysmoothError(f"use: {other_name} uses this very file: write the stages in one of them")
        other = read_experiment(other_file)
        mine = read_yaml(file).get("out")
        if (other.data, other.out) != (settings.data, mine):
            raise RaysmoothError(
                f"use: {other_name} has other data, or another out: stages are shared where these are equal"
            )
        theirs = _stages(other_file, other, (*seen, other_file.resolve()))
        for name in wanted:
            if name not in theirs:
                raise RaysmoothError(f"use: {other_name} has no stage '{name}': {nearest(name, theirs)}")
            stages[name] = _narrowed(name, theirs[name], wanted[name])
    for name, written in settings.stages.items():
        if name in stages:
            raise RaysmoothError(f"stages: {name} is used from another file: give this one another name")
        stages[name] = written
    return stages


def _narrowed(stage: str, written: Any, values: Mapping[str, list[Any]] | None) -> Any:
    """A used stage, with other values of its `for`: a name stands for the value that it is the name of there."""
    if not values:
        return written
    loop = dict(written.get("for", {}))
    for variable, wanted in values.items():
        named = {each["name"]: each for each in loop.get(variable, []) if isinstance(each, dict)}
        kinds = [kind for kind in written if kind in STAGE_KINDS and STAGE_KINDS[kind].one_sigma]
        if variable not in loop and not (variable == "sigma" and kinds):
            raise RaysmoothError(f"use: stage {stage} has no 'for' over '{variable}': {nearest(variable, loop)}")
        if not isinstance(wanted, list):
            raise RaysmoothError(f"use: {stage}: {variable}: write its values as a list, such as [0.25]")
        if unknown := [value for value in wanted if named and value not in named]:
            raise RaysmoothError(f"use: {stage}: {variable}: unknown '{unknown[0]}': {nearest(str(unknown[0]), named)}")
        loop[variable] = [named.get(value, value) for value in wanted]
    return {**written, "for": loop}


def _expanded(stage: str, written: Any, data: Mapping[str, Any]) -> Iterator[Job]:
    """The jobs of one stage."""
    if not NAME.fullmatch(stage):
        raise RaysmoothError(f"stage '{stage}': write a name of letters, digits and . + - _")
    if not isinstance(written, dict):
        raise RaysmoothError(f"stage {stage}: expected 'KIND: settings', found {written!r}")
    kinds = [key for key in written if key != "for"]
    if len(kinds) != 1:
        raise RaysmoothError(
            f"stage {stage}: write one kind of {', '.join(STAGE_KINDS)}, found {', '.join(kinds) or 'none'}"
        )
    (kind,) = kinds
    try:
        row = STAGE_KINDS[kind]
        values = _from_home(row.with_data(data, mapping(written[kind] or {})))
        if own := [key for key in ("out", "overwrite", "address", "verbose") if key in values]:
            raise RaysmoothError(f"{own[0]}: an experiment decides this itself: leave it out")
        if kind == "sweep" and "certify" in values:
            raise RaysmoothError(
                f"certify: write a stage of its own, as in 'certify: {{denoiser_weights: \"@{stage}\"}}'"
            )
        if row.one_sigma and "{" not in str(values.get("noise")):
            values = settled_noise(values)
        loop = _loop(written.get("for", {}))
        keep = _SIGMA if row.keeps_sigma else frozenset()
        if row.one_sigma and "sigma" in loop:
            values["sigma"] = "{sigma}"
        elif row.one_sigma and "{" not in str(values.get("sigma", "{")):
            loop["sigma"] = [("", {"sigma": level}) for level in _levels(values.get("sigma"))]
            values["sigma"] = "{sigma}"
            if len(loop["sigma"]) > 1:
                loop["sigma"] = [(word(each["sigma"]), each) for _, each in loop["sigma"]]
        for chosen in product(*loop.values()):
            variables = {name: value for _, each in chosen for name, value in each.items()}
            parts = accumulate([stage, *(part for part, _ in chosen if part)], "{}-{}".format)
            yield Job(tuple(parts), kind, filled(values, variables, keep), variables)
    except RaysmoothError as refusal:
        raise RaysmoothError(f"stage {stage}: {refusal}") from None


def _from_home(values: Any, key: str = "") -> Any:
    """`values` with the home folder in the place of ~ where files are named."""
    if isinstance(values, Mapping):
        return {inner_key: _from_home(inner, inner_key) for inner_key, inner in values.items()}
    if isinstance(values, list):
        return [_from_home(inner, key) for inner in values]
    if isinstance(values, str) and key in (*FILES, "data_root"):
        return ",".join(str(Path(part).expanduser()) if part.startswith("~") else part for part in values.split(","))
    return values


def _loop(written: Any) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """What a `for` says: for each variable its values, each as what it adds to a name and the variables it sets."""
    loop: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for variable, values in mapping(written).items():
        if not (isinstance(values, list) and values):
            raise RaysmoothError(f"for: {variable}: write its values as a list, such as [0.25, 0.5]")
        loop[variable] = []
        for value in values:
            inner = mapping(value) if isinstance(value, dict) else {}
            if isinstance(value, dict) and "name" not in inner:
                raise RaysmoothError(
                    f"for: {variable}: a value with settings of its own needs a name: write 'name: mse', say"
                )
            part = word(inner.pop("name", value))
            if isinstance(value, bool) or not NAME.fullmatch(part):
                raise RaysmoothError(
                    f"for: {variable}: '{part}' becomes part of names: write letters, digits and . + - _"
                )
            loop[variable].append((part, {variable: part if isinstance(value, dict) else value, **inner}))
    return loop


def _levels(written: Any) -> list[float]:
    """Noise levels as settings have them: 0.25, [0.12, 0.25] or "0.12,0.25"."""
    parts = written.split(",") if isinstance(written, str) else written if isinstance(written, list) else [written]
    try:
        return [float(part) for part in parts]
    except (TypeError, ValueError):
        raise RaysmoothError(f"sigma: {written}: write a noise level, or several as [0.12, 0.25]") from None


def _refuse_bad_names(jobs: Sequence[Job]) -> None:
    """Raises RaysmoothError for two jobs of a name, and for references to what is not there before."""
    all_names = {job.name: job for job in jobs}
    before: dict[str, Job] = {}
    for job in jobs:
        if job.name in before:
            raise RaysmoothError(f"stage {job.stage}: there are two of the name {job.name}: rename one of them")
        for name in job.needs:
            if name == job.name or (name not in before and name in all_names):
                raise RaysmoothError(
                    f"stage {job.stage} refers to @{name}, which comes after it: move it below stage {name}"
                )
            if name not in before:
                given = [each for each, other in before.items() if other.row.gives]
                raise RaysmoothError(
                    f"stage {job.stage} refers to @{name}, which no stage gives: {nearest(name, given)}"
                )
            if not before[name].row.gives:
                raise RaysmoothError(f"stage {job.stage} refers to @{name}: a {before[name].kind} gives no weights")
        before[job.name] = job


def _refuse_unknown_rows(settings: ExperimentSettings, jobs: Sequence[Job]) -> None:
    """Raises RaysmoothError for rows of the paper's table that name no stage."""
    known = {each for job in jobs if job.row.gives_runs for each in job.names}
    numbers = settings.paper.numbers
    for row in numbers.rows if numbers is not None else []:
        for name in row.ours:
            if name not in known:
                raise RaysmoothError(f"paper: row '{row.row}': no stage '{name}' certifies: {nearest(name, known)}")
