import numpy as np
import pandas as pd
import pytest
from certificate_rows import ADAPTIVE, DECIDE, DECIDED, DENOISED, FACTS, A, B, sampled_run
from certificate_rows import run_of as small_run
from matplotlib.colors import to_hex
from matplotlib.text import Text

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import certified_accuracy, certified_share
from raysmooth.pipeline.analysis.run_facts import LABELLED, UNLABELLED, describe_runs
from raysmooth.pipeline.report.figures.curves import certification_curve, curves_caption, plot_curves, plot_panels
from raysmooth.pipeline.report.figures.figure_file import save_figure
from raysmooth.pipeline.report.figures.figure_text import WIDTHS

SETTINGS = {**FACTS, "index_set": "every 2nd of 400 (200 images)", "sigma": 0.5, "images": 200}


def run_of(run_id, seed=0, rows=200, labels=True, **facts):
    """Certificate rows of one run: 1 in 5 images abstains, 1 in 10 is wrong, the first is an error row."""
    rng = np.random.default_rng(seed)
    abstain = rng.random(rows) < 0.2
    table = pd.DataFrame(
        {
            "run_id": run_id,
            **SETTINGS,
            **facts,
            "image_id": 2 * np.arange(rows),
            "abstain": abstain,
            "correct": ~abstain & (rng.random(rows) < 0.9) if labels else None,
            "radius": np.where(abstain, 0.0, rng.random(rows).round(2)),  # rounded, so that radii repeat
            "status": "ok",
        }
    )
    table.loc[0, ["abstain", "correct", "radius", "status"]] = [False, False, None, "error"]
    return table


@pytest.mark.parametrize(("labels", "measure"), [(True, certified_accuracy), (False, certified_share)])
def test_the_drawn_line_is_the_exact_step_function(labels, measure):
    rows = run_of("a" * 16, labels=labels)
    (line,) = plot_curves(rows).axes[0].lines
    assert line.get_drawstyle() == "steps-pre"
    corners, heights = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert corners[0] == 0
    np.testing.assert_array_equal(heights, measure(rows, corners))
    # Between two corners steps-pre draws the height of the right one.
    for r in np.random.default_rng(1).uniform(0, corners[-1], 500):
        assert heights[np.searchsorted(corners, r)] == measure(rows, [r])[0]


def test_a_line_falls_to_zero_right_behind_the_largest_radius():
    rows = run_of("a" * 16)
    corners, heights = certification_curve(rows)
    largest = rows.loc[rows["correct"].astype(bool), "radius"].max()
    assert list(corners[-2:]) == [largest, np.nextafter(largest, np.inf)]
    assert heights[-2] > 0 == heights[-1]


def test_a_run_that_only_abstains_is_a_point_at_zero():
    rows = run_of("a" * 16).assign(abstain=True, correct=False, radius=0.0)
    assert [list(values) for values in certification_curve(rows)] == [[0], [0]]
    plot_curves(rows)


def test_the_axis_says_what_is_measured():
    runs = [run_of("a" * 16), run_of("b" * 16, labels=False, dataset="faces")]
    assert plot_curves(pd.concat(runs)).axes[0].get_ylabel() == "Certified"
    assert plot_curves(runs[0]).axes[0].get_ylabel() == LABELLED.capitalize()
    assert plot_curves(runs[1]).axes[0].get_ylabel() == UNLABELLED.capitalize()


def test_the_figure_says_what_it_shows():
    rows = pd.concat([run_of("a" * 16), run_of("b" * 16, seed=1, sigma=0.25)])
    figure = plot_curves(rows)
    assert figure.axes[0].get_xlabel() == r"$\ell_2$ radius"
    # A paper's caption is below the figure, not in it.
    assert figure.get_suptitle() == figure.axes[0].get_title() == ""
    assert curves_caption(describe_runs(rows)).startswith(
        "Certified accuracy against l2 radius. digits, test split, every 2nd of 400 (200 images)"
    )
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "no denoiser, sigma 0.25",
        "no denoiser, sigma 0.5",
    ]


@pytest.mark.parametrize("classifier", ["lenet", "a_classifier_with_quite_a_name:" + "x" * 40])
def test_the_legend_stays_inside_the_figure(classifier):
    runs = [run_of(f"{i}" * 16, classifier=f"{classifier}{i}", sigma=0.25 * i, rows=120) for i in range(1, 8)]
    figure = plot_curves(pd.concat(runs))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert figure.axes[0].get_window_extent().height > 0.4 * figure.bbox.width


def test_no_two_lines_look_alike():
    sigmas = (0.12, 0.25, 0.5, 1.0)
    objectives = ("none", "mse", "stab", "clf", "stab+mse", "clf+mse", "a", "b", "c")
    runs = [
        run_of(f"{sigma}-{objective}", denoiser="dncnn" if objective != "none" else "none", objective=objective).assign(
            sigma=sigma
        )
        for sigma in sigmas
        for objective in objectives
    ]
    lines = plot_curves(pd.concat(runs)).axes[0].lines
    looks = {(to_hex(line.get_color()), str(line.get_linestyle()), str(line._dash_pattern)) for line in lines}
    assert len(looks) == len(sigmas) * len(objectives)


