"""The `matrix` of a stage: for each variable the values for which the stage is repeated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeAlias

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.numbers import with_fractions
from raysmooth.tune.experiments.references import NAME, word
from raysmooth.tune.sweeps.nested_settings import mapping


@dataclass(frozen=True)
class MatrixValue:
    """One value of a variable: `suffix` is what it adds to a stage run's name, if anything; `variables` are the
    variables that it sets, with their values.
    """

    suffix: str
    variables: Mapping[str, Any]


MOST_COMBINATIONS = 10_000
"""Combinations of a stage's matrix: each is a run of the stage, planned before the first."""

Matrix: TypeAlias = Mapping[str, Sequence[MatrixValue]]


def parse_matrix(written: Any) -> dict[str, list[MatrixValue]]:
    """Read {variable: [value, ...]}. A value is a number or a word, or {name: ..., variable: value, ...}, which sets
    further variables. Raises RaysmoothError for anything else.
    """
    matrix = {}
    for variable, values in mapping(written).items():
        if not (isinstance(values, list) and values):
            raise RaysmoothError(f"matrix: {variable}: write its values as a list, such as [0.25, 0.5]")
        matrix[variable] = [_matrix_value(variable, value) for value in values]
    return matrix


def _matrix_value(variable: str, value: Any) -> MatrixValue:
    further: dict[str, Any] = {}
    value = with_fractions(value)
    if isinstance(value, dict):
        further = mapping(value)
        if "name" not in further:
            raise RaysmoothError(f"matrix: {variable}: a value with variables needs a name: write 'name: mse', say")
        value = word(further.pop("name"))
    suffix = word(value)
    if isinstance(value, bool) or not NAME.fullmatch(suffix):
        raise RaysmoothError(f"matrix: {variable}: '{suffix}' becomes part of names: write letters, digits and . + - _")
    return MatrixValue(suffix, {variable: value, **further})


def combinations(matrix: Matrix) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """The suffixes and the variables of each combination of values; the last variable changes fastest. Raises
    RaysmoothError for more than `MOST_COMBINATIONS`.
    """
    number = prod(len(values) for values in matrix.values())
    if number > MOST_COMBINATIONS:
        raise RaysmoothError(f"matrix: {number:,} combinations are too many: write at most {MOST_COMBINATIONS:,}")
    for values in product(*matrix.values()):
        suffixes = [value.suffix for value in values if value.suffix]
        yield suffixes, {name: content for value in values for name, content in value.variables.items()}
