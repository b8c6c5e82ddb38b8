"""Rows and counts of a run with a rejector that no such run can have written are refused by all readers of files."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_runs import certified
from test_row_checks import edit, part_of, refusals

from raysmooth.actors.noise.families import noise_family
from raysmooth.pipeline.certification.array_bounds import lower_bounds, upper_bounds
from raysmooth.pipeline.certification.certificate import lower_bound, upper_bound
from raysmooth.pipeline.derived.recertify import recertify

SETTINGS: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "rejector": "confidence:threshold=0.7",
    "sigma": 0.25, "max": 6, "n0": 10, "n": 80, "alpha": 0.1, "block_size": 50,
}  # fmt: skip
BOUNDS: dict[str, dict[str, Any]] = {
    "runner-up": {},
    "rejection": {"noise_bound": "rejection", "alpha_share": 0.9},
    "complement": {"noise_bound": "complement"},
}
CERTAIN = 5
"""A row that certifies a radius with each bound."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {bound: tmp_path_factory.mktemp("whole") for bound in BOUNDS}
    for bound, out in folders.items():
        certified(out, **SETTINGS, **BOUNDS[bound])
    return folders


def altered(bound: str, whole: dict[str, Path], out: Path, kind: str, **values: Any) -> dict[str, str | None]:
    """What the readers say of a copy of the run whose certain row, or first block, has these values."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(whole[bound], out)
    for column, value in values.items():
        edit(part_of(out, kind), column, value, CERTAIN if kind == "rows" else 0)
    return refusals(out, {**SETTINGS, **BOUNDS[bound]})


def row_of(out: Path) -> dict[str, Any]:
    row: dict[str, Any] = pq.ParquetFile(part_of(out, "rows")).read().to_pylist()[CERTAIN]
    return row


@pytest.mark.parametrize("bound", BOUNDS)
def test_what_a_run_wrote_is_taken_by_all_readers(bound: str, whole: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(whole[bound], tmp_path, dirs_exist_ok=True)
    recertify(tmp_path, rejection="off")
    recertify(tmp_path, n=50, noise_bound="rejection", alpha_share=0.8)
    assert set(refusals(tmp_path, {**SETTINGS, **BOUNDS[bound]}).values()) == {None}


ODD: dict[str, list[Any]] = {
    "count_rejected": [-1, 81, None],
    "p_upper": [1e-6, 0.9, None],
    "alpha_share": [0.0, 1.0, None],
    "noise_bound": ["another", "complement", None],
    "rejector": [None],
}


@pytest.mark.parametrize("column", ODD)
@pytest.mark.parametrize("bound", ["runner-up", "rejection"])
def test_a_row_that_no_run_has_is_refused(bound: str, column: str, whole: dict[str, Path], tmp_path: Path) -> None:
    for value in ODD[column]:
        found = altered(bound, whole, tmp_path / "out", "rows", **{column: value})
        for reader in ("report", "recertify", "resume"):
            if reader == "report" and column == "noise_bound" and value is None:
                continue  # as in rows of earlier versions
            assert found[reader] is not None, (reader, value)
            assert str(found[reader]).isprintable()


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_row_that_its_counts_do_not_give_is_refused(bound: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """All columns of the row agree with each other."""
    row, noise, share = row_of(whole[bound]), noise_family("gaussian", 0.25), 0.9 if bound == "rejection" else 0.5
    rejected = row["count_rejected"] + 2
    changes: list[dict[str, Any]] = [{"count_rejected": rejected}]
    if bound != "complement":
        # As if fewer draws had been of other classes.
        others = 80 - row["count_top"] - rejected if bound == "rejection" else 2
        p_upper = min(upper_bound(others, 80, 0.1 * (1 - share)), 1 - row["p_lower"])
        assert p_upper < row["p_upper"]
        radius = noise.radius(row["p_lower"], p_upper)
        changes[0] |= {"p_upper": p_upper, "radius": radius} if bound == "rejection" else {}
        changes += [{"p_upper": p_upper, "radius": radius}]
    for change in changes:
        found = altered(bound, whole, tmp_path / "out", "rows", **change)
        for reader in ("recertify", "resume"):
            assert found[reader] is not None, (reader, change)
            assert "by its counts" in str(found[reader]) or ("p_upper" in change and "p_upper" in str(found[reader]))


def test_counts_of_other_labels_are_refused(whole: dict[str, Path], tmp_path: Path) -> None:
    """Ten classes: labels 0 to 19."""
    first = pq.ParquetFile(part_of(whole["runner-up"], "counts")).read()["labels"][0].as_py()
    for labels in ([*first[:-1], 20], [*first[:-1], 2**31 - 1], [*range(21 - len(first), 21)]):
        found = altered("runner-up", whole, tmp_path / "out", "counts", labels=labels)
        for reader in ("recertify", "resume"):
            assert "has labels" in str(found[reader])
            assert "below 20" in str(found[reader])


def test_a_kept_draw_counted_as_rejected_is_found_by_the_row(whole: dict[str, Path], tmp_path: Path) -> None:
    blocks = pq.ParquetFile(part_of(whole["complement"], "counts")).read().to_pylist()
    place = next(place for place, block in enumerate(blocks) if block["role"] == "estimation")
    counted = dict(zip(blocks[place]["labels"], blocks[place]["counts"], strict=True))
    kept = next(label for label in counted if label < 10)
    counted[kept + 10] = counted.get(kept + 10, 0) + counted.pop(kept)
    shutil.copytree(whole["complement"], tmp_path, dirs_exist_ok=True)
    for column, values in (("labels", sorted(counted)), ("counts", [counted[label] for label in sorted(counted)])):
        edit(part_of(tmp_path, "counts"), column, values, place)
    found = refusals(tmp_path, {**SETTINGS, **BOUNDS["complement"]})
    for reader in ("recertify", "resume"):
        assert "by its counts" in str(found[reader])


def test_arrays_of_upper_bounds_are_those_of_single_counts() -> None:
    counts, n, alpha = np.array([0, 1, 40, 79, 80]), np.full(5, 80), np.full(5, 0.05)
    assert upper_bounds(counts, n, alpha).tolist() == pytest.approx(
        [upper_bound(int(count), 80, 0.05) for count in counts], rel=1e-9
    )
    assert (lower_bounds(counts, n, alpha) <= upper_bounds(counts, n, alpha)).all()
    assert lower_bounds(counts, n, alpha)[2] == pytest.approx(lower_bound(40, 80, 0.05))
