"""The registry of a report's tables."""

from collections.abc import Callable
from typing import TypeAlias

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry
from raysmooth.pipeline.report.report_data import ReportData
from raysmooth.pipeline.report.tables.classes import classes_table
from raysmooth.pipeline.report.tables.cost import cost_table
from raysmooth.pipeline.report.tables.envelope import envelope_table
from raysmooth.pipeline.report.tables.errors import errors_table
from raysmooth.pipeline.report.tables.formats import PrintedTable
from raysmooth.pipeline.report.tables.p_lower import p_lower_table
from raysmooth.pipeline.report.tables.radii import radii_table
from raysmooth.pipeline.report.tables.rejection import rejection_table
from raysmooth.pipeline.report.tables.runs import runs_table, sigma_table
from raysmooth.pipeline.report.tables.sigmas import sigmas_table
from raysmooth.pipeline.report.tables.steps import steps_table
from raysmooth.pipeline.report.tables.top_k import top_k_table
from raysmooth.pipeline.report.tables.wrong_certificates import wrong_certificates_table

MakeTable: TypeAlias = Callable[[ReportData, bool], PrintedTable]
"""From the data of a report, and whether to show the intervals of certified accuracies."""

TABLES: Registry[MakeTable] = Registry(
    "table",
    {
        "runs": lambda data, intervals: runs_table(data.summary if intervals else data.plain_summary),
        "envelope": envelope_table,
        "sigma": lambda data, intervals: sigma_table(data.summary if intervals else data.plain_summary),
        "radii": radii_table,
        "p-lower": p_lower_table,
        "rejection": rejection_table,
        "sigmas": sigmas_table,
        "steps": steps_table,
        "classes": classes_table,
        "top-k": top_k_table,
        "cost": cost_table,
        "wrong-certificates": wrong_certificates_table,
        "errors": errors_table,
    },
)

_FORMER_NAMES = {"pa": "p-lower", "sure": "wrong-certificates"}


def find_table(name: str) -> MakeTable:
    """The entry `name` of TABLES. Raises RaysmoothError with the nearest name, or a renamed table's present one."""
    if name in _FORMER_NAMES:
        raise RaysmoothError(
            f"unknown table '{name}': did you mean '{_FORMER_NAMES[name]}'? (known: {', '.join(sorted(TABLES))})"
        )
    return TABLES[name]
