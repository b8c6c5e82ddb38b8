"""A stage run: a stage of an experiment with one combination of the values in its matrix."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.numbers import number, with_fractions
from raysmooth.common.settings import TRUST_CODE, split_list
from raysmooth.pipeline.runs.noise_setting import settled_noise
from raysmooth.tune.experiments.matrix import MatrixValue, combinations, parse_matrix
from raysmooth.tune.experiments.references import NAME, Reference, filled, references, word
from raysmooth.tune.experiments.settings import MATRIX
from raysmooth.tune.experiments.stage_kinds import STAGE_KINDS, StageKind
from raysmooth.tune.experiments.weight_files import WEIGHT_SETTINGS, with_home, with_weights
from raysmooth.tune.sweeps.nested_settings import mapping

_SET_BY_EXPERIMENT = ("out", "overwrite", "address", "verbose", TRUST_CODE)
_SIGMA = frozenset({"sigma"})
_NAMES = frozenset({*WEIGHT_SETTINGS, "data_root", "split", "classes", "label_map", "label_column", "labels"})
"""Settings whose values may look like fractions and are names."""


@dataclass(frozen=True)
class StageRun:
    """`values` are its settings, in which references to other stage runs are still as written; `variables` are those of
    its matrix. `names` are the names that refer to it: that of its stage, shared with the stage's other runs, then one
    more suffix at a time, up to its own name, such as ("mse", "mse-dncnn", "mse-dncnn-0.25").
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
    def entry(self) -> StageKind:
        return STAGE_KINDS[self.kind]

    @cached_property
    def uses(self) -> list[tuple[str, str]]:
        """The names of its settings that refer to stage runs, each with the name of such a stage run."""
        return [(key, name) for key, found in references(self.values) for name in self.targets(found)]

    @cached_property
    def needs(self) -> list[str]:
        """Names of the stage runs that it refers to, each once."""
        return list(dict.fromkeys(name for _, name in self.uses))

    def targets(self, reference: Reference) -> list[str]:
        """Names of the stage runs that one of its references means: one, or one for each of its noise levels."""
        if "{sigma}" not in reference.name:
            return [reference.name]
        return [reference.name.replace("{sigma}", word(sigma)) for sigma in _noise_levels(self.values.get("sigma"))]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.kind != self.name else self.name


def stage_runs(stage: str, written: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[StageRun]:
    """The runs of a stage, in the order of its matrix. `written` is the stage as in the file, `data` are the data
    settings of the experiment. Raises RaysmoothError, naming the stage, for a stage that is not valid.
    """
    if not NAME.fullmatch(stage):
        raise RaysmoothError(f"stage '{stage}': write a name of letters, digits and . + - _")
    try:
        kind = _kind(written)
        values = _values(stage, kind, written[kind], data)
        matrix = parse_matrix(written.get(MATRIX, {}))
        entry = STAGE_KINDS[kind]
        if entry.one_sigma:
            _repeat_for_noise_levels(values, matrix)
        for suffixes, variables in combinations(matrix):
            names = tuple(accumulate([stage, *suffixes], "{}-{}".format))
            yield StageRun(
                names, kind, filled(values, variables, _SIGMA if entry.keeps_sigma else frozenset()), variables
            )
    except RaysmoothError as error:
        raise RaysmoothError(f"stage {stage}: {error}") from None


def _kind(written: Mapping[str, Any]) -> str:
    kinds = [key for key in written if key != MATRIX]
    if len(kinds) != 1:
        raise RaysmoothError(f"write one kind of {', '.join(STAGE_KINDS)}, found {', '.join(kinds) or 'none'}")
    return str(kinds[0])


def _values(stage: str, kind: str, written: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stage, before the variables of its matrix are filled in."""
    entry = STAGE_KINDS[kind]
    values: dict[str, Any] = _numbers_read(with_home(with_weights(entry.with_data(data, mapping(written or {})))))
    for key in _SET_BY_EXPERIMENT:
        if key in values:
            raise RaysmoothError(f"{key}: the experiment sets this: leave it out")
    if kind == "sweep" and "certify" in values:
        raise RaysmoothError(f"certify: write a stage of its own, as in 'certify: {{denoiser_weights: \"@{stage}\"}}'")
    if entry.one_sigma and "{" not in str(values.get("noise")):
        values = dict(settled_noise(values))
    return values


def _numbers_read(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with numbers in place of fractions, so that 1/4 and 0.25 are one stage run; names stay as they are."""
    return {
        key: value if key in _NAMES else _numbers_read(value) if isinstance(value, dict) else with_fractions(value)
        for key, value in values.items()
    }


def _repeat_for_noise_levels(values: dict[str, Any], matrix: dict[str, list[MatrixValue]]) -> None:
    """Several noise levels in the settings become a variable of the matrix, since each is a stage run of its own. A
    single level adds nothing to the name.
    """
    if "sigma" not in matrix:
        if "sigma" not in values or "{" in str(values["sigma"]):
            return
        levels = _noise_levels(values["sigma"])
        matrix["sigma"] = [MatrixValue(word(level) if len(levels) > 1 else "", {"sigma": level}) for level in levels]
    values["sigma"] = "{sigma}"


def _noise_levels(written: Any) -> list[float]:
    """Noise levels as settings have them: 0.25, [0.12, 0.25] or "0.12,0.25"."""
    parts = split_list(written) if isinstance(written, str) else written if isinstance(written, list) else [written]
    try:
        levels = [number(str(part)) for part in parts]
    except (TypeError, ValueError):
        levels = []
    if not levels:
        raise RaysmoothError(f"sigma: {written}: write a noise level, or several as [0.12, 0.25]")
    return levels
