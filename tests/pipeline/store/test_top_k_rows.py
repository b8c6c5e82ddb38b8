"""Columns of top-k certificates that no run can have written are refused."""

from pathlib import Path
from typing import Any

import pytest
from counted_runs import EASY, HARD, LOST, stored_run
from test_row_checks import edit, part_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.derived.recertify import recertify

EDITED: list[tuple[str, Any, int]] = [
    ("radius_top_k", 3.0, 0), ("radius_top_k", 0.001, 0), ("radius_top_k", None, 0), ("radius_top_k", -0.1, 0),
    ("label_radius_top_k", 3.0, 0), ("label_radius_top_k", 0.001, 0), ("label_radius_top_k", None, 0),
    ("label_radius_top_k", 0.2, 2), ("count_label", 152, 0), ("count_label", 161, 1), ("count_label", None, 1),
    ("prediction_top_k", 1, 0), ("prediction_top_k", -1, 0), ("prediction_top_k", 7, 1), ("prediction_top_k", None, 1),
    ("top_k", 1, 0), ("top_k", None, 0), ("top_k", 3, 0),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "row"), EDITED)
def test_rows_that_no_run_can_have_written_are_refused(column: str, value: Any, row: int, tmp_path: Path) -> None:
    source = stored_run(tmp_path / "counts", [EASY, HARD, LOST])
    (run,) = set(recertify(tmp_path / "counts", top_k=2).run_id)
    for kind in ("certificates", "runs"):
        (tmp_path / kind).mkdir()
        name = f"run_id={run}" if kind == "certificates" else run
        (tmp_path / "counts" / kind / name).rename(tmp_path / kind / name)
    assert source != run
    assert len(read_certificates(tmp_path)) == 3
    edit(part_of(tmp_path, "rows"), column, value, row)
    with pytest.raises(RaysmoothError, match=r"expected"):
        read_certificates(tmp_path)
