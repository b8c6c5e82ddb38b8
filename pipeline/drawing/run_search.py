"""Searching for noise levels, as a command of its own or before a run that uses them."""

from collections.abc import Callable

from raysmooth.pipeline.drawing.finished_runs import look_beforehand
from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA
from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings


def run_search(
    settings: OptimizeSigmaSettings, show_progress: bool = True, before_torch: Callable[[], None] = lambda: None
) -> list[str]:
    """Find the noise levels of all images; the ids of the searches, one for each sigma of the settings.

    Searches that are finished mostly need no torch and no Ray; `before_torch` is called where they do. Raises
    RaysmoothError as `run_procedure` does.
    """
    found = look_beforehand(OPTIMIZE_SIGMA, [settings], show_progress)
    if found.ids is not None:
        return found.ids
    before_torch()
    from raysmooth.pipeline.drawing.driver import run_all  # it loads torch

    return [*run_all(OPTIMIZE_SIGMA, [settings], show_progress, found.opened)[0]]
