"""Settings of an experiment: the keys of its file, which reproduces a table or a figure of a paper."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.settings import Settings, checked, read_yaml
from raysmooth.tune.experiments.paper_comparison import LAYOUTS
from raysmooth.tune.sweeps.settings import mapping, nested

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
"""The experiments that come with raysmooth: beside its modules, in a checkout and where it is installed."""

DATA = ("dataset", "data_root", "resize", "crop")
"""What `data` may say."""


def _text(value: Any) -> Any:
    """3 as well as "3"."""
    return str(value) if isinstance(value, int) else value


class RowSettings(Settings):
    """A row of a paper's table, and the stages whose runs stand beside it."""

    row: str = Field(description="What the paper calls it.")
    ours: list[str] = Field([], description="Stages, or what `for` made of them, whose runs are this row's.")
    sigma: float | None = Field(None, description="The noise level of the row, where it has one.", gt=0)
    acr: float | str | None = Field(None, description="The paper's ACR; null where its text is lost.")
    values: list[float | str | None] = Field(
        [], description="The paper's numbers at the radii, in percent; null where its text is lost."
    )


class NumbersSettings(Settings):
    """A paper's own numbers, copied."""

    layout: str = Field(description=f"How the paper lays them out: {', '.join(LAYOUTS)}.")
    radii: list[float] = Field([], description="Radii of the columns, in pixel units ([0, 1]).")
    rows: list[Annotated[RowSettings, nested(RowSettings)]] = Field(description="The rows.", min_length=1)
    lost: list[str] = Field([], description="What is missing in the paper's text as it was copied.")

    @model_validator(mode="after")
    def _refuse_uneven_rows(self) -> "NumbersSettings":
        _ = LAYOUTS[self.layout]
        for row in self.rows:
            if len(row.values) != len(self.radii):
                raise RaysmoothError(
                    f"numbers: row '{row.row}' has {len(row.values)} values for {len(self.radii)} radii"
                )
        return self


class PaperSettings(Settings):
    """What is reproduced."""

    source: str = Field(description="The paper.")
    table: Annotated[str | None, BeforeValidator(_text)] = Field(None, description="The number of its table.")
    figure: Annotated[str | None, BeforeValidator(_text)] = Field(None, description="The number of its figure.")
    numbers: Annotated[NumbersSettings | None, nested(NumbersSettings)] = Field(
        None, description="A table's own numbers."
    )
    claim: str | None = Field(None, description="What the paper's text says of a figure.")

    @property
    def reference(self) -> str:
        """Where in which paper it is."""
        parts = [("table", self.table), ("figure", self.figure)]
        return ", ".join([self.source, *(f"{what} {number}" for what, number in parts if number is not None)])

    @model_validator(mode="after")
    def _refuse_without_numbers(self) -> "PaperSettings":
        if self.table is not None and self.numbers is None:
            raise RaysmoothError(
                f"paper: table {self.table} without its numbers: write 'numbers:' with the paper's own"
            )
        if self.table is None and self.claim is None:
            raise RaysmoothError("paper: write 'claim:', what its text says of the figure")
        return self


def _text_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        raise RaysmoothError(f"stages: expected 'name: stage' lines, found {value!r}")
    return {str(key): inner for key, inner in value.items()}


def _used(value: Any) -> Any:
    """[STAGE, ...] as well as {STAGE: {variable: [values]}}."""
    if not isinstance(value, dict):
        raise RaysmoothError(f"use: expected 'FILE: [STAGE, ...]' lines, found {value!r}")
    return {
        str(file): dict.fromkeys(map(str, stages)) if isinstance(stages, list) else stages
        for file, stages in value.items()
    }


class ExperimentSettings(Settings):
    """Experiment"""

    title: str = Field(description="One line: what it is.")
    paper: Annotated[PaperSettings, nested(PaperSettings)] = Field(description="What it reproduces.")
    differences: list[str] = Field(
        description="How what is done here differs from the paper, where that matters.", min_length=1
    )
    data: Annotated[dict[str, Any], BeforeValidator(mapping)] = Field(
        description=f"The data set of all stages: {', '.join(DATA)}."
    )
    use: Annotated[dict[str, dict[str, dict[str, list[Any]] | None]], BeforeValidator(_used)] = Field(
        {},
        description="Stages of other files with the same data and out, which come first: FILE: [STAGE, ...], or FILE: "
        "{STAGE: {variable: [values]}} for other values of their 'for'.",
    )
    stages: Annotated[dict[str, Any], BeforeValidator(_text_keys)] = Field(
        description="What is done, in this order: NAME: {KIND: {settings}}, repeated with 'for: {variable: [values]}'.",
        min_length=1,
    )
    out: str = Field(description="Folder of the results; files that share stages share it.")
    shared: Any = Field(None, description="Whatever YAML anchors stand for; not looked at.")

    @model_validator(mode="after")
    def _refuse_bad_data(self) -> "ExperimentSettings":
        for key in self.data:
            if key not in DATA:
                raise RaysmoothError(f"data: unknown setting '{key}': {nearest(key, DATA)}")
        if "dataset" not in self.data:
            raise RaysmoothError("data: write which, as in 'data: {dataset: cifar10, data_root: data}'")
        return self


def located(text: str) -> Path:
    """The file that a path or the bare name of an experiment that comes with raysmooth means; raises RaysmoothError for
    neither.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return path
    own = FOLDER / f"{text}.yaml"
    if path.parent == Path() and own.is_file():
        return own
    known = [file.stem for file in FOLDER.glob("*.yaml")]
    raise RaysmoothError(f"there is no experiment {text}: {nearest(path.stem, known)}")


def is_sweep(file: Path) -> bool:
    """Whether a file is that of one sweep, as `raysmooth sweep` takes it."""
    found = read_yaml(file)
    return "train" in found and "stages" not in found


def read_experiment(file: Path, **given: Any) -> ExperimentSettings:
    """The experiment in `file`, `given` instead of what it says; raises RaysmoothError for one that cannot be."""
    return checked(ExperimentSettings, given, file)
