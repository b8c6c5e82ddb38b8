"""The looks of runs in figures of curves: lines differ in more than colour, so that they do in grey, too."""

from dataclasses import dataclass

import pandas as pd

from raysmooth.pipeline.analysis.run_facts import varies
from raysmooth.pipeline.report.captions import run_names

DASHES = 5
"""Number of dash patterns, the first of which is a line without gaps."""

MARKERS = 7
"""Number of markers."""


@dataclass(frozen=True)
class LineStyle:
    """Numbers of a colour, a dash pattern (below DASHES) and a marker (1 to MARKERS, 0 for none)."""

    colour: int
    dash: int = 0
    marker: int = 0

    @property
    def point(self) -> int:
        """The marker of a run that is a point instead of a line."""
        return self.dash + 1


def line_styles(runs: pd.DataFrame) -> dict[str, LineStyle]:
    """Each run's style, by run_id; `runs` are those of `describe_runs`.

    Where names and sigmas differ, colour and marker stand for the name, dashes for sigma. Where only one of them does,
    colour and dashes stand for it, with markers beyond the number of dashes.
    """
    names, sigmas = run_names(runs), runs["sigma"]
    if not (varies(names) and varies(sigmas)):
        return dict(zip(runs.index, styles_of(list(names if varies(names) else sigmas)), strict=True))
    coloured, dashed = pd.factorize(names)[0].tolist(), pd.factorize(sigmas, use_na_sentinel=False)[0].tolist()
    return {
        run: LineStyle(colour, dash % DASHES, (colour - 1) % MARKERS + 1 if colour else 0)
        for run, colour, dash in zip(runs.index, coloured, dashed, strict=True)
    }


def styles_of(values: list[object]) -> list[LineStyle]:
    """A style for each value, equal ones for equal values, distinguished by colour and dashes."""
    codes = pd.factorize(pd.Series(values, dtype=object), use_na_sentinel=False)[0].tolist()
    return [LineStyle(code, code % DASHES, code // DASHES % (MARKERS + 1)) for code in codes]
