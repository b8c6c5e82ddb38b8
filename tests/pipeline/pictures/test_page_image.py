"""The page's image is the headline's, as its run drew it; where it cannot be had, the reason is given."""

import json
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import certified

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.data.datasets import open_dataset
from raysmooth.pipeline.pictures import page_image
from raysmooth.pipeline.pictures.image_replay import ReplayedImage
from raysmooth.pipeline.pictures.page_image import certified_image
from raysmooth.pipeline.pictures.page_pictures import as_certified_image
from raysmooth.pipeline.report.page.context import CertifiedImage
from raysmooth.pipeline.report.page.headline import Headline, headline
from raysmooth.pipeline.report.report_data import ReportData

DIGITS: dict[str, Any] = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.1, "skip": 3}
DIGITS |= {"max": 8, "seed": 5, "n0": 40, "n": 300, "block_size": 120}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "out"
    certified(out, **DIGITS)
    return out


def data_of(out: Path) -> tuple[ReportData, Headline]:
    data = ReportData(read_certificates(out), radii=[0.01])
    head = headline(data)
    image_id = int(data.rows.loc[data.rows["status"] == "ok", "image_id"].iloc[1])
    return data, replace(head, image_id=image_id)


def shown(out: Path, trust_code: bool = True) -> CertifiedImage:
    data, head = data_of(out)
    return certified_image(out, data, head, trust_code)


def test_the_image_its_copies_and_its_votes(out: Path) -> None:
    data, head = data_of(out)
    image = shown(out)
    (pictures,) = image.rows
    assert [one.title for one in pictures if one] == ["clean", "noisy", "noisy"]
    assert pictures[0] is not None
    pixels = np.asarray(Image.open(BytesIO(pictures[0].png)))
    clean = open_dataset("digits", None).read(head.image_id or 0).image
    np.testing.assert_array_equal(pixels, np.rint(255 * clean[0]))
    assert pictures[0].is_small
    counts = [count for _, count, _ in image.votes]
    assert image.votes_title == "Votes of 300 noisy copies"
    assert sum(counts) == 300
    assert [share for _, _, share in image.votes] == [count / 300 for count in counts]
    row = data.rows[data.rows["image_id"] == head.image_id].iloc[0]
    by_class = {name.split()[0]: count for name, count, _ in image.votes}
    if not row["abstain"]:
        assert by_class[str(int(row["prediction"]))] == row["count_top"]
    assert f"digits test image {head.image_id}, label {row['label']}" in image.heading


def test_code_is_not_imported_for_a_page(out: Path) -> None:
    image = shown(out, trust_code=False)
    assert [[one.title for one in row if one] for row in image.rows] == [["clean"]]
    assert image.votes
    assert image.note.startswith("Noisy copies are not shown:")
    assert "--trust-code" in image.note


def altered(out: Path, tmp_path: Path, **changes: Any) -> Path:
    """A copy of the results with other entries in the manifest."""
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    (file,) = copy.glob("runs/*/manifest.json")
    manifest = json.loads(file.read_text())
    manifest |= changes
    manifest["settings"] |= changes.get("settings", {})
    file.write_text(json.dumps(manifest))
    return copy


def test_data_that_are_far_or_large_are_not_read(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = json.loads(next(out.glob("runs/*/manifest.json")).read_text())["settings"]
    far = altered(out, tmp_path, settings=settings | {"data_root": "s3://bucket/images"})
    with pytest.raises(RaysmoothError, match="object store"):
        shown(far)
    monkeypatch.setattr(page_image, "MOST_VALUES", 8 * 64 - 1)
    with pytest.raises(RaysmoothError, match="reading the run's 8 images would take long"):
        shown(out)


def test_without_a_manifest_there_is_no_image(out: Path, tmp_path: Path) -> None:
    copy = altered(out, tmp_path)
    next(copy.glob("runs/*/manifest.json")).unlink()
    with pytest.raises(RaysmoothError, match="has no manifest"):
        shown(copy)
    data, head = data_of(out)
    logged = ReportData(data.rows.assign(source="imported from log.tsv"))
    with pytest.raises(RaysmoothError, match="imported from a log"):
        certified_image(out, logged, head)


def test_colours_and_large_images() -> None:
    row = {"dataset": "folder", "split": "all", "image_id": 3, "label": None, "status": "error", "error": "no answer"}
    row |= {"n0": 100, "n": 1000, "alpha": 0.001, "noise": "gaussian", "sigma": 0.5}
    pixels = np.zeros((3, 600, 900), np.float32)
    pixels[0] = 0.5
    image = as_certified_image(ReplayedImage(row, pixels), "")
    ((one,),) = image.rows
    assert one is not None
    picture = Image.open(BytesIO(one.png))
    assert picture.size == (512, 341)
    assert picture.getpixel((9, 9)) == (128, 0, 0)
    assert (one.is_small, one.right, one.alt) == (False, None, "folder all image 3, clean")
    assert (image.votes, image.note) == ([], "Noisy copies are not shown: there are none.")
