"""The noise levels of a run's images, found by an earlier search of the same images with the same networks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raysmooth.actors.sigma_search.searches import read_search, rule_of
from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.runs.image_level_settings import ImageLevelSettings, refuse_other_alpha
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.image_sigmas import ImageSigmas, read_image_sigmas

_SAME = {
    "dataset": "data set",
    "split": "split",
    "index_set": "index set",
    "data_fingerprint": "content of the data",
    "classifier": "classifier",
    "classifier_fingerprint": "content of the classifier's weights",
    "denoiser": "denoiser",
    "denoiser_fingerprint": "content of the denoiser's weights",
    "preprocess": "normalisation",
    "input_size": "input size",
    "noise": "noise",
    "sigma": "sigma to begin at",
}
"""What a search and a run of its levels must have in common, by the keys of their identities."""

TO_COME = "those of --search"
"""In place of a search's run id before there is one."""

_HASHES = ("data_fingerprint", "classifier_fingerprint", "denoiser_fingerprint")


def with_levels(run: Run) -> Run:
    """The run with the levels that its settings name, if they name any. Those of a search that comes before the run
    have no numbers yet.

    Raises RaysmoothError as `read_image_sigmas`, for a search of other images, networks or noise, and where the class's
    half of alpha is too small for any certificate.
    """
    settings = run.settings
    if not isinstance(settings, ImageLevelSettings) or not settings.has_own_levels:
        return run
    if settings.sigmas is None:
        assert settings.search is not None, "one of both names the levels"
        run = replace(run, image_sigmas=_levels_to_come(settings.search, settings.steps, run.settings.alpha))
        run.procedure.refuse(run.ruled_settings, run.noise)
        return run
    search = settings.sigmas[settings.sigma.index(run.noise.scale)]
    found = read_image_sigmas(settings.out, search, settings.steps)
    _refuse_other_search(found, run)
    if found.alpha is not None:
        refuse_other_alpha(run.settings.alpha, found.alpha)
    run = replace(run, image_sigmas=found)
    run.procedure.refuse(run.ruled_settings, run.noise)
    return run


def _levels_to_come(search: str, steps: int | None, alpha: float) -> ImageSigmas:
    """Stands for the levels of a search that has not been made, in an estimate of what the run will cost."""
    options = read_search(search)[1]
    step = options.kept_steps[-1] if steps is None else steps
    radii: dict[int, float] | None = {} if options.certified else None
    return ImageSigmas(TO_COME, step, rule_of(search, step), {}, radii, alpha, {}, {})


def _refuse_other_search(found: ImageSigmas, run: Run) -> None:
    ours: Mapping[str, Any] = {
        **run.facts,
        "data_fingerprint": run.data_fingerprint,
        "preprocess": run.base.preprocess,
        "input_size": run.input_size,
    }
    for name, what in _SAME.items():
        there, here = found.identity.get(name), ours[name]
        if there != here:
            differ = "" if name in _HASHES else f" ({_shown(there)} there, {_shown(here)} here)"
            raise RaysmoothError(
                f"--sigmas {found.run_id}: that search had another {what}{differ}: name a search of these, or write "
                "--search in place of --sigmas"
            )


def _shown(value: Any) -> str:
    return "none" if value is None else printable(str(value))
