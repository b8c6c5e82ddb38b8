"""NumPy arrays as data sets: CIFAR-10-C's .npy files, MedMNIST's .npz, and what else has their endings."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.lib import format as npy

from fuzz.case import Expected, Kind, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.kinds.weights_files import Evil
from fuzz.reading import read_all
from fuzz.values import NUMBERS, TEXTS

FOLDER, ARCHIVE = Path("C"), Path("set.npz")
IMAGES, LABELS = FOLDER / "fog.npy", FOLDER / "labels.npy"
FILES = (IMAGES, LABELS, ARCHIVE)


def _pixels(count: int) -> np.ndarray:
    """uint8 (count, 6, 4, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, 6, 4, 3), np.uint8)


def build_arrays() -> None:
    """Five severities of three images in .npy files, and four images in a .npz."""
    FOLDER.mkdir()
    np.save(IMAGES, _pixels(15))
    np.save(LABELS, np.array(5 * [3, 0, 2]))
    np.savez(ARCHIVE, test_images=_pixels(4)[..., 0], test_labels=np.arange(4)[:, None])


def play_arrays(rng: Random) -> Play:
    altered, file, expected = rng.choice(_ALTERATIONS)(rng)
    root: Path = ARCHIVE if file == ARCHIVE else rng.choice((FOLDER, IMAGES))
    split = "test" if root == ARCHIVE else rng.choice(("fog", "fog", "fog:severity=3"))
    if rng.random() < 0.1:
        split = rng.choice((*TEXTS, "fog:severity=0", "fog:severity=x", "fog:", "fog:severity=6", "fog:x=1", "labels"))
        expected = Expected.ANY
    resize, crop = rng.choice(((None, None), (None, None), (8, None), (None, 3)))
    if resize or crop:
        expected = Expected.REFUSED if expected is Expected.REFUSED else Expected.ANY
    return Play(altered, read_all("numpy", root, split, resize, crop), expected)


def _images(rng: Random) -> tuple[str, Path, Expected]:
    """Images of other types, shapes and values."""
    size = (15, 6, 4, 3)
    ones = np.ones(size)
    values, expected = rng.choice((
        (np.zeros(size, np.uint8), Expected.READ), (np.zeros((15, 3, 6, 4), np.uint8), Expected.READ),
        (np.zeros((15, 6, 4), np.uint8), Expected.READ), (np.zeros((15, 6, 4, 1), np.uint8), Expected.READ),
        (ones, Expected.ANY), (ones.astype(np.float16), Expected.ANY), (ones * 1.5, Expected.REFUSED),
        (ones * np.nan, Expected.REFUSED), (ones * np.inf, Expected.REFUSED), (-ones, Expected.REFUSED),
        (np.zeros(size, np.int64), Expected.REFUSED), (np.zeros(size, np.int8), Expected.REFUSED),
        (np.zeros(size, np.uint16), Expected.REFUSED), (np.zeros(size, complex), Expected.REFUSED),
        (np.zeros(size, bool), Expected.REFUSED), (np.zeros(size, "U3"), Expected.REFUSED),
        (np.zeros(size, "M8[s]"), Expected.REFUSED), (np.zeros(size, [("a", "u1")]), Expected.REFUSED),
        (np.zeros((15, 6, 4, 4), np.uint8), Expected.REFUSED), (np.zeros((15, 6, 4, 2), np.uint8), Expected.REFUSED),
        (np.zeros((15, 0, 4, 3), np.uint8), Expected.REFUSED), (np.zeros((0, 6, 4, 3), np.uint8), Expected.REFUSED),
        (np.zeros((14, 6, 4, 3), np.uint8), Expected.REFUSED), (np.zeros(15, np.uint8), Expected.REFUSED),
        (np.uint8(7), Expected.REFUSED), (np.zeros((15, 1, 1, 6, 4, 3), np.uint8), Expected.REFUSED),
        (np.asfortranarray(_pixels(15)), Expected.REFUSED), (_pixels(15).astype(">f4") / 255, Expected.ANY),
    ))  # fmt: skip
    np.save(IMAGES, values)
    return f"images of {values.dtype}, {values.shape}", IMAGES, expected


def _labels(rng: Random) -> tuple[str, Path, Expected]:
    """Labels of other types, shapes and values."""
    labels = np.array(5 * [3, 0, 2])
    odd = labels.copy()
    odd[rng.randrange(15)] = rng.choice((-1, -(2**31), 2**62))
    values, expected = rng.choice((
        (labels.astype(np.uint8), Expected.READ), (labels[:, None], Expected.READ), (labels[:14], Expected.REFUSED),
        (labels.astype(float), Expected.REFUSED), (labels.astype(str), Expected.REFUSED), (odd, Expected.ANY),
        (labels > 0, Expected.REFUSED), (np.eye(15), Expected.REFUSED), (labels[None], Expected.REFUSED),
        (np.int64(3), Expected.REFUSED), (labels.astype("M8[s]"), Expected.REFUSED), (labels[:0], Expected.REFUSED),
        (np.full(15, 2**64 - 1, np.uint64), Expected.ANY), (labels.astype(">i2"), Expected.READ),
    ))  # fmt: skip
    if not np.issubdtype(values.dtype, np.number) or values.min(initial=0) < 0:
        expected = Expected.REFUSED
    np.save(LABELS, values)
    return f"labels of {values.dtype}, {values.shape}, {str(values.reshape(-1)[:3])!a:.40}", LABELS, expected


