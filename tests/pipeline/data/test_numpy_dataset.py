"""Data sets in NumPy arrays: CIFAR-10-C's and MedMNIST's layouts, by hand-checked pixels, and what is refused."""

import os
import pickle
import subprocess
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from test_datasets import refused, unreadable

from raysmooth.pipeline.data import numpy_dataset, numpy_files
from raysmooth.pipeline.data.datasets import fingerprint, open_dataset

LABELS = [3, 0, 2]
SEVERITIES = np.arange(5 * 3 * 4 * 6 * 3, dtype=np.uint8).reshape(15, 4, 6, 3)
"""Five severities of three images, each 4 x 6 pixels and of three channels."""


@pytest.fixture
def corrupted(tmp_path: Path) -> Path:
    """CIFAR-10-C in small: corruptions fog and snow, and labels."""
    folder = tmp_path / "C"
    folder.mkdir()
    np.save(folder / "fog.npy", SEVERITIES)
    np.save(folder / "snow.npy", 255 - SEVERITIES)
    np.save(folder / "labels.npy", np.array(5 * LABELS))
    return folder


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_cifar10_c_is_five_severities_of_the_same_images(corrupted: Path) -> None:
    whole = open_dataset("numpy", corrupted, "fog")
    assert (len(whole), whole.num_classes, whole.split, whole.labels()) == (15, 4, "fog", 5 * LABELS)
    third = open_dataset("numpy", corrupted, "fog:severity=3")
    assert (len(third), third.num_classes, third.split, third.labels()) == (3, 4, "fog:severity=3", LABELS)
    for index in range(3):
        example = third.read(index)
        assert example.label == LABELS[index]
        assert example.image.dtype == np.float32
        assert np.array_equal(example.image, (SEVERITIES[6 + index].transpose(2, 0, 1) / np.float32(255)))
        assert np.array_equal(whole.read(6 + index).image, example.image)
        assert np.array_equal(third.values(index), SEVERITIES[6 + index].transpose(2, 0, 1))
    assert open_dataset("numpy", corrupted, "snow").values(14).max() == 255 - SEVERITIES[14].min()


def test_a_file_names_its_split(corrupted: Path) -> None:
    for split in (None, "test", "fog"):
        dataset = open_dataset("numpy", corrupted / "fog.npy", split)
        assert (dataset.split, len(dataset)) == ("fog", 15)
    assert (
        open_dataset("numpy", corrupted / "snow.npy", "snow:severity=5").values(2)[0, 0, 0]
        == 255 - SEVERITIES[14, 0, 0, 0]
    )
    assert "fog.npy is not of split 'snow': write --split fog" in refused("numpy", corrupted / "fog.npy", "snow")
    np.save(corrupted / "test_images.npy", SEVERITIES[:2])
    np.save(corrupted / "test_labels.npy", [1, 1])
    assert open_dataset("numpy", corrupted / "test_images.npy").labels() == [1, 1]


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("test_images", "test_labels"), "test"),
        (("x_test", "y_test"), "test"),
        (("val_images", "val_labels"), "val"),
        (("images", "labels"), "test"),
        (("x", "y"), "any"),
        (("v6_data", "v6_labels"), "v6"),
    ],
)
def test_names_of_arrays(tmp_path: Path, names: tuple[str, str], split: str) -> None:
    arrays = dict(zip(names, (SEVERITIES[:3], np.array(LABELS, np.uint8)[:, None]), strict=True))
    others = {"train_images": SEVERITIES, "train_labels": np.zeros((15, 1), int), "info": np.array([{}], object)}
    (tmp_path / "folder").mkdir()
    for name, array in {**arrays, **others}.items():
        np.save(tmp_path / "folder" / name, array)
    for root in (saved(tmp_path / "set.npz", **arrays, **others), tmp_path / "folder"):
        dataset = open_dataset("numpy", root, split)
        assert (dataset.labels(), dataset.split, dataset.num_classes) == (LABELS, split, 4)
        assert np.array_equal(dataset.values(2), SEVERITIES[2].transpose(2, 0, 1))
        assert len(open_dataset("numpy", root, "train")) == 15


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(
    "images",
    [
        SEVERITIES[:3].transpose(0, 3, 1, 2),
        SEVERITIES[:3, :, :, 0],
        SEVERITIES[:3, :, :, :1],
        SEVERITIES[:3, None, :, :, 0],
        SEVERITIES[:3].astype(np.float64) / 255,
        np.float32(SEVERITIES[:3]).transpose(0, 3, 1, 2) / np.float32(255),
        np.asfortranarray(SEVERITIES[:3]),
    ],
    ids=["NCHW", "NHW", "NHW1", "N1HW", "float64", "NCHW-float32", "columns"],
)
def test_shapes_and_types_of_images(tmp_path: Path, images: np.ndarray, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "set.npz", images=images, labels=LABELS)
    np.save(tmp_path / "images.npy", np.ascontiguousarray(images))
    np.save(tmp_path / "labels.npy", LABELS)
    expected = SEVERITIES[:3].transpose(0, 3, 1, 2) / np.float32(255)
    expected = expected if 3 in images.shape[1::2] else expected[:, :1]
    for root in (tmp_path / "set.npz", tmp_path):
        dataset = open_dataset("numpy", root)
        for index in range(3):
            assert np.array_equal(dataset.read(index).image, expected[index])
        cropped = [None] if images.dtype != np.uint8 else [None, 2]
        for crop in cropped:
            shape = open_dataset("numpy", root, crop=crop).read(0).image.shape
            assert shape == (len(expected[0]), *((4, 6) if crop is None else (2, 2)))


