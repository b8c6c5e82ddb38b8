"""Rows and counts that no run can have written are refused by their file, however well their checksums fit."""

import shutil
from collections.abc import Callable
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from small_runs import certified, opened

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.actors.noise.families import NOISES, noise_family
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.certification.array_bounds import AT_MOST, RADII, lower_bounds
from raysmooth.pipeline.certification.certificate import lower_bound
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.status.run_status import StatusReader
from raysmooth.pipeline.store.row_checks import bad_row, index_set_of

SETTINGS: dict[str, Any] = {
    "dataset": "digits", "classifier": "digits_cnn:width=4", "sigma": 0.25, "max": 4, "n0": 10, "n": 80, "alpha": 0.1,
    "block_size": 50,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "adaptive": {"sampling": "adaptive"},
    "decide": {"sampling": "decide", "radius": 0.05},
    "uniform": {"noise": "uniform"},
    "linf": {"norm": "linf"},
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(file, build_classifier(Variant.parse(SETTINGS["classifier"])), {})
    return {**SETTINGS, "classifier_weights": str(file)}


@pytest.fixture(scope="module")
def whole(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    certified(out, **settings)
    return out


def part_of(out: Path, kind: str) -> Path:
    (part,) = out.glob("certificates/*/*.parquet" if kind == "rows" else "runs/*/counts/*.parquet")
    return part


def edit(part: Path, column: str, value: Any, row: int = 0) -> None:
    """Write the part again with another value, as a careful forger would: with its own checksums and origin."""
    table = pq.ParquetFile(part).read()
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    changed = table.set_column(place, column, pa.array(values, table.schema.field(column).type))
    pq.write_table(changed, part, write_page_checksum=True)


def refusals(out: Path, settings: dict[str, Any]) -> dict[str, str | None]:
    """What each reader says; None where it takes the files."""

    def resume() -> None:
        with opened(out, **settings):
            pass

    readers: dict[str, Callable[[], object]] = {
        "report": lambda: read_certificates(out),
        "recertify": lambda: recertify(out, alpha=0.05),
        "status": lambda: StatusReader(out).read(),
        "resume": resume,
    }
    found: dict[str, str | None] = {}
    for name, read in readers.items():
        try:
            read()
            found[name] = None
        except RaysmoothError as refusal:
            found[name] = str(refusal)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_wrote_is_taken_by_all_readers(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    certified(tmp_path, **settings, **KINDS[kind])
    assert set(refusals(tmp_path, {**settings, **KINDS[kind]}).values()) == {None}
    if kind not in ("decide", "linf"):
        recertify(tmp_path, noise_bound="runner-up")  # whose rows have a bound of their own
        assert len(read_certificates(tmp_path)) == 3 * 4


ROWS: dict[str, list[Any]] = {
    "image_id": [-1, 1, 400, 10**12, None],
    "radius": [-1.0, nan, float("inf"), 9.9, None],
    "sigma": [-0.25, 0.0, nan, 1.0],
    "alpha": [0.0, 1.0, 0.5],
    "n": [-1, 0, 10**15],
    "n0": [0, -3],
    "images": [0, 5],
    "label": [-1, 10, 10**9],
    "prediction": [-2, 10, None],
    "abstain": [None],
    "p_lower": [-0.1, 1.1, 0.987],
    "count_top": [-1, 81, 10**12],
    "n_used": [-1, 81, 79],
    "draws": [-5, 10**9],
    "seconds": [-1.0, nan, float("inf")],
    "status": ["fine", None, "x\n\x1b[31m" * 200],
    "noise": ["x" * 5000],
    "index_set": ["every image of 400, 0 to 1 (2 images)"],
    "file": ["", "two\nlines", "x" * 4097],
    "label_name": ["", "another"],
    "prediction_name": ["x\x1b[31m" * 200, "another"],
}


@pytest.mark.parametrize("column", ROWS)
def test_a_row_that_no_run_has_is_refused_by_its_file(
    column: str, whole: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    for value in ROWS[column]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        part = part_of(out, "rows")
        edit(part, column, value)
        found = refusals(out, settings)
        for reader in ("report", "recertify", "resume"):
            said = found[reader]
            if reader == "report" and column in ("label", "noise", "alpha") and said is None:
                continue  # without the manifest, these could be another run's
            assert said is not None, (reader, value)
            assert said.isprintable()
            assert len(said) < 700
            assert part.name in said or "certificates" in said


def test_a_row_that_its_counts_do_not_give_is_refused(whole: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """All columns of the row agree; its counts are those of another class, or of fewer draws."""
    table = pq.ParquetFile(part_of(whole, "rows")).read()
    certain = table["abstain"].to_pylist().index(False)
    count = table["count_top"][certain].as_py()
    p_lower = lower_bound(count - 1, 80, 0.1)
    changes: list[dict[str, Any]] = [
        {"prediction": (table["prediction"][certain].as_py() + 1) % 10, "correct": False},
        {"count_top": count - 1, "p_lower": p_lower, "radius": noise_family("gaussian", 0.25).radius(p_lower)},
    ]
    for change in changes:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        for column, value in change.items():
            edit(part_of(out, "rows"), column, value, certain)
        label = table["label"][certain].as_py()
        if "prediction" in change:
            edit(part_of(out, "rows"), "correct", change["prediction"] == label, certain)
            edit(part_of(out, "rows"), "prediction_name", str(change["prediction"]), certain)
        found = refusals(out, settings)
        for reader in ("recertify", "resume"):
            assert found[reader] is not None, (reader, change)
            assert "by its counts" in str(found[reader])


COUNTS: dict[str, list[Any]] = {
    "image_id": [-1, 400, 10**12],
    "role": ["both", ""],
    "block": [-1, 7],
    "draws": [-5, 0, 51, 49],
    "labels": [[0, 99], [-1], [3, 3], [], [5, 2], None],
    "counts": [[-1], [10**6], [], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    "invalid": [-1, 1, 10**6],
    "seconds": [-1.0, nan],
}


@pytest.mark.parametrize("column", COUNTS)
def test_counts_that_no_run_has_are_refused_by_their_file(
    column: str, whole: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    for value in COUNTS[column]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(whole, out)
        part = part_of(out, "counts")
        edit(part, column, value)
        found = refusals(out, settings)
        for reader in ("recertify", "resume"):
            said = found[reader]
            assert said is not None, (reader, value)
            assert said.isprintable()
            assert part.name in said


def test_a_column_of_another_type_is_refused() -> None:
    assert bad_row(pa.table({"image_id": [0], "radius": ["0.5"]})) == "has radius of type string, expected numbers"
    assert bad_row(pa.table({"image_id": [0], "abstain": [1]})) == "has abstain of type int64, expected true or false"
    assert bad_row(pa.table({"image_id": [0], "radius": [None]})) == "has radius null of image 0, expected a value"


@examples(200)
@given(st.integers(1, 500), st.integers(1, 60), st.none() | st.integers(1, 60))
def test_an_index_set_is_what_its_description_says(length: int, skip: int, most: int | None) -> None:
    index_set = IndexSet(length, skip, most)
    assert list(index_set_of(index_set.describe()) or ()) == list(index_set)


@pytest.mark.parametrize("text", ["", "some", "all", "every 0th of 10 (3 images)", "every image of 9 (8 images)", None])
def test_other_descriptions_say_nothing(text: str | None) -> None:
    assert index_set_of(text) is None


def test_arrays_of_bounds_and_radii_are_those_of_single_certificates() -> None:
    """100 of 100 draws at alpha 0.001 give 0.001^(1/100) = 0.933254, and at sigma 0.25 the radius 0.375119."""
    counts = np.array([0, 1, 66, 93, 100])
    bounds = lower_bounds(counts, np.full(5, 100), np.full(5, 0.001))
    assert bounds.tolist() == pytest.approx([lower_bound(int(count), 100, 0.001) for count in counts], rel=1e-12)
    assert bounds[-1] == pytest.approx(0.001**0.01)
    mixed = lower_bounds(np.array([5, 0, 7]), np.array([10, 0, 7]), np.array([0.1, 0.1, 0.01]))
    assert mixed.tolist() == pytest.approx([lower_bound(5, 10, 0.1), 0.0, lower_bound(7, 7, 0.01)])
    radius = RADII["gaussian", "l2"](np.array([0.25]), bounds[-1:], 1 - bounds[-1:])
    assert radius[0] == pytest.approx(0.375119, abs=1e-6)
    for name, entry in NOISES.items():
        for norm in entry.norms:
            family = noise_family(name, 0.5, norm, pixels=1)
            ours = AT_MOST[name, norm](np.full(2, 0.5), np.array([0.9, 0.9]), np.array([0.1, 0.02]))
            assert ours.tolist() == pytest.approx([family.radius(0.9), family.radius(0.9, 0.02)], rel=1e-6)
    assert RADII["uniform", "l1"](np.array([0.5]), np.array([1.0]), np.array([0.0]))[0] == pytest.approx(sqrt(3) / 2)


def names(**columns: list[Any]) -> pa.Table:
    table: dict[str, list[Any]] = {"image_id": [0, 1, 2], "label": [0, 1, 1], "prediction": [1, -1, 0]}
    return pa.table(table | columns)


def test_names_of_classes_and_images() -> None:
    fine: dict[str, list[Any]] = {"label_name": ["cat", "dog", "dog"], "prediction_name": ["dog", None, "cat"]}
    assert bad_row(names(**fine, file=["cat/0.png", "dog/\u00e9.png", None])) is None
    assert bad_row(names(label_name=[None] * 3, prediction_name=[None] * 3, file=[None] * 3)) is None
    assert bad_row(names(label_name=["cat", None, "dog"])) is None  # the second is of an earlier version
    for changes, words in (
        ({"label_name": ["cat", "dog", "cow"]}, 'label_name "cow" of image 2, expected "dog", the name of class 1'),
        ({"prediction_name": ["cow", None, "cat"]}, 'prediction_name "cow" of image 0, expected "dog", the name of'),
        ({"prediction_name": ["dog", "dog", "cat"]}, "of image 1, expected none, as there is no prediction"),
        ({"file": ["a", "", "c"]}, 'file "" of image 1, expected a name of 1 to 4,096 printable characters'),
        ({"file": [1, 2, 3]}, "file of type int64, expected text"),
    ):
        assert words in str(bad_row(names(**fine | changes)))
