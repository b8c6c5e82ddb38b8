import re

import numpy as np
import pandas as pd
import pytest
from certificate_rows import DECIDE, DECIDED, DENOISED, PLAIN, A, B, run_of, sampled_run

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import certified_accuracy
from raysmooth.pipeline.report.figures.curves import certification_curve, plot_panels
from raysmooth.pipeline.report.figures.histograms import (
    KINDS,
    histograms_note,
    p_lower_histograms,
    plot_histograms,
    radius_histograms,
)
from raysmooth.pipeline.report.page.svg_paths import Box, bar_paths, curve_path
from raysmooth.pipeline.report.report_data import ReportData

RUN = run_of(A, PLAIN).assign(count_top=5000, n_used=10_000, p_lower=[0.95, 0.9, 0.97, 0.51, 0.999, 0.4, 0.2, None])


def test_radii_by_hand():
    found = radius_histograms(ReportData(RUN))
    # Right at 0.1, 0.25, 0.5 and 0.8: bars of 0.05, the last of which ends at 0.8.
    np.testing.assert_allclose(np.diff(found.edges), 0.05)
    assert found.edges[[0, -1]].tolist() == [0, pytest.approx(0.8)]
    (shares,) = found.shares[A]
    assert shares.sum() == 4 / 8
    assert np.flatnonzero(shares).tolist() == [2, 5, 10, 15]
    assert found.axis == "l2 radius"


def test_pa_by_hand():
    found = p_lower_histograms(ReportData(RUN))
    shares = dict(zip(KINDS, found.shares[A], strict=True))
    bars = {name: place for place, name in enumerate(found.names)}
    assert shares["right"].sum() == 4 / 8
    assert shares["right"][bars["0.9"]] == 1 / 8  # 0.95 is in the bin that it ends
    assert shares["wrong"][bars["0.998"]] == 1 / 8
    assert shares["abstained"][0] == shares["abstained"].sum() == 2 / 8  # the failed image is in none


def test_runs_that_say_nothing_are_left_out_and_nothing_is_not_drawn():
    decided = sampled_run(B, DECIDE, DECIDED)
    both = ReportData(pd.concat([RUN, decided]))
    for make in (radius_histograms, p_lower_histograms):
        assert set(make(both).shares) == {A}
        with pytest.raises(RaysmoothError, match="there is nothing to plot"):
            plot_histograms(ReportData(decided), make(ReportData(decided)))


def test_a_run_that_certifies_nothing_is_drawn_as_such():
    nothing = ReportData(run_of(A, [(-1, 0.0)] * 8))
    found = radius_histograms(nothing)
    assert found.shares[A].sum() == 0
    plot_histograms(nothing, found).draw_without_rendering()


def test_the_drawn_bars_have_the_shares_as_heights():
    data = ReportData(pd.concat([RUN, RUN.assign(run_id=B, radius=RUN["radius"] * 2, **DENOISED)]))
    found = radius_histograms(data)
    (axes,) = plot_histograms(data, found).axes
    highest = max(shares.max() for shares in found.shares.values())
    for place, (patch, run) in enumerate(zip(axes.patches, data.runs.index, strict=True)):
        values, _, base = patch.get_data()
        np.testing.assert_allclose((values - base) * highest / 0.85, found.shares[run][0], atol=1e-12)
        assert set(base) == {-place}
    assert axes.figure.get_suptitle() == ""
    assert histograms_note(found) == f"One scale for all: the highest bar has {100 * highest:.1f} % of a run's images."
    assert axes.get_xlabel() == r"$\ell_2$ radius"


def test_panels_are_one_a_noise_level():
    runs = [
        run_of(A, sigma=0.5), run_of(B, sigma=0.25), run_of("c" * 16, sigma=0.25, **DENOISED),
        run_of("d" * 16, [(1, 3.0)], sigma=1.0, images=2),
    ]  # fmt: skip
    figure = plot_panels(pd.concat(runs))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["sigma 0.25", "sigma 0.5", "sigma 1.0 (unfinished)"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1]
    plain = [axes.lines[0].get_color() for axes in figure.axes]
    assert len(set(plain)) == 1 != len({line.get_color() for line in figure.axes[0].lines})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no denoiser", "STAB+MSE denoiser"]


def heights_of(path, box):
    """Where a path of M, H and V stands over each column: x to y."""
    heights, x, y = {}, 0.0, 0.0
    for name, numbers in re.findall(r"([MHV])([\d. ]+)", path):
        values = [float(number) for number in numbers.split()]
        if name == "M":
            x, y = values
        elif name == "H":
            heights |= dict.fromkeys(range(int(x), int(values[0])), y)
            x = values[0]
        else:
            y = values[0]
    return heights


def test_a_sketched_curve_is_exact_at_every_column():
    box = Box(200, 100, 1.0)
    path = curve_path(*certification_curve(RUN), box)
    heights = heights_of(path, box)
    # The step to the left of a column ends there: between columns k and k + 1 the path is at the height of k.
    for column, height in heights.items():
        assert height == pytest.approx(box.y(certified_accuracy(RUN, [column / 200])[0]))
    assert max(heights) == 160  # 0.8 of the width is still certified, and behind it nothing


def test_sketched_bars_stand_on_each_other():
    box = Box(40, 100, 1.0, top=0.5)
    blue, red = bar_paths(np.array([[0.25, 0.0], [0.25, 0.5]]), box)
    assert blue == "M0.50 100.0h19.00V50.0h-19.00z"
    assert red == "M0.50 50.0h19.00V0.0h-19.00zM20.50 100.0h19.00V0.0h-19.00z"
