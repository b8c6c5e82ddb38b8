"""The Python API of results: rows, reports, figures and progress of what was certified."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysmooth.common.spelling import in_keywords

if TYPE_CHECKING:
    import pandas as pd

    from raysmooth.pipeline.report.displays import FigureFile, ReportFiles
    from raysmooth.storage.location import Where


def read_certificates(results: "Where") -> "pd.DataFrame":
    """All certificates in `results`, the `--out` of certify: one row per image and run, in the order and with the
    columns of `certify`.

    Rows older than the columns `sampling` and `source` get them: sampled "fixed", by their own run. Files and folders
    whose names begin with "." or "_" are ignored. Raises RaysmoothError, naming the file, for a file that is corrupt or
    does not hold a run's certificates; also if there are no rows, or two of the same image.
    """
    from raysmooth.pipeline.analysis import certificates
    from raysmooth.rows import in_reading_order

    return in_reading_order(certificates.read_certificates(results))


def summarize(
    rows: "pd.DataFrame",
    radii: "Sequence[float] | None" = None,
    delta: float | None = None,
) -> "pd.DataFrame":
    """One row per run of `rows`, in full precision: its facts, `r=<radius>` (certified accuracy at each of `radii`, a
    share), `ACR`, `abstain`, `undecided` (shares) and `errors` (count). With `delta`, each r= column has an interval,
    `r=<radius> low` and `high`, which fails with probability at most delta.

    Raises RaysmoothError if there are no rows, or if a radius is negative or not finite.
    """
    from raysmooth.pipeline.analysis import summary

    return summary.summarize(rows, radii, delta)


@in_keywords
def report(results: "Where", **settings: Any) -> "ReportFiles":
    """Write the report of `results`: tables as Markdown, LaTeX and CSV, figures as PNG and PDF, and one page.

    Keyword arguments are the flags of `raysmooth report`, except `format`: `table`, `where`, `group_by`, `compare`,
    `familywise`, `radius`, `radii`, `intervals`, `price_per_hour`, `figure_width`, `image`, `out`. A notebook shows the
    result as its tables and figures. Its `path` is the page, `files` are all files. Raises RaysmoothError for settings
    that cannot work.
    """
    from functools import partial
    from io import StringIO

    from rich.console import Console

    from raysmooth.arguments import ReportArguments
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.analysis.certificates import read_certificates
    from raysmooth.pipeline.pictures.page_image import certified_image
    from raysmooth.pipeline.report.displays import ReportFiles
    from raysmooth.pipeline.report.page.context import PageContext
    from raysmooth.pipeline.report.report import print_report

    asked = checked(ReportArguments, settings).model_dump()
    tables, image = asked.pop("table"), partial(certified_image, results) if asked.pop("image") else None
    command = f"raysmooth.report({str(results)!r}{''.join(f', {name}={value!r}' for name, value in settings.items())})"
    shown: list[Any] = []
    silent = Console(file=StringIO())
    files = print_report(
        lambda: read_certificates(results),
        results,
        silent,
        silent,
        take=shown.append,
        tables=tables,
        context=PageContext(command=command, image=image),
        **asked,
    )
    return ReportFiles(files, shown)


@in_keywords
def export(results: "Where", format: str, **settings: Any) -> str:
    """The certificates in `results` as text in a `format` of other tools: "locuslab", the field's log of one run, which
    `import_logs` reads; "sok", records for the leaderboard sokcertifiedrobustness.github.io; "json", cards with
    results, intervals, settings and hashes; "model-card", README.md for the Hugging Face Hub, with `model-index`.

    Keyword arguments are the flags of `raysmooth export`: `run` (default: all), `radii`, `out` (a file that is written
    too), `name`, `title`, `link`, `venue`. No number is rounded in a result's favour. Raises RaysmoothError for runs
    that a format cannot state.

    >>> card = raysmooth.export("results", "model-card", run="0f3a", radii=[0, 0.25, 0.5], out="README.md")
    """
    from raysmooth.arguments import ExportArguments
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.export.export import export as exported

    asked = checked(ExportArguments, {"format": format, **settings}).model_dump()
    return exported(results, asked.pop("format"), asked.pop("run"), **asked)


@in_keywords
def show(results: str, image_id: int | str, **settings: Any) -> "FigureFile":
    """Plot one image, by its number or its file, as the runs in `results` certified it. A notebook shows the picture;
    `path` is its file, `lines` say the certificates in words.

    Keyword arguments are the other fields of `ShowSettings`, the flags of `raysmooth show`.
    """
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.pictures.show import ShowSettings
    from raysmooth.pipeline.pictures.show import show as plot_image

    return plot_image(checked(ShowSettings, {"results": results, "image_id": image_id, **settings}))


@in_keywords
def gallery(config: str | Path | None = None, **settings: Any) -> "FigureFile":
    """Plot images clean, noisy and denoised. A notebook shows the picture; `path` is its file.

    Keyword arguments are the fields of `GallerySettings`, the flags of `raysmooth gallery`; `config` as in `certify`.
    Raises RaysmoothError for settings that cannot work.
    """
    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.pictures.gallery import gallery as plot_gallery
    from raysmooth.pipeline.pictures.gallery_settings import GallerySettings

    return plot_gallery(user_settings(GallerySettings, settings, config))


@in_keywords
def status(results: "Where") -> "pd.DataFrame":
    """The progress of the runs in `results`, read from their files: one row per run, with the columns of
    `raysmooth status --json`; null means unknown.
    """
    import pandas as pd

    from raysmooth.commands.status_table import records
    from raysmooth.pipeline.status.run_status import StatusReader

    return pd.DataFrame(records(StatusReader(results).read()))
