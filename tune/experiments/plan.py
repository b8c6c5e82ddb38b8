"""From an experiment's file to its stage runs, in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.settings_file import read_yaml
from raysmooth.storage.store_urls import refuse_url
from raysmooth.tune.experiments.includes import all_stages
from raysmooth.tune.experiments.settings import ExperimentSettings, is_sweep, read_experiment
from raysmooth.tune.experiments.stage_run import StageRun, stage_runs

REPORT = "report"
"""Name and kind of the stage that ends every experiment."""


RUN_SETTINGS = {
    "sigmas": ("noise levels", ("optimize-sigma",)),
    "run": ("certificates", ("certify", "recertify")),
    "judged_by": ("certificates", ("certify", "recertify")),
    "envelope": ("certificates from draws", ("certify",)),
    "worst_sigma": ("certificates from draws", ("certify",)),
}
"""Settings that name runs of other stages: what they take of them, and the kinds of stages that make it."""


ENDPOINT = "endpoint"
"""The setting that names a stage which serves."""


@dataclass(frozen=True)
class Plan:
    """All stage runs of an experiment, whose results go to `out`. `settings` is None for the file of a single sweep,
    whose results are in `out` itself. `smoke`: the plan of a smoke test.
    """

    name: str
    settings: ExperimentSettings | None
    out: Path
    stage_runs: Sequence[StageRun]
    smoke: bool = False

    def named(self, name: str) -> list[StageRun]:
        """The runs of a stage, or some of them; raises RaysmoothError for an unknown name."""
        found = [run for run in self.stage_runs if name in run.names]
        if not found:
            known = {known for run in self.stage_runs for known in run.names}
            raise RaysmoothError(f"unknown stage '{name}': {nearest(name, known)}")
        return found


def read_plan(file: Path, out: str | None = None, data_root: str | None = None) -> Plan:
    """The plan of the experiment or the sweep in `file`; `out` and `data_root` replace the file's.

    Raises RaysmoothError, naming the file, for invalid stages, unknown names, and stages that need later ones.
    """
    try:
        if is_sweep(file):
            return _sweep_plan(file, out, data_root)
        settings = read_experiment(file, **({} if out is None else {"out": out}))
        runs = list(_stage_runs(file, settings, data_root))
        _refuse_bad_references(runs)
        _refuse_unknown_rows(settings, runs)
    except RaysmoothError as error:
        text = str(error)
        raise RaysmoothError(text if text.startswith(str(file)) else f"{file}: {text}") from None
    refuse_url(settings.out, "out:")
    return Plan(file.stem, settings, Path(settings.out).expanduser(), runs)


def _sweep_plan(file: Path, out: str | None, data_root: str | None) -> Plan:
    values = read_yaml(file)
    if data_root is not None:
        values["settings"] = {**values.get("settings", {}), "data_root": data_root}
    folder = out or str(values.get("out", "sweep"))
    values.pop("out", None)
    return Plan(file.stem, None, Path(folder).expanduser(), [StageRun((file.stem,), "sweep", values)])


def _stage_runs(file: Path, settings: ExperimentSettings, data_root: str | None) -> Iterator[StageRun]:
    data = {**settings.data, **({} if data_root is None else {"data_root": data_root})}
    has_report = False
    for stage, written in all_stages(file, settings).items():
        for run in stage_runs(stage, written, data):
            has_report |= run.kind == REPORT
            yield run
    if not has_report:
        yield StageRun((REPORT,), REPORT, {})


def _refuse_bad_references(runs: Sequence[StageRun]) -> None:
    """Raises RaysmoothError for two stage runs of one name, and for references to stage runs that do not exist, come
    later or have no weights.
    """
    all_names = {run.name for run in runs}
    earlier: dict[str, StageRun] = {}
    for run in runs:
        if run.name in earlier:
            raise RaysmoothError(f"stage {run.stage}: there are two of the name {run.name}: rename one of them")
        for key, name in run.uses:
            if name not in earlier and name in all_names:
                raise RaysmoothError(
                    f"stage {run.stage} refers to @{name}, which comes after it: move it below stage {name}"
                )
            fitting = [known for known, other in earlier.items() if _fits(key, other)]
            if name not in earlier:
                known = fitting
                raise RaysmoothError(
                    f"stage {run.stage} refers to @{name}, which no stage makes: {nearest(name, known)}"
                )
            if name not in fitting:
                what = "endpoint" if key == ENDPOINT else RUN_SETTINGS.get(key, ("weights", ()))[0]
                kind = earlier[name].kind
                article = "an" if kind[0] in "aeiou" else "a"
                raise RaysmoothError(f"stage {run.stage} refers to @{name}: {article} {kind} makes no {what}")
        earlier[run.name] = run


def _fits(key: str, other: StageRun) -> bool:
    """Whether the result of another stage run can be the value of a setting."""
    if key in RUN_SETTINGS:
        return other.kind in RUN_SETTINGS[key][1]
    if key == ENDPOINT:
        return other.entry.serve is not None
    return other.entry.has_weights


def _refuse_unknown_rows(settings: ExperimentSettings, runs: Sequence[StageRun]) -> None:
    """Raises RaysmoothError for rows of the paper's table that name unknown stages."""
    known = {name for run in runs if run.entry.has_rows for name in run.names}
    numbers = settings.paper.numbers
    for row in numbers.rows if numbers is not None else []:
        for name in row.ours:
            if name not in known:
                raise RaysmoothError(f"paper: row '{row.row}': no stage '{name}' certifies: {nearest(name, known)}")
