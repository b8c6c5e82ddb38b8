"""Settings of an experiment: the keys of its file, which reproduces a table or a figure of a paper."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator

from raysmooth.common.errors import RaysmoothError, described, nearest
from raysmooth.common.settings import Settings, checked
from raysmooth.common.settings_file import read_yaml
from raysmooth.pipeline.runs.data_settings import READING
from raysmooth.storage.paths import OutText, refuse_no_path
from raysmooth.tune.experiments.paper_comparison import LAYOUTS
from raysmooth.tune.sweeps.nested_settings import mapping, nested

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
"""The bundled experiments: beside the modules, in a checkout and in an installation."""

DATA = ("dataset", "data_root", *READING)
"""Settings that `data` may have."""

MATRIX = "matrix"
"""Key of a stage: the values for which it is repeated."""


def _number_as_text(value: Any) -> Any:
    """Takes 3 as well as "3"."""
    return str(value) if isinstance(value, int) else value


class RowSettings(Settings):
    """A row of a paper's table, and the stages whose runs are compared with it."""

    row: str = Field(description="Its name in the paper.")
    ours: list[str] = Field([], description="Names of stages or stage runs to compare with this row.")
    sigma: float | None = Field(None, description="The noise level of the row, if it has one.", gt=0)
    acr: float | str | None = Field(None, description="The paper's ACR; null where unreadable.")
    values: list[float | str | None] = Field(
        [], description="The paper's numbers at the radii, in percent; null where unreadable."
    )


class NumbersSettings(Settings):
    """The numbers in a paper, as printed there."""

    layout: str = Field(description=f"Layout of the paper's table: {', '.join(LAYOUTS)}.")
    radii: list[float] = Field([], description="Radii of the columns, in pixel units ([0, 1]).")
    rows: list[Annotated[RowSettings, nested(RowSettings)]] = Field(description="The rows.", min_length=1)
    lost: list[str] = Field(
        [], description="Which numbers are unreadable in the copy of the paper, and what was done about it."
    )

    @model_validator(mode="after")
    def _refuse_uneven_rows(self) -> "NumbersSettings":
        _ = LAYOUTS[self.layout]
        for row in self.rows:
            if len(row.values) != len(self.radii):
                raise RaysmoothError(
                    f"numbers: row '{row.row}' has {len(row.values)} values for {len(self.radii)} radii"
                )
        return self


class TimesSettings(Settings):
    """The time of a training in a paper, and the stages whose trainings are compared with it."""

    row: str = Field(description="Its name in the paper.")
    ours: list[str] = Field(description="Names of stages or stage runs that train it here.", min_length=1)
    epochs: int = Field(description="The paper's number of epochs.", ge=1)
    seconds: float = Field(description="The paper's seconds an epoch.", gt=0)
    hours: float = Field(description="The paper's hours in all.", gt=0)


class PaperSettings(Settings):
    """The table or figure that the experiment reproduces."""

    source: str = Field(description="The paper.")
    table: Annotated[str | None, BeforeValidator(_number_as_text)] = Field(None, description="The number of its table.")
    figure: Annotated[str | None, BeforeValidator(_number_as_text)] = Field(
        None, description="The number of its figure."
    )
    numbers: Annotated[NumbersSettings | None, nested(NumbersSettings)] = Field(
        None, description="The numbers of the table."
    )
    times: list[Annotated[TimesSettings, nested(TimesSettings)]] = Field(
        [], description="The training times of the table, if these are what it has."
    )
    claim: str | None = Field(None, description="The paper's statement about the figure.")

    @property
    def reference(self) -> str:
        """The paper, with the number of the table or figure."""
        parts = [("table", self.table), ("figure", self.figure)]
        return ", ".join([self.source, *(f"{what} {number}" for what, number in parts if number is not None)])

    @model_validator(mode="after")
    def _refuse_without_numbers(self) -> "PaperSettings":
        if self.table is not None and self.numbers is None and not self.times:
            raise RaysmoothError(f"paper: table {self.table} without its numbers: write them under 'numbers:'")
        if self.numbers is not None and self.times:
            raise RaysmoothError("paper: 'numbers:' and 'times:' are two tables: write an experiment for each")
        if self.table is None and self.claim is None:
            raise RaysmoothError("paper: write 'claim:', the paper's statement about the figure")
        return self


