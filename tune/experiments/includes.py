"""The stages of an experiment's file, with those that it includes from other files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.settings_file import read_yaml
from raysmooth.tune.experiments.settings import MATRIX, ExperimentSettings, find_experiment, read_experiment
from raysmooth.tune.experiments.stage_kinds import STAGE_KINDS


def all_stages(file: Path, settings: ExperimentSettings) -> dict[str, dict[str, Any]]:
    """The stages of `file`, as written, by name: the included ones first. `settings` are those in the file. Raises
    RaysmoothError for stages that cannot be included.
    """
    return _all_stages(file, settings, (file.resolve(),))


def _all_stages(file: Path, settings: ExperimentSettings, includers: tuple[Path, ...]) -> dict[str, dict[str, Any]]:
    stages = {}
    for other, wanted in settings.include.items():
        theirs = _stages_of_other(file, settings, other, includers)
        for name, values in wanted.items():
            if name not in theirs:
                raise RaysmoothError(f"include: {other} has no stage '{name}': {nearest(name, theirs)}")
            stages[name] = _with_matrix_values(name, theirs[name], values)
    for name, written in settings.stages.items():
        if name in stages:
            raise RaysmoothError(f"stages: {name} is included from another file: give this stage another name")
        stages[name] = _with_here(written, str(file.resolve().parent))
    return stages


def _with_here(value: Any, here: str) -> Any:
    """`value`, however deep, with the folder of its file in place of {here}, for files beside it."""
    if isinstance(value, dict):
        return {key: _with_here(inner, here) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_here(inner, here) for inner in value]
    return value.replace("{here}", here) if isinstance(value, str) else value


def _stages_of_other(
    file: Path, settings: ExperimentSettings, other: str, includers: tuple[Path, ...]
) -> dict[str, dict[str, Any]]:
    """All stages of the file named `other`: one beside `file`, or a bundled experiment."""
    beside = file.parent / f"{other}.yaml"
    other_file = beside if beside.is_file() else find_experiment(other)
    if other_file.resolve() in includers:
        raise RaysmoothError(f"include: {other} includes this file itself: write the stages in one of them")
    other_settings = read_experiment(other_file)
    out = read_yaml(file).get("out")  # as in the file; the settings may have that of the command line
    if (other_settings.data, other_settings.out) != (settings.data, out):
        raise RaysmoothError(
            f"include: {other} has a different 'data' or 'out': files can share stages only if both are equal"
        )
    return _all_stages(other_file, other_settings, (*includers, other_file.resolve()))


def _with_matrix_values(stage: str, written: dict[str, Any], values: Mapping[str, list[Any]] | None) -> dict[str, Any]:
    """An included stage with other `values` for variables of its matrix, or for its noise levels. The name of a value
    stands for the whole value.
    """
    if not values:
        return written
    matrix = dict(written.get(MATRIX, {}))
    has_noise_levels = any(kind in STAGE_KINDS and STAGE_KINDS[kind].one_sigma for kind in written)
    for variable, wanted in values.items():
        if variable not in matrix and not (variable == "sigma" and has_noise_levels):
            raise RaysmoothError(
                f"include: stage {stage} has no variable '{variable}' in its matrix: {nearest(variable, matrix)}"
            )
        if not isinstance(wanted, list):
            raise RaysmoothError(f"include: {stage}: {variable}: write its values as a list, such as [0.25]")
        by_name = {value["name"]: value for value in matrix.get(variable, []) if isinstance(value, dict)}
        if unknown := [value for value in wanted if by_name and value not in by_name]:
            raise RaysmoothError(
                f"include: {stage}: {variable}: unknown '{unknown[0]}': {nearest(str(unknown[0]), by_name)}"
            )
        matrix[variable] = [by_name.get(value, value) for value in wanted]
    return {**written, MATRIX: matrix}