def test_the_fingerprint_is_of_pixels_labels_and_shapes(tmp_path: Path) -> None:
    def of(images: np.ndarray, labels: Any = LABELS, root: str = "a.npz") -> str:
        return fingerprint(open_dataset("numpy", saved(tmp_path / root, images=images, labels=labels)), range(3))

    images = SEVERITIES[:3]
    changed = images.copy()
    changed[2, 3, 5, 2] ^= 1
    assert of(images) == of(images.transpose(0, 3, 1, 2)) == of(images, np.array(LABELS, np.int16), "b.npz")
    prints = [of(images), of(changed), of(images, [3, 0, 1]), of(images[:, :, :, 0]), of(images.reshape(3, 6, 4, 3))]
    prints.append(of(images / np.float32(255)))
    assert len(set(prints)) == 6


def test_a_file_that_is_cut_or_gone_after_opening(corrupted: Path) -> None:
    dataset, file = open_dataset("numpy", corrupted, "fog"), corrupted / "fog.npy"
    before = fingerprint(dataset, range(15))
    os.truncate(file, file.stat().st_size - 1)
    assert unreadable(dataset, 14) == "fog.npy, image 14: fog.npy ends before it"
    assert dataset.read(13).label == 0
    file.unlink()
    assert unreadable(dataset, 13) == "fog.npy, image 13: No such file or directory"
    assert fingerprint(dataset, range(15)) != before
    assert dataset.listed(2) == b"fog.npy;2;72;2;"


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return subprocess.getoutput, (f"touch {self.path}",)


@pytest.mark.parametrize("key", ["images", "labels"])
def test_objects_are_never_unpickled(tmp_path: Path, key: str) -> None:
    arrays = {"images": SEVERITIES[:3], "labels": np.array(LABELS)}
    arrays[key] = np.array([_Evil(tmp_path / "ran")] * 3, object)
    (tmp_path / "folder").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "folder" / name, array, allow_pickle=True)
    for root in (saved(tmp_path / "set.npz", **arrays), tmp_path / "folder"):
        assert "holds Python objects, which could run code when read: write an array of numbers" in refused(
            "numpy", root
        )
    (tmp_path / "folder/images.npy").write_bytes(pickle.dumps(_Evil(tmp_path / "ran")))
    assert "images.npy is no NumPy file, or damaged" in refused("numpy", tmp_path / "folder")
    (tmp_path / "set.npz").write_bytes(pickle.dumps(_Evil(tmp_path / "ran")))
    assert "set.npz is no NumPy file, or damaged" in refused("numpy", tmp_path / "set.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"labels": [1, 2]}, "has 3 images, and labels in {} has 2 labels"),
        ({"labels": [[1, 2], [0, 1], [1, 1]]}, "labels (3, 2) in labels in {}: one number for each image"),
        ({"labels": [0.0, 1.0, 1.0]}, "labels of type float64 in labels in {}: whole numbers, from 0 on"),
        ({"labels": [0, -1, 1]}, "label -1 in labels in {}: whole numbers"),
        ({"labels": [0, 2**53, 1]}, f"label {2**53} in labels in {{}}: whole numbers up to 999,999"),
        ({"labels": np.array([], int)}, "labels in {} is empty"),
        ({"images": SEVERITIES[:3].reshape(3, -1)}, "images (3, 72) in images in {}: (N, H, W), (N, H, W, C) or"),
        ({"images": np.zeros((3, 4, 4, 4), np.uint8)}, "images (3, 4, 4, 4) in images in {}: (N, H, W)"),
        ({"images": np.zeros((3, 0, 4, 3), np.uint8)}, "images (3, 0, 4, 3) in images in {}: (N, H, W)"),
        ({"images": SEVERITIES[:3].astype(int)}, "images of type int64 in images in {}: uint8 (0 to 255), or floats"),
        ({"images": SEVERITIES[:3].astype(">f4")}, "values from 0 to 215: floats are from 0 to 1; divide them by 255"),
        ({"images": np.full((3, 4, 4), np.nan)}, "has values from nan to nan"),
    ],
)  # fmt: skip
def test_arrays_of_another_kind_are_refused(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    root = saved(tmp_path / "set.npz", **{"images": SEVERITIES[:3], "labels": LABELS, **arrays})
    assert expected.format(root) in refused("numpy", root)


def test_floats_are_checked_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_dataset, "_AT_ONCE", 200)
    images = np.zeros((7, 5, 5), np.float32)
    images[6, 4, 4] = 1.5
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.zeros(7, int))
    assert "images.npy has values from 0 to 1.5" in refused("numpy", tmp_path)
    colours = saved(tmp_path / "set.npz", images=SEVERITIES[:3] / 255, labels=LABELS)
    assert "has colours of type float64, which cannot be resized, cropped or made" in refused("numpy", colours, crop=2)