def _objects(rng: Random) -> tuple[str, Path, Expected]:
    """Arrays of Python objects, whose pickles would run code."""
    file = rng.choice(FILES)
    evil = np.array([Evil(rng) for _ in range(15)], object)
    if file == ARCHIVE:
        np.savez(ARCHIVE, test_images=_pixels(4), **{rng.choice(("test_labels", "other")): evil[:4]})
    elif rng.random() < 0.5:
        np.save(file, evil)
    else:
        file.write_bytes(pickle.dumps(Evil(rng)))
    return f"{file.name} holds Python objects", file, Expected.REFUSED if file != ARCHIVE else Expected.ANY


def _header(rng: Random) -> tuple[str, Path, Expected]:
    """A header of another text, in front of the same bytes."""
    file = rng.choice((IMAGES, LABELS))
    array = np.load(file)
    shape, order, descr = array.shape, False, npy.dtype_to_descr(array.dtype)
    way = rng.randrange(7)
    if way == 0:
        shape = rng.choice(((2**40, 6, 4, 3), (-15, 6, 4, 3), (15, -6, -4, 3), (2**62, 2**62), (), tuple([1] * 100)))
    elif way == 1:
        descr = rng.choice(("|O", "|V0", "|S0", "<U99999999", "|u1", "<f8", ">i4", "x", "", [("a", "<i8")]))
    elif way == 2:
        order = True
    text = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape!r}, }}"
    if way == 3:
        text = rng.choice(("", "{", "[1]", "{'descr': '|u1'}", "__import__('os').system('touch canary')", "Q" * 5000))
    elif way == 4:
        text = text[: rng.randrange(len(text))]
    elif way == 5:
        text = f"{'(' * 300}{')' * 300}"
    elif way == 6:
        text = text.replace(str(shape), f"({rng.choice([n for n in NUMBERS if n != 10**400])!r}, 6, 4, 3)")
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\xff\x00"))
    length = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    file.write_bytes(b"\x93NUMPY" + version + length + text.encode() + array.tobytes())
    return f"{file.name} with the header {text[:60]!a}", file, Expected.ANY


def _archive(rng: Random) -> tuple[str, Path, Expected]:
    """Archives with odd members."""
    arrays: dict[str, Any] = {"test_images": _pixels(4), "test_labels": np.arange(4)}
    way = rng.randrange(6)
    expected = Expected.ANY
    if way == 0:
        names = [rng.choice(("train", "val", *TEXTS)).replace("\ud800", "").replace("\0", "") for _ in range(2)]
        arrays = {f"{names[0]}_images": arrays["test_images"], f"{names[1]}_labels": arrays["test_labels"]}
    elif way == 1:
        del arrays[rng.choice(list(arrays))]
        expected = Expected.REFUSED
    elif way == 2:
        arrays["test_labels"] = np.arange(rng.choice((0, 3, 5)))
        expected = Expected.REFUSED
    np.savez_compressed(ARCHIVE, **arrays) if way == 3 else np.savez(ARCHIVE, **arrays)
    if way in (4, 5):
        with zipfile.ZipFile(ARCHIVE, "a", zipfile.ZIP_DEFLATED) as archive:
            member = "test_labels.npy" if way == 4 else rng.choice(("../x.npy", "/x.npy", "\x1b[31m.npy", "a\nFORGED"))
            archive.writestr(member, rng.choice((b"", b"x", bytes(10**7), pickle.dumps(Evil(rng)))))
        expected = Expected.REFUSED if way == 4 else Expected.ANY
    return f"archive, way {way}, of {list(arrays)!a:.60}", ARCHIVE, expected


def _bomb(rng: Random) -> tuple[str, Path, Expected]:
    """A small archive that states many pixels, or holds many."""
    shape = rng.choice(((2**34, 6, 4), (50_000, 64, 64)))
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("test_images.npy", "w") as file:
            npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            file.write(bytes(1000))
        archive.writestr("test_labels.npy", b"")
    return f"an archive that states {shape}", ARCHIVE, Expected.REFUSED


def _damaged(rng: Random) -> tuple[str, Path, Expected]:
    file = rng.choice(FILES)
    return damage(rng, file), file, Expected.ANY


def _other(rng: Random) -> tuple[str, Path, Expected]:
    file = rng.choice(FILES)
    return replaced_by_other(rng, file), file, Expected.REFUSED


_ALTERATIONS: tuple[Callable[[Random], tuple[str, Path, Expected]], ...] = (
    _images, _images, _labels, _labels, _objects, _header, _header, _archive, _archive, _bomb, _damaged, _damaged,
    _other,
)  # fmt: skip

ARRAYS = Kind("NumPy arrays as data sets", build_arrays, play_arrays)
