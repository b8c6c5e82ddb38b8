"""Why images failed, as a table of a report."""

import pandas as pd

from raysmooth.common.errors import RaysmoothError, counted, named_image, printable
from raysmooth.pipeline.analysis.failures import failures
from raysmooth.pipeline.analysis.metrics import unanswered_draws
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.runs import text_columns


def errors_table(data: ReportData, intervals: bool = False) -> PrintedTable:
    """One line per run and reason, the most frequent first. Raises RaysmoothError where no image failed."""
    found = {one.run_id: one for one in failures(data.rows)}
    lines = [(run, reason) for run in data.runs.index if run in found for reason in found[run].reasons]
    without = unanswered_words(data)
    if not lines:
        raise RaysmoothError(f"no image failed{without and f', but {without}: see --table rejection'}")
    values = pd.DataFrame(
        {
            "run_id": [run for run, _ in lines],
            "failed": [reason.count for _, reason in lines],
            "image_id": [reason.image_id for _, reason in lines],
            "file": [reason.file for _, reason in lines],
            "error": [reason.text for _, reason in lines],
        }
    )
    cells = data.run_cells.loc[values["run_id"]].reset_index(drop=True)
    cells["failed"] = values["failed"].astype(str)
    firsts = zip(values["image_id"], values["file"], strict=True)
    cells["first"] = [named_image(image_id, file).removeprefix("image ") for image_id, file in firsts]
    cells["reason"] = [printable(text) for text in values["error"]]
    note = (
        "Images that failed, by the reason; reasons that differ in numbers only are one. The first of these images is "
        "named. All of them count as not certified."
    ) + (without and f" Of the others, {without}; these draws count for no class.")
    return PrintedTable("errors", "Errors", data.caption, note, cells, values, text_columns(cells))


def unanswered_words(data: ReportData) -> str:
    """How many draws vision APIs gave no label, in words; "" where there are none."""
    own = [rows for rows in data.parts.values() if unanswered_draws(rows) > 0]
    if not own:
        return ""
    draws = sum(int(unanswered_draws(rows)) for rows in own)
    images = sum(int((rows["count_rejected"] > 0).sum()) for rows in own)
    return f"{counted(draws, 'draw')} of {counted(images, 'image')} have no answer"