def test_files_of_another_kind_are_refused(corrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fog = (corrupted / "fog.npy").read_bytes()
    said = "fog.npy is cut or damaged: an array (15, 4, 6, 3) of uint8 is not"
    for content in (fog[:-1], fog + b"0"):
        (corrupted / "fog.npy").write_bytes(content)
        assert said in refused("numpy", corrupted, "fog")
    for content in (b"", fog[:20], b"\x93NUMPY\x03\x00" + fog[8:], fog.replace(b"'|u1'", b"'?!?'")):
        (corrupted / "fog.npy").write_bytes(content)
        assert "fog.npy is no NumPy file, or damaged" in refused("numpy", corrupted, "fog")
    np.save(corrupted / "fog.npy", np.asfortranarray(SEVERITIES))
    assert "is in Fortran's order: write it again with np.ascontiguousarray" in refused("numpy", corrupted, "fog")
    (corrupted / "fog.npy").unlink()
    os.mkfifo(corrupted / "fog.npy")
    assert "fog.npy is not a regular file" in refused("numpy", corrupted, "fog")
    monkeypatch.setattr(numpy_files, "LARGEST_FILE", 100)
    assert "snow.npy has 0 GiB: write it in several parts" in refused("numpy", corrupted, "snow")
    monkeypatch.undo()
    monkeypatch.setattr(numpy_files, "LARGEST_IN_MEMORY", 100)
    assert "labels.npy has 0.0 GiB, which must fit in memory" in refused("numpy", corrupted, "snow")


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "set.npz"
    np.savez_compressed(root, images=SEVERITIES[:3], labels=LABELS)
    content = root.read_bytes()
    place = content.index(b"images.npy") + 60
    root.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
    assert f"{root}" in refused("numpy", root)
    with ZipFile(root, "w", ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("images.npy", b"")
    assert "has images.npy twice" in refused("numpy", root)


def test_what_is_not_there_is_named(corrupted: Path, tmp_path: Path) -> None:
    assert refused("numpy", corrupted, "rain").startswith(
        f"numpy: no images of split 'rain' in {corrupted} (there is fog, labels, snow): write --split; --data-root is"
    )
    (corrupted / "labels.npy").unlink()
    assert f"{corrupted} has fog without labels (there is fog, snow): add labels.npy" in refused(
        "numpy", corrupted, "fog"
    )
    assert "(there is nothing)" in refused("numpy", tmp_path, "fog")


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("fog:severity=0", "option severity=0: write a whole number, 1 or more, at most 5"),
        ("fog:severity=6", "option severity=6"),
        ("fog:severity=high", "option severity=high"),
        ("fog:strength=2", "split 'fog' has no option 'strength': known: severity"),
        ("fog:3", "'fog:3' is not a valid split: write NAME or NAME:option=value"),
    ],
)
def test_options_of_a_split(corrupted: Path, split: str, expected: str) -> None:
    assert expected in refused("numpy", corrupted, split)


def test_files_that_are_no_severities(corrupted: Path) -> None:
    said = "is not 5 severities of the same images, one after the other: write --split fog"
    np.save(corrupted / "labels.npy", np.array(4 * LABELS + [3, 0, 1]))
    assert said in refused("numpy", corrupted, "fog:severity=1")
    np.save(corrupted / "labels.npy", np.array((5 * LABELS)[:14]))
    np.save(corrupted / "fog.npy", SEVERITIES[:14])
    assert said in refused("numpy", corrupted, "fog:severity=1")
