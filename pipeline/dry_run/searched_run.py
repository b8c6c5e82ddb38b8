"""What a run costs whose noise levels are found first, in the same command."""

from raysmooth.pipeline.drawing.searched_levels import search_settings, with_known_levels
from raysmooth.pipeline.dry_run.dry_run import estimate
from raysmooth.pipeline.dry_run.estimate import Estimate
from raysmooth.pipeline.runs.image_level_settings import asks_for_search
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA
from raysmooth.pipeline.runs.settings import SamplingSettings


def estimate_with_search(
    procedure: Procedure, settings: SamplingSettings, show_progress: bool = True
) -> tuple[list[Estimate], list[Estimate]]:
    """The estimates of `estimate`, one for each sigma, and those of the searches before them: none where the settings
    ask for no search, or it is finished.
    """
    settings = with_known_levels(settings)
    searches = estimate(OPTIMIZE_SIGMA, search_settings(settings), show_progress) if asks_for_search(settings) else []
    return estimate(procedure, settings, show_progress), searches
