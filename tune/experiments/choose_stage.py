"""A stage that chooses one of several networks by certificates: the one with the largest average certified radius."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import Settings, checked, split_list
from raysmooth.pipeline.store.manifest import CERTIFICATES
from raysmooth.tune.sweeps.nested_settings import nested

if TYPE_CHECKING:
    from raysmooth.tune.experiments.stage_kinds import ReadyRun


class CandidateSettings(Settings):
    """A network that may be chosen."""

    weights: str = Field(description="The network: @STAGE, which trains it.")
    judged_by: list[str] = Field(
        description="Certificates with it, never of test images: [@STAGE, @STAGE]; the mean of their ACR counts.",
        min_length=1,
    )

    @field_validator("judged_by", mode="before")
    @classmethod
    def _take_one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class ChooseSettings(Settings):
    """Choose"""

    of: list[Annotated[CandidateSettings, nested(CandidateSettings)]] = Field(
        description="The networks, each with the certificates that judge it; of equally good ones the first is chosen.",
        min_length=2,
    )


def checked_choice(values: Mapping[str, Any]) -> ChooseSettings:
    """The settings; raises RaysmoothError, in one line, for those that are wrong."""
    return checked(ChooseSettings, values)


def chosen(out: Path, run: "ReadyRun") -> tuple[Path, str]:
    """The weights that are chosen, and how, in words. Raises RaysmoothError for certificates of test images."""
    settings: Any = run.settings
    radii = [_acr(out, run.name, candidate.judged_by) for candidate in settings.of]
    best = radii.index(max(radii))
    acrs = ", ".join(
        f"{Path(candidate.weights).stem} {radius:.4f}" for candidate, radius in zip(settings.of, radii, strict=True)
    )
    weights = Path(settings.of[best].weights)
    return weights, f"{run.name}: {weights.stem} is chosen by its ACR: {acrs}"


def _acr(out: Path, name: str, judges: Sequence[str]) -> float:
    """The mean of the average certified radii of runs, each with one weight."""
    from raysmooth.pipeline.analysis.metrics import average_certified_radius
    from raysmooth.pipeline.store.parts import read_rows

    found = []
    for run_id in (one for judge in judges for one in split_list(judge)):
        rows = read_rows(out, CERTIFICATES, run_id)
        if tested := sorted(set(rows["split"]) - {"train"}):
            raise RaysmoothError(
                f"stage {name}: judged by certificates of split {tested[0]}: choose by images of the training split, "
                "held out as with 'split: train, start: 9, skip: 10'"
            )
        found.append(average_certified_radius(rows))
    if isnan(mean := sum(found) / len(found)):
        raise RaysmoothError(f"stage {name}: judged by certificates that have no ACR: name runs of labelled images")
    return mean
