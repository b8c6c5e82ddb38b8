"""Certificate rows as mappings, with the types of their columns."""

from typing import Any

import pandas as pd
import pyarrow as pa

from raysmooth.pipeline.runs.procedures import PROCEDURES


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each certificate row as a mapping: None for unknown values, and integers as int (pandas makes them floats where
    any row has a null).
    """
    whole = {column.name for column in PROCEDURES["certify"].schema if pa.types.is_integer(column.type)}
    return [
        {str(name): None if pd.isna(value) else int(value) if name in whole else value for name, value in row.items()}
        for row in rows.to_dict("records")
    ]
