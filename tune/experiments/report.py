"""The report of an experiment: our table and curves, the paper's numbers beside ours, and the differences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.rejection import has_rejector
from raysmooth.pipeline.analysis.run_selection import where
from raysmooth.pipeline.analysis.sigmas.distribution import has_image_sigmas
from raysmooth.pipeline.analysis.sigmas.steps import step_series
from raysmooth.pipeline.pictures.page_image import certified_image
from raysmooth.pipeline.report.api_words import judged_shares, whose_labels
from raysmooth.pipeline.report.captions import Caption, look_alike
from raysmooth.pipeline.report.displays import html_of
from raysmooth.pipeline.report.figures.curves import MOST_LINES, plot_curves
from raysmooth.pipeline.report.figures.figure_file import PAPER_DPI, save_figure
from raysmooth.pipeline.report.figures.rejection import plot_rejection
from raysmooth.pipeline.report.figures.sigmas import plot_sigmas
from raysmooth.pipeline.report.figures.steps import plot_steps
from raysmooth.pipeline.report.page.context import PageContext
from raysmooth.pipeline.report.page.page import render_page
from raysmooth.pipeline.report.report import read_certificates, summarize
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.formats import FORMATS, PrintedTable
from raysmooth.pipeline.report.tables.runs import csv, latex, markdown, runs_table
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.storage.location import located
from raysmooth.storage.output_file import refuse_unwritable, write_output
from raysmooth.tune.experiments.paper_comparison import compare_with_paper
from raysmooth.tune.experiments.plan import Plan
from raysmooth.tune.experiments.results import Result
from raysmooth.tune.experiments.settings import ExperimentSettings
from raysmooth.tune.experiments.training_times import NUMBERS, compare_times

SMOKE = (
    "This is a smoke test: one epoch, a few images (generated ones if the data set is missing), small networks, few "
    "draws. It shows that the stages fit together; its numbers mean nothing."
)

_TIMES = "Times of training, validation aside; ours rounded up."

_IN_PERCENT = "{} at the radii, in percent; ours rounded down."


@dataclass(frozen=True)
class Report:
    """The report of `plan`: `rows` are our certificates, `summary` is the result of `summarize`, `comparison` the
    paper's numbers and ours (None if the paper has none), `files` are the files of the report.
    """

    plan: Plan
    rows: pd.DataFrame
    summary: pd.DataFrame
    comparison: pd.DataFrame | None
    files: Sequence[Path]

    @property
    def path(self) -> Path:
        """The report in Markdown."""
        return self.files[0]

    def _repr_html_(self) -> str:
        """What a notebook shows: the page of a terminal, and the curves."""
        settings = self.plan.settings
        assert settings is not None, "a plan without settings has no report"
        parts = [f"<p>{escape(line)}</p>" for line in heading_of(self.plan, settings)]
        if self.comparison is not None:
            parts.append(self.comparison.to_html(index=False, border=0))
        parts.append(html_of([runs_table(self.summary)], self.files))
        listed = "".join(f"<li>{escape(line)}</li>" for line in differences_of(settings))
        return "\n".join([*parts, f"<p>Differences from the paper:</p><ul>{listed}</ul>"])


def report_experiment(
    plan: Plan, results: Mapping[str, Result], command: str | None = None, trust_code: bool = False
) -> Report | None:
    """Write the report of `results`, the finished part of `plan`, to `<out>/report/<name of the plan>`: report.md,
    report.html, table.md, table.tex, table.csv, side-by-side.csv, and the curves. `command` is the one that asked for
    it. None if the experiment certifies nothing; raises RaysmoothError if nothing is certified yet.
    """
    settings = plan.settings
    if settings is None or not any(run.entry.has_rows for run in plan.stage_runs):
        return None
    radii = next((run.values["radii"] for run in plan.stage_runs if run.values.get("radii")), None)
    conditions: list[str] = next((run.values["where"] for run in plan.stage_runs if run.values.get("where")), [])
    runs, every = _certificates(plan, results)
    rows = where(every, conditions)
    summary = summarize(rows, radii)
    numbers = settings.paper.numbers
    planned = Counter(name for run in plan.stage_runs if run.kind in ("certify", "recertify") for name in run.names)
    comparison = None
    if numbers is not None:
        comparison = compare_with_paper(numbers, summarize(every, [0.0, *numbers.radii]), runs, planned)
    elif settings.paper.times:
        comparison = compare_times(settings.paper.times, _trained(plan, results))
    folder = plan.out / "report" / plan.name
    with refuse_unwritable(folder, "--out"):
        folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.md": _markdown_page(plan, settings, comparison, summary),
        "table.md": markdown(summary),
        "table.tex": latex(summary, plan.name),
        "table.csv": csv(summary),
    }
    if comparison is not None:
        texts["side-by-side.csv"] = comparison.to_csv(index=False, lineterminator="\n")
    first, *lead = heading_of(plan, settings)[1 if plan.smoke else 0 :]
    context = PageContext(
        first,
        lead,
        SMOKE if plan.smoke else None,
        command,
        partial(certified_image, plan.out, trust_code=trust_code),
        differences_of(settings),
    )
    beside = [] if comparison is None else [_comparison_table(comparison, _note_of(settings, summary))]
    texts["report.html"] = render_page(ReportData(rows, radii), located(plan.out), {}, *beside, context=context)
    for name, content in texts.items():
        write_output(content, folder / name, "--out")
    return Report(
        plan,
        rows,
        summary,
        comparison,
        [*(folder / name for name in texts), *_plot(rows, folder, ("png",) if plan.smoke else ("png", "pdf"))],
    )


def _certificates(plan: Plan, results: Mapping[str, Result]) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Run ids by the names of stages and stage runs, and all rows. Runs that differ in no column get the name of their
    stage run added to their objective.
    """
    procedure = PROCEDURES["certify"]
    runs, stage_run_of = dict[str, list[str]](), dict[str, str]()
    for stage_run in plan.stage_runs:
        if (result := results.get(stage_run.name)) is None or result.rows_in != procedure.folder:
            continue
        for name in stage_run.names:
            runs.setdefault(name, []).extend(result.runs)
        stage_run_of |= dict.fromkeys(result.runs, stage_run.name)
    if not stage_run_of:
        raise RaysmoothError(
            f"nothing is certified in {plan.out} yet: leave --only out, or name a stage that certifies"
        )
    rows = read_certificates(plan.out)
    rows = rows[rows["run_id"].isin(stage_run_of)].reset_index(drop=True)
    alike = look_alike(summarize(rows, [0.0]).set_index("run_id"))
    named = rows["run_id"].map(lambda run_id: f" ({stage_run_of[run_id]})" if alike[run_id] else "")
    return runs, rows.assign(objective=rows["objective"].fillna("unknown") + named)


