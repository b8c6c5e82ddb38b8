"""How an image's noise level is found (--search), by name, without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raysmooth.actors.sigma_search.search_options import Ddrs, Grid, SearchOptions, Selector
from raysmooth.common.late_imports import LateCallable
from raysmooth.common.registry import Registry
from raysmooth.common.settings import option_fields, read_options
from raysmooth.common.variant import Variant


@dataclass(frozen=True)
class SearchEntry:
    """`options`: what may be written after the name, and the search's facts. `find`: the search itself."""

    options: type[SearchOptions]
    find: Callable[..., Any]
    summary: str


SEARCHES: Registry[SearchEntry] = Registry(
    "search",
    {
        "ddrs": SearchEntry(
            Ddrs,
            LateCallable("raysmooth.actors.sigma_search.ddrs:find"),
            "gradient ascent on the radius (Alfarra et al., algorithm 1); options steps=900, learning_rate=1e-4, "
            "draws=1, clamp=0.02, least, most, anchor=off, gradient=backward",
        ),
        "grid": SearchEntry(
            Grid,
            LateCallable("raysmooth.actors.sigma_search.grid:find"),
            "the level of a grid whose votes give the largest radius, for any classifier; options levels=10, draws=20, "
            "clamp=0.02, least, most",
        ),
        "selector": SearchEntry(
            Selector,
            LateCallable("raysmooth.actors.sigma_search.selector:find"),
            "votes by the confidence of noisy copies, with a certificate of the level; options levels=0.25+0.5+1, "
            "bins=0.6+0.9, n0=100, n=10000, alpha=0.001",
        ),
    },
)


def read_search(text: str) -> tuple[Variant, SearchOptions]:
    """The search that `text` names, with all its options written out, and these options.

    The options that stay None are left out; `str()` of the first is the search's canonical text. Raises RaysmoothError
    for an unknown name, and options that are unknown or out of range.
    """
    written = Variant.parse_entry(text, "search", "ddrs:steps=900,learning_rate=1e-4")
    options = read_options(SEARCHES[written.name].options, written, "search")
    return _canonical(written.name, options), options


def rule_of(text: str, step: int) -> str:
    """The canonical text of the search that ends at `step`, one of those that the search `text` keeps."""
    written, options = read_search(text)
    return str(_canonical(written.name, options.with_steps(step)))


def _canonical(name: str, options: SearchOptions) -> Variant:
    values = {option: getattr(options, option) for option in option_fields(type(options))}
    if isinstance(options, Selector):
        for option, parts in (("levels", options.choices), ("bins", options.thresholds)):
            values[option] = "+".join(f"{part:.15g}" for part in parts)
    return Variant(name, tuple(sorted((option, value) for option, value in values.items() if value is not None)))
