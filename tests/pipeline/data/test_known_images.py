"""An image that was altered after the fingerprint was taken is never read as the one that it covers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_datasets import encoded, flat_colour, write, write_parquet

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import UnreadableImage, fingerprint, open_dataset
from raysmooth.pipeline.data.folder_dataset import FolderDataset
from raysmooth.pipeline.data.images import Example
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.known_images import KnownImages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Classes a and b of three images each, of which b/1.png is none."""
    for name in ("a", "b"):
        for number in range(3):
            write(tmp_path / f"set/{name}/{number}.png", encoded(flat_colour(40 * number + 5)))
    (tmp_path / "set/b/1.png").write_bytes(b"\x89PNG not really")
    return tmp_path / "set"


def known(root: Path, **chosen: int) -> KnownImages:
    dataset = open_dataset("folder", root)
    return KnownImages(dataset, IndexSet(len(dataset), **chosen).ids)


def refused(images: KnownImages, image_id: int) -> str:
    with pytest.raises(RaysmoothError) as refusal:
        images.read(image_id)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_the_fingerprint_is_that_of_the_data_set(root: Path) -> None:
    dataset = open_dataset("folder", root)
    assert known(root, skip=2, start=1).fingerprint == fingerprint(dataset, [1, 3, 5])


def test_what_is_unaltered_is_read_as_always(root: Path) -> None:
    images, dataset = known(root, skip=2, start=1), open_dataset("folder", root)
    for image_id in (5, 1, 3, 1):
        assert np.array_equal(images.read(image_id).image, dataset.read(image_id).image)
        assert images.read(image_id).label == image_id // 3
    (root / "a/1.png").touch()  # its bytes decide, not its time
    assert images.read(1).image.max() == np.float32(45 / 255)


def test_an_altered_image_stops_the_run_until_it_is_restored(root: Path) -> None:
    images, file = known(root), root / "b/2.png"
    before = file.read_bytes()
    file.write_bytes(encoded(flat_colour(86)))
    assert len(file.read_bytes()) == len(before)
    assert refused(images, 5).startswith("stopped: image 5 of folder (b/2.png) was altered during the run: restore it")
    file.write_bytes(before)
    assert images.read(5).label == 1


def test_an_image_that_is_gone_is_unreadable_and_one_that_came_is_altered(root: Path) -> None:
    dataset = open_dataset("folder", root)
    (root / "a/0.png").rename(root.parent / "away.png")
    images = KnownImages(dataset, range(6))
    (root / "b/2.png").unlink()
    for image_id in (0, 5):
        with pytest.raises(UnreadableImage):
            images.read(image_id)
    (root.parent / "away.png").rename(root / "a/0.png")
    assert "(a/0.png) was altered" in refused(images, 0)


def test_a_damaged_image_is_unreadable_unless_it_is_damaged_otherwise(root: Path) -> None:
    images = known(root)
    with pytest.raises(UnreadableImage):
        images.read(4)
    (root / "b/1.png").write_bytes(b"\x89PNG not at all")
    assert "(b/1.png) was altered" in refused(images, 4)


def test_an_image_replaced_while_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, read = known(root), FolderDataset.read

    def replaced_before(dataset: Any, index: int) -> Example:
        (root / "a/2.png").write_bytes(encoded(flat_colour(200)))
        return read(dataset, index)

    monkeypatch.setattr(FolderDataset, "read", replaced_before)
    assert "(a/2.png) was altered" in refused(images, 2)


def test_rows_of_parquet_files(tmp_path: Path) -> None:
    def written(colours: list[int], labels: list[int]) -> None:
        contents = [encoded(flat_colour(colour), "BMP") for colour in colours]
        write_parquet(
            tmp_path / "test.parquet", contents, labels, rows_a_group=1, compression="none", use_dictionary=False
        )

    written([10, 20, 30, 40], [0, 1, 2, 3])
    dataset = open_dataset("parquet", tmp_path)
    images = KnownImages(dataset, range(4))
    written([10, 20, 31, 40], [0, 3, 2, 3])  # as long as before: only two bytes of pixels and a label differ
    for image_id in (0, 3):
        assert images.read(image_id).label == image_id
    for image_id in (1, 2):
        assert f"(test.parquet;{image_id};0) was altered" in refused(images, image_id)
