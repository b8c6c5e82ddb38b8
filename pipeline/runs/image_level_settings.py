"""Settings of runs whose images have noise levels of their own, and what does not go with them."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from raysmooth.actors.sigma_search.searches import SEARCHES, Selector, read_search
from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.common.settings import CommaList, Settings
from raysmooth.pipeline.certification.adaptive import Tolerance
from raysmooth.pipeline.store.sigma_rules import CLASS_SHARE


class ImageLevelSettings(Settings):
    """Noise level of each image"""

    sigmas: Annotated[list[str] | None, CommaList] = Field(
        None,
        description="Draw at each image's own sigma: the run of optimize-sigma in --out that found them, by its id or "
        "the first characters of it; one for each --sigma. Each row certifies the classifier smoothed with that "
        "image's own sigma, a fixed number; it is no statement about a classifier that finds sigma again for every "
        "input.",
    )
    steps: int | None = Field(
        None, description="Take the levels after this many steps of the search. Default: the last.", ge=0
    )
    search: str | None = Field(
        None,
        description="Find each image's sigma first, as optimize-sigma does, and draw at it: "
        + "; ".join(f"{name}: {entry.summary}" for name, entry in SEARCHES.items())
        + ". A --rejector has no part in it.",
    )

    @model_validator(mode="after")
    def _refuse_odd_levels(self) -> "ImageLevelSettings":
        if self.sigmas is not None and self.search is not None:
            raise RaysmoothError(
                "--sigmas names levels that were found, and --search finds others: leave one of them out"
            )
        if self.sigmas is None and self.search is None:
            if self.steps is not None:
                raise RaysmoothError(
                    f"--steps {self.steps} belongs to --sigmas or --search: write one of them too, or leave it out"
                )
            return self
        if self.sigmas is not None and not self.sigmas:
            raise RaysmoothError("--sigmas names no search: write the run id that raysmooth optimize-sigma printed")
        levels = getattr(self, "sigma", None) or []
        if self.sigmas is not None and len(levels) != len(self.sigmas):
            raise RaysmoothError(
                f"--sigmas names {counted(len(self.sigmas), 'search')}, each of which began at one sigma, and --sigma "
                f"names {len(levels)}: write as many of both, or --search in place of --sigmas"
            )
        if self.search is not None:
            _refuse_unfit(self, self.search)
        _refuse_sampling(self)
        return self

    @property
    def class_share(self) -> float:
        """The fraction of alpha for the class, as far as the settings say: half where --search certifies levels."""
        return CLASS_SHARE if self.search is not None and read_search(self.search)[1].certified else 1.0

    @property
    def has_own_levels(self) -> bool:
        """Whether images have noise levels of their own."""
        return self.sigmas is not None or self.search is not None


def asks_for_search(settings: Any) -> bool:
    """Whether noise levels are to be found before the run of these settings."""
    return isinstance(settings, ImageLevelSettings) and settings.search is not None


def _refuse_unfit(settings: Any, text: str) -> None:
    """Raises RaysmoothError for a search that does not go with the other settings."""
    _, options = read_search(text)
    for sigma in settings.sigma:
        options.refuse_unfit(settings.noise, sigma)
    last = options.kept_steps[-1]
    if settings.steps is not None and settings.steps not in options.kept_steps:
        instead = f"write a multiple of 100 up to its last, {last}, or leave" if last else "it has no steps, so leave"
        raise RaysmoothError(f"--steps {settings.steps}: --search {text} keeps no level there: {instead} --steps out")
    if isinstance(options, Selector):
        refuse_other_alpha(settings.alpha, options.alpha)


def refuse_other_alpha(alpha: float, of_search: float) -> None:
    """Raises RaysmoothError where a certified search has another alpha than what is certified with its levels: half of
    it is the level's, and half the class's.
    """
    if alpha != of_search:
        raise RaysmoothError(
            f"--alpha {alpha:g}: the selector has alpha={of_search:g}, half of which is for the level and half for the "
            f"class: write --alpha {of_search:g}, or search with alpha={alpha:g}"
        )


def _refuse_sampling(settings: Any) -> None:
    """Raises RaysmoothError for sampling methods that are planned for one level."""
    sampling, tolerance = getattr(settings, "sampling", "fixed"), getattr(settings, "tolerance", None)
    if sampling == "decide":
        raise RaysmoothError(
            "--sampling decide tests one radius, which may be out of reach at an image's own sigma: write --sampling "
            "fixed or adaptive"
        )
    if sampling == "adaptive" and tolerance is not None and Tolerance.parse(tolerance).kind == "absolute":
        raise RaysmoothError(
            f"--tolerance {tolerance} is in pixel units, and draws are planned at one sigma for all images: write a "
            "share of the radius, such as 2%"
        )
