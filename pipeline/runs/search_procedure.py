"""optimize-sigma: the procedure that finds a noise level for each image, and its rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.work_unit import UnitSigmas
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings
from raysmooth.pipeline.store.manifest import SEARCH, SIGMAS
from raysmooth.pipeline.store.sigma_rows import SIGMAS_SCHEMA


@dataclass(frozen=True)
class SearchProcedure:
    """Rows are those of SIGMAS_SCHEMA, several for each image. `facts` are the columns that all rows of a run share."""

    name: str = SEARCH
    folder: str = SIGMAS
    settings: type[OptimizeSigmaSettings] = OptimizeSigmaSettings

    def refuse(self, settings: OptimizeSigmaSettings, noise: NoiseFamily) -> None:
        """Raises RaysmoothError for levels that do not fit the run's."""
        read_search(settings.search)[1].refuse_unfit(noise.name, noise.scale)

    def found_rows(
        self,
        facts: Mapping[str, Any],
        steps: tuple[int, ...],
        image_id: int,
        label: int | None,
        file: str | None,
        found: UnitSigmas,
        place: int,
    ) -> list[dict[str, Any]]:
        """The rows of number `place` of the images of a unit, one for each of the `steps` kept, whose share of the
        unit's seconds is that of any of its images.
        """
        radius = float(found.radii[place])
        shared = {
            **dict.fromkeys(SIGMAS_SCHEMA.names),
            **facts,
            "image_id": image_id,
            "label": label,
            "file": file,
            "radius": None if radius != radius else radius,
            "seconds": found.seconds / len(found.failed),
            "status": "ok",
        }
        return [
            {
                **shared,
                "step": step,
                "image_sigma": float(found.sigmas[place, number]),
                "objective_value": float(found.objectives[place, number]),
                "prediction": int(found.classes[place, number]),
            }
            for number, step in enumerate(steps)
        ]

    def error_row(
        self, facts: Mapping[str, Any], image_id: int, label: int | None, file: str | None, reason: str, seconds: float
    ) -> dict[str, Any]:
        return {
            **dict.fromkeys(SIGMAS_SCHEMA.names),
            **facts,
            "image_id": image_id,
            "label": label,
            "file": file,
            "seconds": seconds,
            "status": "error",
            "error": reason,
        }


OPTIMIZE_SIGMA = SearchProcedure()
