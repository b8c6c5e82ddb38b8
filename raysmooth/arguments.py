"""Arguments of the Python API that no command's settings class describes: their types are checked as settings' are."""

from os import PathLike
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from raysmooth.common.limits import MOST_CLASSES
from raysmooth.common.settings import CommaList, Settings
from raysmooth.storage.paths import OutText, PathText


def _one_or_several(value: Any) -> Any:
    """A text is one, whatever commas it holds."""
    return [value] if isinstance(value, str | PathLike) else value


class ReportArguments(Settings):
    """Report"""

    table: Annotated[list[str], CommaList] = Field([], description="Tables to show and write; default: runs.")
    where: Annotated[list[str], BeforeValidator(_one_or_several)] = Field(
        [], description="Conditions on runs, such as sigma=0.5."
    )
    group_by: Annotated[list[str] | None, CommaList] = Field(None, description="Columns of the envelope's lines.")
    compare: str | None = Field(None, description="Two runs to compare image by image: RUN,RUN.")
    familywise: float | None = Field(None, description="Probability that not all answers of a run are right.")
    radius: float | None = Field(None, description="Radius of `compare` and `familywise`.")
    radii: Annotated[list[float] | None, CommaList] = Field(None, description="Radii of the tables.")
    intervals: bool = Field(False, description="Show the 95 % intervals of certified accuracies.")
    price_per_hour: float | None = Field(None, description="Price of one replica for an hour.")
    figure_width: str = Field("column", description="Width of the figures in a paper: column or page.")
    image: bool = Field(True, description="Show a certified image on the page, where data allow it.")
    out: OutText | None = Field(None, description="Folder for the files; default: `report` in the results.")


class RecertifyArguments(Settings):
    """Recertify"""

    run: Annotated[list[str] | None, CommaList] = Field(None, description="Run ids or their first characters.")
    alpha: float | None = Field(None, description="Failure probability of each certificate.")
    n: int | None = Field(None, description="Use only the first n estimation draws.")
    noise_bound: str | None = Field(None, description="complement, runner-up or rejection.")
    alpha_share: float | None = Field(None, description="Share of alpha for pA, where other classes have a bound.")
    rejection: Literal["on", "off"] | None = Field(None, description="off: without the rejector of the runs.")
    familywise: float | None = Field(None, description="Probability with which not all certificates of a run hold.")
    norm: str | None = Field(None, description="Norm of the radius.")
    label_rule: str | None = Field(None, description="Another label of the same answers of a vision API.")
    accepted: PathText | None = Field(None, description="Other labels that count as a class of the data.")
    envelope: Annotated[list[str] | None, CommaList] = Field(None, description="Runs at several sigmas to join.")
    worst_sigma: Annotated[list[str] | None, CommaList] = Field(None, description="Runs to join by the least radius.")
    memory: bool = Field(False, description="As a classifier that remembers its answers.")
    data_root: PathText | None = Field(None, description="Where the images of `memory` are now.")
    top_k: int | None = Field(None, description="Also certify that a class stays among the k most likely.")


class ExportArguments(Settings):
    """Export"""

    format: str = Field(description="locuslab, sok, json or model-card.")
    run: Annotated[list[str] | None, CommaList] = Field(None, description="Run ids or their first characters.")
    radii: Annotated[list[float] | None, CommaList] = Field(None, description="Radii of the results.")
    out: OutText | None = Field(None, description="File to write.")
    name: str | None = Field(None, description="What the model is called.")
    title: str | None = Field(None, description="Title of the publication.")
    link: str | None = Field(None, description="Its address.")
    venue: str | None = Field(None, description="Where it appeared.")


class RunArguments(Settings):
    """Run"""

    only: str | None = Field(None, description="Only this stage.")
    smoke: bool = Field(False, description="Try all stages with small networks and few images.")
    out: OutText | None = Field(None, description="Folder of the results; default: the experiment's.")
    data_root: PathText | None = Field(None, description="Folder or file with the data set.")
    address: str | None = Field(None, description="The Ray cluster.")
    trust_code: bool = Field(False, description="Import classifiers of your own that a file names.")


class SessionArguments(Settings):
    """Session"""

    address: str | None = Field(None, description="The Ray cluster: HOST:PORT, auto or local.")
    verbose: bool = Field(False, description="Show what Ray and its workers print.")


class ModelArguments(Settings):
    """A model that is an object"""

    num_classes: int | None = Field(None, description="Classes of a model that answers labels.", ge=2, le=MOST_CLASSES)
    threads: int | None = Field(None, description="Threads on the CPU; default: those of torch.", ge=1)