@pytest.mark.parametrize("sigmas", [(0.5,), (0.25, 0.5)])
def test_lines_differ_in_grey(sigmas):
    """By dashes or markers alone, in the figure and in its legend."""
    runs = [
        run_of(f"{sigma}-{objective}", denoiser="dncnn", objective=objective, sigma=sigma)
        for sigma in sigmas
        for objective in ("mse", "stab", "clf", "stab+mse", "clf+mse", "a", "b")
    ]
    figure = plot_curves(pd.concat(runs))
    for lines in (figure.axes[0].lines, figure.legends[0].get_lines()):
        assert len({(str(line._dash_pattern), line.get_marker()) for line in lines}) == 7 * len(sigmas)
    panel, *_ = plot_panels(pd.concat(runs)).axes
    assert len({(str(line._dash_pattern), line.get_marker()) for line in panel.lines}) == 7


@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize("plot", [plot_curves, plot_panels])
def test_a_figure_is_as_wide_as_a_column(plot, width):
    runs = [run_of(f"{i}" * 16, classifier=f"net{i}", sigma=0.25 * i) for i in range(1, 4)]
    figure = plot(pd.concat(runs), width)
    figure.draw_without_rendering()
    assert figure.get_size_inches()[0] == width
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 6
    for axes in figure.axes:
        assert axes.get_window_extent().width > 0.25 * figure.bbox.width
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width + 1


def test_fonts_are_embedded_and_dollars_of_users_are_no_formulas(tmp_path):
    """Type 42: publishers refuse matplotlib's default, Type 3."""
    runs = [run_of("a" * 16, classifier=r"net$\x$"), run_of("b" * 16, classifier="$^$")]
    figure = plot_curves(pd.concat(runs))
    save_figure(figure, tmp_path / "f.pdf", tmp_path / "f.png", flag="--out", dpi=300)
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert pdf.count(b"/FontFile2") == pdf.count(b"/FontDescriptor") // 2 > 0
    assert figure.axes[0].xaxis.label.get_parse_math()  # the symbol of the norm
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
    assert (tmp_path / "f.png").read_bytes()[16:20] == (975).to_bytes(4)  # 3.25 inches


def test_no_rows_are_refused():
    with pytest.raises(RaysmoothError, match="no certificate rows"):
        plot_curves(run_of("a" * 16).head(0))


def test_a_decision_is_one_point_at_its_radius():
    rows = sampled_run(A, DECIDE, DECIDED)
    assert [list(values) for values in certification_curve(rows)] == [[0.3], [3 / 8]]
    unlabelled = sampled_run(A, DECIDE, DECIDED, label=None)
    assert [list(values) for values in certification_curve(unlabelled)] == [[0.3], [4 / 8]]


def test_decisions_are_drawn_as_points_beside_lines():
    runs = [small_run("f" * 16), sampled_run(A, ADAPTIVE), sampled_run(B, DECIDE, DECIDED)]
    figure = plot_curves(pd.concat(runs))
    looks = [(line.get_linestyle(), line.get_marker(), len(line.get_xdata())) for line in figure.axes[0].lines]
    assert looks[2] == ("None", "^", 1)
    assert [style for style, marker, corners in looks[:2] if marker == "None" and corners > 1] == ["-", "--"]
    assert len({to_hex(line.get_color()) for line in figure.axes[0].lines}) == 3
    assert "n up to 10000 (fixed: all of them)" in curves_caption(describe_runs(pd.concat(runs)))


def test_points_of_several_sigmas_have_markers_of_their_own():
    runs = [sampled_run(A, DECIDE, DECIDED), sampled_run(B, DECIDE, DECIDED, sigma=1.0)]
    denoised = [run.assign(run_id=run["run_id"] + "d", **DENOISED) for run in runs]
    lines = plot_curves(pd.concat([*runs, *denoised])).axes[0].lines
    assert len({(to_hex(line.get_color()), line.get_marker()) for line in lines}) == 4


def test_norms_do_not_share_a_curve():
    runs = [run_of("a" * 16), run_of("b" * 16, norm="linf"), run_of("c" * 16, noise="uniform", norm="l1")]
    with pytest.raises(RaysmoothError) as refused:
        plot_curves(pd.concat(runs))
    assert str(refused.value) == (
        "these runs have radii in different norms (l1, l2, linf), which tables and curves cannot compare: "
        "write --where norm=l1, or --where norm=l2, or --where norm=linf"
    )
    for rows, symbol in zip(runs, (r"\ell_2", r"\ell_\infty", r"\ell_1"), strict=True):
        assert plot_curves(rows).axes[0].get_xlabel() == f"${symbol}$ radius"
    with pytest.raises(RaysmoothError, match=r"\(l2, unknown\)"):
        plot_curves(pd.concat([runs[0], run_of("d" * 16, norm=None)]))


def test_a_long_legend_is_shortened_and_still_distinguishes_all_lines():
    runs = [
        small_run(f"{sigma}-{objective}", denoiser="dncnn", objective=objective, sigma=sigma)
        for sigma in (0.12, 0.25, 0.5, 1.0)
        for objective in ("mse", "stab", "clf", "stab+mse", "clf+mse", "a", "b")
    ]
    figure = plot_curves(pd.concat(runs))
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert len(texts) == 7 + 4
    assert texts[-4:] == ["sigma 0.12", "sigma 0.25", "sigma 0.5", "sigma 1.0"]
    looks = {(to_hex(line.get_color()), str(line._dash_pattern)) for line in figure.axes[0].lines}
    colours = [to_hex(line.get_color()) for line in legend.get_lines()[:7]]
    dashes = [str(line._dash_pattern) for line in legend.get_lines()[7:]]
    assert looks == {(colour, dash) for colour in colours for dash in dashes}
    unfinished = plot_curves(pd.concat([*runs[1:], runs[0].head(3)]))  # where labels say more all are kept
    assert len(unfinished.legends[0].get_texts()) == 28
