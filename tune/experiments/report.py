"""The end of an experiment: our table and curves, and the paper's numbers beside ours, with what differs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.report.captions import look_alike
from raysmooth.pipeline.report.figures.curves import plot_curves
from raysmooth.pipeline.report.figures.figure_file import save_figure
from raysmooth.pipeline.report.report import read_certificates, summarize
from raysmooth.pipeline.report.tables.formats import FORMATS
from raysmooth.pipeline.report.tables.runs import csv, latex, markdown, runs_table
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.storage.output_file import refuse_unwritable, write_output
from raysmooth.tune.experiments.paper_comparison import compare_with_paper
from raysmooth.tune.experiments.plan import Plan
from raysmooth.tune.experiments.settings import ExperimentSettings
from raysmooth.tune.experiments.stage import Result

SMOKE = (
    "This is a smoke test: one epoch, a few images (generated ones, where the data set is not here), small networks, "
    "few draws. It shows that the stages fit together; its numbers mean nothing."
)


@dataclass(frozen=True)
class Report:
    """Of `plan`: `rows` are our certificates, `summary` what `summarize` says of them, `beside` the paper's numbers and
    ours (None where the paper has none), `files` what was written.
    """

    plan: Plan
    rows: pd.DataFrame
    summary: pd.DataFrame
    beside: pd.DataFrame | None
    files: Sequence[Path]


def report_experiment(plan: Plan, results: Mapping[str, Result]) -> Report | None:
    """Write the report of `results`, what is done of `plan`, into `<out>/report/<name of its file>`: report.md, the
    table as table.md, .tex and .csv, side-by-side.csv, and the curves. None where the experiment certifies nothing;
    raises RaysmoothError where nothing that it certifies has been certified yet.
    """
    settings = plan.settings
    if settings is None or not any(job.row.gives_runs for job in plan.jobs):
        return None
    radii = next((job.values["radii"] for job in plan.jobs if job.values.get("radii")), None)
    runs, rows = _certificates(plan, results)
    summary = summarize(rows, radii)
    numbers = settings.paper.numbers
    planned = Counter(name for job in plan.jobs if job.kind == "certify" for name in job.names)
    beside = (
        None if numbers is None else compare_with_paper(numbers, summarize(rows, [0.0, *numbers.radii]), runs, planned)
    )
    folder = plan.out / "report" / plan.name
    with refuse_unwritable(folder, "--out"):
        folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.md": _page(plan, settings, beside, summary),
        "table.md": markdown(summary),
        "table.tex": latex(summary),
        "table.csv": csv(summary),
    }
    if beside is not None:
        texts["side-by-side.csv"] = beside.to_csv(index=False, lineterminator="\n")
    for name, content in texts.items():
        write_output(content, folder / name, "--out")
    return Report(
        plan,
        rows,
        summary,
        beside,
        [*(folder / name for name in texts), *_draw(rows, folder, ("png",) if plan.smoke else ("png", "pdf"))],
    )


def _certificates(plan: Plan, results: Mapping[str, Result]) -> tuple[dict[str, list[str]], pd.DataFrame]:
    """Run ids by the names of stages and jobs, and the rows of all; runs that no column tells apart have the name of
    their job among their objective.
    """
    procedure = PROCEDURES["certify"]
    runs, job_of = dict[str, list[str]](), dict[str, str]()
    for job in plan.jobs:
        if (result := results.get(job.name)) is None or result.rows_in != procedure.folder:
            continue
        for name in job.names:
            runs.setdefault(name, []).extend(result.runs)
        job_of |= dict.fromkeys(result.runs, job.name)
    if not job_of:
        raise RaysmoothError(
            f"nothing is certified in {plan.out} yet: leave --only out, or name a stage that certifies"
        )
    rows = read_certificates(plan.out)
    rows = rows[rows["run_id"].isin(job_of)].reset_index(drop=True)
    alike = look_alike(summarize(rows, [0.0]).set_index("run_id"))
    named = rows["run_id"].map(lambda run_id: f" ({job_of[run_id]})" if alike[run_id] else "")
    return runs, rows.assign(objective=rows["objective"].fillna("unknown") + named)


def _draw(rows: pd.DataFrame, folder: Path, formats: Sequence[str]) -> list[Path]:
    """The curves, and where there are several noise levels those of each, as the papers have them."""
    files, parts = [], {"curves": rows}
    levels = sorted(rows["sigma"].unique())
    if len(levels) > 1:
        parts |= {f"curves-{sigma:g}": rows[rows["sigma"] == sigma] for sigma in levels}
    for name, part in parts.items():
        figures = [folder / f"{name}.{suffix}" for suffix in formats]
        save_figure(plot_curves(part), *figures, flag="--out")
        files += figures
    return files


def heading_of(plan: Plan, settings: ExperimentSettings) -> list[str]:
    """The lines that go before an experiment's numbers."""
    paper = settings.paper
    claim = [] if paper.claim is None else [f"What the paper says: {paper.claim}"]
    return [*([SMOKE] if plan.smoke else []), f"{settings.title} ({paper.reference})", *claim]


def differences_of(settings: ExperimentSettings) -> list[str]:
    """What differs from the paper, and what of its numbers is lost, a line each."""
    numbers = settings.paper.numbers
    return [*settings.differences, *(numbers.lost if numbers is not None else [])]


def _page(plan: Plan, settings: ExperimentSettings, beside: pd.DataFrame | None, summary: pd.DataFrame) -> str:
    """All in Markdown."""
    first, *more = heading_of(plan, settings)[1 if plan.smoke else 0 :]
    parts = [f"# {first}", *([f"**{SMOKE}**"] if plan.smoke else []), *more]
    if beside is not None:
        table = beside.to_markdown(index=False, disable_numparse=True)
        parts.append(f"Certified accuracy at the radii, in percent; ours rounded down.\n\n{table}")
    listed = "\n".join(f"* {line}" for line in differences_of(settings))
    parts += [f"What differs from the paper:\n\n{listed}", f"## Our runs\n\n{markdown(summary)}"]
    return "\n\n".join(parts).rstrip() + "\n"


def print_report(report: Report) -> None:
    """Print it to the terminal."""
    settings = report.plan.settings
    assert settings is not None
    console = Console(highlight=False)
    for line in heading_of(report.plan, settings):
        console.print(Text(line, "bold" if line == SMOKE else ""))
    console.print()
    if report.beside is not None:
        _print_beside(report.beside, console)
        console.print("Certified accuracy at the radii, in percent; ours rounded down.")
    console.print("What differs from the paper:")
    for line in differences_of(settings):
        console.print(Text(f"* {line}"))
    console.print()
    FORMATS["text"].show(runs_table(report.summary), console)
    console.print()


def _print_beside(beside: pd.DataFrame, console: Console) -> None:
    """In too narrow a terminal lines run over, as those of `pipeline.report.tables.formats.text`: a number cut off is a wrong one."""
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    radii = [column for column in beside.columns if column.startswith("r=")]
    for column in beside.columns:
        heading = column.removeprefix("r=") if column in radii[1:] else column  # "r=" stands above the first alone
        right = column in (*radii, "sigma", "ACR")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for cells in beside.itertuples(index=False):
        table.add_row(*map(Text, cells))
    table.width = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.print(table, crop=False, no_wrap=True, overflow="ignore")
