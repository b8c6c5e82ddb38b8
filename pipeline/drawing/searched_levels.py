"""A search and the run of its levels in one command: the levels are found first, and then named in its settings."""

from collections.abc import Callable
from typing import TypeVar

from raysmooth.common.settings import TRUST_CODE, checked
from raysmooth.pipeline.drawing.finished_runs import look_beforehand
from raysmooth.pipeline.drawing.run_search import run_search
from raysmooth.pipeline.runs.image_level_settings import asks_for_search
from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA
from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings
from raysmooth.pipeline.runs.settings import NoisySettings

AnySettings = TypeVar("AnySettings", bound=NoisySettings)

_OWN = ("batch_size", "rejector", "rejector_weights")
"""Settings of a run that its search does not share: how much it computes at once, and what comes after the network."""


def search_settings(settings: NoisySettings) -> OptimizeSigmaSettings:
    """The settings of the search that a run's settings ask for: the same images, networks, noise, levels to begin at,
    seed and results.
    """
    shared = {*OptimizeSigmaSettings.model_fields} & {*type(settings).model_fields} - {*_OWN}
    values = {name: getattr(settings, name) for name in shared if getattr(settings, name) is not None}
    return checked(OptimizeSigmaSettings, values | {TRUST_CODE: settings.trust_code})


def with_known_levels(settings: AnySettings) -> AnySettings:
    """The settings with the levels of their search where that is known to be finished; else the settings themselves."""
    if not asks_for_search(settings):
        return settings
    known = look_beforehand(OPTIMIZE_SIGMA, [search_settings(settings)], show_progress=False)
    return settings if known.ids is None else settings.model_copy(update={"sigmas": known.ids, "search": None})


def with_found_levels(
    settings: AnySettings, show_progress: bool = True, before_torch: Callable[[], None] = lambda: None
) -> AnySettings:
    """The settings with the levels that their search has found, or finds now; the settings themselves where they ask
    for none. Arguments and errors are those of `run_search`.
    """
    if not asks_for_search(settings):
        return settings
    found = run_search(search_settings(settings), show_progress, before_torch)
    return settings.model_copy(update={"sigmas": found, "search": None})