def _trained(plan: Plan, results: Mapping[str, Result]) -> dict[str, list[Path]]:
    """The weights that trainings wrote, by the names of stages and stage runs."""
    trained = dict[str, list[Path]]()
    for stage_run in plan.stage_runs:
        result = results.get(stage_run.name)
        if result is not None and result.weights is not None and result.folder is None:
            for name in stage_run.names:
                trained.setdefault(name, []).append(plan.out / result.weights)
    return trained


def _comparison_table(comparison: pd.DataFrame, note: str) -> PrintedTable:
    """The paper's numbers beside ours, as a table of the page."""
    words = frozenset(column for column in comparison.columns if not _is_number(column))
    title = "The paper's numbers beside ours"
    return PrintedTable("paper", title, Caption("", ""), note, comparison, comparison, words)


def _note_of(settings: ExperimentSettings, summary: pd.DataFrame) -> str:
    """How to read the paper's numbers beside ours."""
    if settings.paper.times:
        return _TIMES
    return " ".join([_IN_PERCENT.format(judged_shares(summary)), *(f"{line}." for line in whose_labels(summary))])


def _is_number(column: str) -> bool:
    return column.startswith("r=") or column in ("sigma", "ACR", *NUMBERS)


def _plot(rows: pd.DataFrame, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Plot the curves; if there are several noise levels, also those of each level, as in the papers; the rejected
    draws of runs with a rejector; the sigmas of images, and accuracy against the steps of their search. Where the
    curves are more than a legend has room for, those with fewer steps of the same search are left out.
    """
    data = ReportData(rows)
    series = step_series(data.runs, data.parts)
    fewer = {run for one in series for steps, run in list(one.items())[:-1] if steps}
    curves = rows if len(data.runs) <= MOST_LINES else rows[~rows["run_id"].isin(fewer)]
    files, parts = [], {"curves": curves}
    levels = sorted(curves["sigma"].dropna().unique())
    if len(levels) > 1:
        parts |= {f"curves-{sigma:g}": curves[curves["sigma"] == sigma] for sigma in levels}
    for name, part in parts.items():
        figures = [folder / f"{name}.{suffix}" for suffix in formats]
        save_figure(plot_curves(part), *figures, flag="--out", dpi=PAPER_DPI)
        files += figures
    further = {
        "rejection": (has_rejector(rows), plot_rejection),
        "sigmas": (has_image_sigmas(rows), plot_sigmas),
        "steps": (bool(series), plot_steps),
    }
    for name, plot in ((name, plot) for name, (has_data, plot) in further.items() if has_data):
        figures = [folder / f"{name}.{suffix}" for suffix in formats]
        save_figure(plot(data), *figures, flag="--out", dpi=PAPER_DPI)
        files += figures
    return files


def heading_of(plan: Plan, settings: ExperimentSettings) -> list[str]:
    """The lines above an experiment's numbers."""
    paper = settings.paper
    claim = [] if paper.claim is None else [f"The paper's claim: {paper.claim}"]
    return [*([SMOKE] if plan.smoke else []), f"{settings.title} ({paper.reference})", *claim]


def differences_of(settings: ExperimentSettings) -> list[str]:
    """The differences from the paper, and its unreadable numbers, one line each."""
    numbers = settings.paper.numbers
    return [*settings.differences, *(numbers.lost if numbers is not None else [])]


def _markdown_page(
    plan: Plan, settings: ExperimentSettings, comparison: pd.DataFrame | None, summary: pd.DataFrame
) -> str:
    """The report in Markdown."""
    first, *more = heading_of(plan, settings)[1 if plan.smoke else 0 :]
    parts = [f"# {first}", *([f"**{SMOKE}**"] if plan.smoke else []), *more]
    if comparison is not None:
        table = comparison.to_markdown(index=False, disable_numparse=True)
        parts.append(f"{_note_of(settings, summary)}\n\n{table}")
    listed = "\n".join(f"* {line}" for line in differences_of(settings))
    parts += [f"Differences from the paper:\n\n{listed}", f"## Our runs\n\n{markdown(summary)}"]
    return "\n\n".join(parts).rstrip() + "\n"


def print_report(report: Report) -> None:
    """Print the report to the terminal."""
    settings = report.plan.settings
    assert settings is not None
    console = Console(highlight=False)
    for line in heading_of(report.plan, settings):
        console.print(Text(line, "bold" if line == SMOKE else ""))
    console.print()
    if report.comparison is not None:
        _print_comparison(report.comparison, console)
        console.print(_note_of(settings, report.summary))
    console.print("Differences from the paper:")
    for line in differences_of(settings):
        console.print(Text(f"* {line}"))
    console.print()
    FORMATS["text"].show(runs_table(report.summary), console)
    console.print()


def _print_comparison(comparison: pd.DataFrame, console: Console) -> None:
    """Print a table. If the terminal is too narrow, lines wrap, as in `pipeline.report.tables.formats`: a number that
    is cut off is a wrong number.
    """
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    radii = [column for column in comparison.columns if column.startswith("r=")]
    for column in comparison.columns:
        heading = column.removeprefix("r=") if column in radii[1:] else column  # only the first has "r="
        table.add_column(heading, justify="right" if _is_number(column) else "left", no_wrap=True)
    for cells in comparison.itertuples(index=False):
        table.add_row(*map(Text, cells))
    table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.print(table, crop=False, no_wrap=True, overflow="ignore")