def _stages(value: Any) -> Any:
    if not isinstance(value, dict):
        raise RaysmoothError(f"stages: expected 'name: stage' lines, found {value!r}")
    for name, written in value.items():
        if not isinstance(written, dict):
            raise RaysmoothError(f"stage {name}: expected 'KIND: settings', found {written!r}")
        if "for" in written:
            raise RaysmoothError(f"stage {name}: unknown setting 'for': it is now called {MATRIX}")
    return {str(name): written for name, written in value.items()}


def _include(value: Any) -> Any:
    """Takes [STAGE, ...] as well as {STAGE: {variable: [values]}}."""
    if not isinstance(value, dict):
        raise RaysmoothError(f"include: expected 'FILE: [STAGE, ...]' lines, found {value!r}")
    return {
        str(file): dict.fromkeys(map(str, stages)) if isinstance(stages, list) else stages
        for file, stages in value.items()
    }


class ExperimentSettings(Settings):
    """Experiment"""

    KEYS_ONLY: ClassVar[bool] = True

    RENAMED: ClassVar[Mapping[str, str]] = {"use": "include"}

    title: str = Field(description="One line: its subject.")
    paper: Annotated[PaperSettings, nested(PaperSettings)] = Field(description="What it reproduces.")
    differences: list[str] = Field(description="How it differs from the paper, where that matters.", min_length=1)
    data: Annotated[dict[str, Any], BeforeValidator(mapping)] = Field(
        description=f"The data set of all stages: {', '.join(DATA)}."
    )
    include: Annotated[dict[str, dict[str, dict[str, list[Any]] | None]], BeforeValidator(_include)] = Field(
        {},
        description="Stages of other files with the same data and out, which come first: FILE: [STAGE, ...], or FILE: "
        "{STAGE: {variable: [values]}} to replace values of their matrix.",
    )
    stages: Annotated[dict[str, dict[str, Any]], BeforeValidator(_stages)] = Field(
        description="Its stages, in order: NAME: {KIND: {settings}}; 'matrix: {variable: [values]}' repeats a stage; "
        "{here} is the folder of the file.",
        min_length=1,
    )
    out: OutText = Field(description="Folder of the results; files that share stages share it.")
    shared: Any = Field(None, description="A place for YAML anchors; ignored.")

    @model_validator(mode="after")
    def _refuse_bad_data(self) -> "ExperimentSettings":
        for key in self.data:
            if key not in DATA:
                raise RaysmoothError(f"data: unknown setting '{key}': {nearest(key, DATA)}")
        if "dataset" not in self.data:
            raise RaysmoothError("data: write which, as in 'data: {dataset: cifar10, data_root: data}'")
        return self


def find_experiment(text: str | Path) -> Path:
    """The file of an experiment, given its path, or the name of a bundled one; raises RaysmoothError for neither."""
    if not isinstance(text, str | Path):
        raise RaysmoothError(f"{described(text)} is no experiment: write the path of its YAML file, or a name")
    refuse_no_path(str(text))
    path = Path(text).expanduser()
    if os.path.isfile(path):
        return path
    bundled = FOLDER / f"{text}.yaml"
    if path.parent == Path() and os.path.isfile(bundled):
        return bundled
    known = [file.stem for file in FOLDER.glob("*.yaml")]
    raise RaysmoothError(f"there is no experiment {text}: {nearest(path.stem, known)}")


def is_sweep(file: Path) -> bool:
    """Whether the file is that of a single sweep, as `raysmooth sweep` takes it."""
    found = read_yaml(file)
    return "train" in found and "stages" not in found


def read_experiment(file: Path, **given: Any) -> ExperimentSettings:
    """The experiment in `file`; `given` replaces its settings. Raises RaysmoothError for an invalid one."""
    return checked(ExperimentSettings, given, file)
