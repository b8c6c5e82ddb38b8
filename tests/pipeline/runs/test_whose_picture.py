"""Rows name their image and its classes, whatever the data set, and beside rows of versions that did not."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded, flat_colour, write, write_parquet
from small_runs import certified, opened

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.store.parts import read_rows

RUN: dict[str, Any] = {"classifier": "grey_level:GreyLevel:classes=10", "sigma": 0.01, "n0": 10, "n": 60, "alpha": 0.1}
WHOSE = ["file", "label_name", "prediction_name"]
LEVEL = 20
"""Steps of brightness between classes."""


def rows_of(out: Path, **settings: Any) -> pd.DataFrame:
    return read_rows(out, "certificates", certified(out, **RUN, **settings))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes; the second dog looks like a cat, and one cannot be read."""
    for file, level in {"cat/7.png": 0, "dog/7.png": 1, "dog/8.png": 0}.items():
        write(tmp_path / "photos" / file, encoded(flat_colour(LEVEL * level, 8, 8)))
    write(tmp_path / "photos/dog/9.png", b"not really")
    return tmp_path / "photos"


def test_class_folders(tmp_path: Path, photos: Path) -> None:
    rows = rows_of(tmp_path / "out", dataset="folder", data_root=str(photos))
    assert rows.file.tolist() == ["cat/7.png", "dog/7.png", "dog/8.png", "dog/9.png"]
    assert rows.label_name.tolist() == ["cat", "dog", "dog", "dog"]
    assert rows.prediction_name.tolist()[:3] == ["cat", "dog", "cat"]
    assert pd.isna(rows.prediction_name[3])
    assert rows.correct.tolist() == [True, True, False, False]
    assert (rows.label[3], rows.error[3]) == (1, "not an image of a known format (10 bytes)")


def test_classes_that_the_classifier_numbers_otherwise(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "map.yaml").write_text("cat: 4\ndog: 4\n")
    label_map = str(tmp_path / "map.yaml")
    rows = rows_of(tmp_path / "out", dataset="folder", data_root=str(photos), label_map=label_map)
    assert set(rows.label_name) == {"cat / dog"}
    assert rows.prediction_name.isna().all()  # the data names no class 0 or 1


def test_images_without_classes_and_without_files(tmp_path: Path) -> None:
    for name in (os.fsdecode(b"caf\xe9.png"), "two\nlines.png"):
        write(tmp_path / "flat" / name, encoded(flat_colour(3 * LEVEL, 8, 8)))
    rows = rows_of(tmp_path / "out", dataset="folder", data_root=str(tmp_path / "flat"))
    assert sorted(rows.file) == ["caf\\xe9.png", "two\\nlines.png"]
    assert rows[WHOSE[1:]].isna().all(axis=None)
    digits = rows_of(tmp_path / "out", dataset="digits", max=2)
    assert digits.file.isna().all()
    assert digits.label_name.tolist() == [str(label) for label in digits.label]


def test_parquet_rows_have_the_name_that_the_set_keeps_or_their_place(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "test.parquet", [encoded(flat_colour(1 * LEVEL, 8, 8))] * 2, [1, 0])
    table = pq.read_table(path)
    images = [
        {**image, "path": name} for image, name in zip(table["image"].to_pylist(), ("a/0.png", None), strict=True)
    ]
    features = b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a <cat>", "dog"]}}}}'
    table = table.set_column(0, "image", pa.array(images, table.schema.field("image").type))
    pq.write_table(table.replace_schema_metadata({b"huggingface": features}), path)
    rows = rows_of(tmp_path / "out", dataset="parquet", data_root=str(path))
    assert rows[WHOSE].to_numpy().tolist() == [
        ["a/0.png", "dog", "dog"],
        ["test.parquet, row 1", "a <cat>", "dog"],
    ]


def test_parquet_rows_whose_names_are_no_text_are_read_without_them(tmp_path: Path) -> None:
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])
    paths = pa.array([b"caf\xe9.png"], pa.binary()).view(pa.string())
    image = pa.StructArray.from_arrays(
        [pa.array([encoded(flat_colour(9, 8, 8))], pa.binary()), paths], ["bytes", "path"]
    )
    pq.write_table(pa.Table.from_arrays([image, pa.array([0])], schema=schema), tmp_path / "test.parquet")
    rows = rows_of(tmp_path / "out", dataset="parquet", data_root=str(tmp_path / "test.parquet"))
    assert rows[["file", "status"]].to_numpy().tolist() == [["test.parquet, row 0", "ok"]]


def test_arrays(tmp_path: Path) -> None:
    images = np.full((2, 8, 8), 2 * LEVEL, np.uint8)
    np.savez(tmp_path / "set.npz", test_images=images, test_labels=np.array([2, 1]))
    rows = rows_of(tmp_path / "out", dataset="numpy", data_root=str(tmp_path / "set.npz"))
    assert [file.rpartition(", ")[2] for file in rows.file] == ["image 0", "image 1"]


def older(out: Path) -> None:
    """Rewrite the parts of rows as versions before these columns wrote them, which had another order too."""
    for part in out.glob("certificates/*/*.parquet"):
        table = pq.ParquetFile(part).read()
        table = table.drop_columns([name for name in WHOSE if name in table.column_names])
        pq.write_table(table.select(table.column_names[::-1]), part, write_page_checksum=True)


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, photos: Path) -> None:
    settings = {**RUN, "dataset": "folder", "data_root": str(photos), "block_size": 30}
    whole = read_rows(tmp_path / "whole", "certificates", certified(tmp_path / "whole", **settings))
    out = tmp_path / "out"
    with opened(out, **settings) as (ledger, step):
        while ledger.finished < 2:
            step()
    older(out)
    (photos / "cat").rename(photos / "camel")  # the fingerprint is that of labels and content
    run_id = certified(out, **settings)
    rows = read_rows(out, "certificates", run_id)
    assert rows.file.notna().sum() >= 2
    assert set(rows.label_name.dropna()) <= {"cat", "dog"}  # as the run began
    shared = ["image_id", "label", "prediction", "radius", "count_top", "status"]
    pd.testing.assert_frame_equal(rows[shared], whole[shared])
    everything = read_certificates(out)
    assert len(everything) == 4
    older(out)
    assert not set(WHOSE) & set(read_rows(out, "certificates", run_id))
    assert len(read_certificates(out)) == 4
    again = recertify(out, alpha=0.2)
    assert again.file.isna().all()
    assert again.label_name.tolist() == ["cat", "dog", "dog", "dog"]  # of the manifest


def test_recertified_rows_keep_the_names(tmp_path: Path, photos: Path) -> None:
    rows = rows_of(tmp_path / "out", dataset="folder", data_root=str(photos))
    again = recertify(tmp_path / "out", alpha=0.2)
    pd.testing.assert_frame_equal(again[WHOSE], rows[WHOSE])


def test_names_decide_no_run_id(tmp_path: Path, photos: Path) -> None:
    settings = {**RUN, "dataset": "folder", "data_root": str(photos)}
    run_id = certified(tmp_path / "out", **settings)
    (photos / "dog").rename(photos / "dachshund")
    assert certified(tmp_path / "elsewhere", **settings) == run_id


def test_too_many_errors_name_the_first(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"the first, image 3 \(dog/9\.png\): not an image of a known format"):
        certified(tmp_path / "out", **RUN, dataset="folder", data_root=str(photos), max_errors=0)
