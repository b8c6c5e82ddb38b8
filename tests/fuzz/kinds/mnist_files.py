"""MNIST's four files, and generated batches in CIFAR-10's layout."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from fuzz.case import Defect, Expected, Kind, Outcome, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.reading import read_all
from raysmooth.pipeline.data.datasets import open_dataset

RAW = Path("data/MNIST/raw")
IMAGES, LABELS = RAW / "t10k-images-idx3-ubyte", RAW / "t10k-labels-idx1-ubyte"
BATCHES = Path("data/cifar-10-batches-py")


def _idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def build_mnist() -> None:
    RAW.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (6, 28, 28), np.uint8), np.arange(6, dtype=np.uint8)
    for name in ("t10k", "train"):
        (RAW / f"{name}-images-idx3-ubyte").write_bytes(_idx(images))
        (RAW / f"{name}-labels-idx1-ubyte").write_bytes(_idx(labels))
    BATCHES.mkdir(parents=True)
    (BATCHES / "generated.json").write_text("{}")
    for name in ("test_batch", *(f"data_batch_{number}" for number in range(1, 6))):
        with (BATCHES / name).open("wb") as file:
            np.savez(file, data=rng.integers(0, 256, (4, 3072), np.uint8), labels=np.arange(4))


def play_mnist(rng: Random) -> Play:
    altered, expected = rng.choice(_ALTERATIONS)(rng)
    return Play(altered, read_all("mnist", Path("data"), "test"), expected)


def play_cifar(rng: Random) -> Play:
    """Generated batches are NumPy archives."""
    file = BATCHES / "test_batch"
    way = rng.randrange(8)
    if way == 0:
        return Play(replaced_by_other(rng, file), read_all("cifar10", Path("data"), "test"), Expected.REFUSED)
    if way == 1:
        return Play(damage(rng, file), read_all("cifar10", Path("data"), "test"))
    return _valid_batches(rng) if way < 5 else _odd_batch(rng, file)


def _odd_batch(rng: Random, file: Path) -> Play:
    """Types, shapes, labels and names of arrays of which at least one is mostly not as it should be."""
    data: object = rng.choice(
        (
            np.zeros((4, 3072), np.float32), np.zeros((4, 3071), np.uint8), np.zeros(0, np.uint8),
            np.zeros((4, 3072), np.uint8),
            np.full((4, 3072), 300, np.int64), np.full((4, 3072), np.nan), np.array(["x"]), np.array(7),
            np.zeros((4, 3072), complex),
        )
    )  # fmt: skip
    labels: object = rng.choice(
        (np.arange(4), np.arange(3), np.array([0, 1, 2, 10]), np.array([-1, 0, 1, 2]), np.array([0.5] * 4),
        np.array(["a"] * 4),
         np.array([[0], [1], [2], [3]]), np.array(1), np.array([0, 1, 2, 2**62]))
    )  # fmt: skip
    names = rng.choice((("data", "labels"), ("data", "labels"), ("data", "labels"), ("data",), ("Data", "labels")))
    with file.open("wb") as archive:
        np.savez(archive, **dict(zip(names, (data, labels), strict=False)))
    is_odd = len(names) < 2 or names[0] != "data" or np.size(labels) != 4 or np.shape(data) != (4, 3072)
    expected = Expected.REFUSED if is_odd else Expected.ANY
    return Play(f"{names}: {data!r:.60}, {labels!r:.60}", read_all("cifar10", Path("data"), "test"), expected)


def _valid_batches(rng: Random) -> Play:
    """Batches as other programs may write them: every pixel and label has to be read as it was written."""
    split = rng.choice(("test", "train"))
    names = ["test_batch"] if split == "test" else [f"data_batch_{number}" for number in range(1, 6)]
    images, labels, said = [], [], [split]
    for name in names:
        count = rng.choice((1, 2, 7, 40))
        pixels = np.frombuffer(rng.randbytes(count * 3072), np.uint8).reshape(count, 3, 32, 32)
        known = np.array([rng.randrange(10) for _ in range(count)], rng.choice("bBhHiIqQ"))
        shape = rng.choice(((count, 3072), (count, 3, 32, 32), (count * 3072,)))
        data = np.array(pixels.reshape(shape), order=rng.choice("CF"))
        arrays = {"data": data, "labels": known, **rng.choice(({}, {"filenames": np.array(["x"] * count)}))}
        if rng.random() < 0.5:
            arrays = dict(reversed(arrays.items()))
        save = rng.choice((np.savez, np.savez_compressed))
        with (BATCHES / name).open("wb") as archive:
            save(archive, **arrays)
        images.append(pixels)
        labels += known.tolist()
        said.append(f"{save.__name__} of {', '.join(arrays)}: {shape}, labels {known.dtype}")
    if rng.random() < 0.5:  # what the split does not need
        other = BATCHES / ("data_batch_3" if split == "test" else "test_batch")
        said.append(damage(rng, other))
    return Play("; ".join(said), _reads(split, np.concatenate(images), labels), Expected.READ)


def _reads(split: str, images: np.ndarray, labels: list[int]) -> Callable[[], object]:
    def request() -> None:
        if read_all("cifar10", Path("data"), split, expected=Expected.READ)() != labels:
            raise Defect(Outcome.SILENT, "other labels than were written")
        dataset = open_dataset("cifar10", Path("data"), split)
        for index, pixels in enumerate(images):
            if not np.array_equal(dataset.read(index).image, pixels.astype(np.float32) / 255):
                raise Defect(Outcome.SILENT, f"image {index} has other pixels than were written")

    request.__doc__ = f"read all of cifar10 in data, split {split}, and compare it with what was written"
    return request


def _header(rng: Random) -> tuple[str, Expected]:
    """Magic number and sizes that do not fit the content."""
    file = rng.choice((IMAGES, LABELS))
    content = bytearray(file.read_bytes())
    at = rng.randrange(16 if file == IMAGES else 8)
    content[at] = rng.choice([value for value in (0, 1, 7, 8, 9, 13, 14, 128, 255) if value != content[at]])
    file.write_bytes(bytes(content))
    return f"byte {at} of {file.name} is {content[at]}", Expected.REFUSED


def _counts(rng: Random) -> tuple[str, Expected]:
    """More or fewer labels than images."""
    number = rng.choice((0, 1, 5, 7, 100))
    LABELS.write_bytes(_idx(np.zeros(number, np.uint8)))
    return f"{number} labels of 6 images", Expected.REFUSED


def _labels(rng: Random) -> tuple[str, Expected]:
    """A label that is no digit."""
    labels = np.arange(6, dtype=np.uint8)
    labels[rng.randrange(6)] = wrong = rng.choice((10, 11, 128, 255))
    LABELS.write_bytes(_idx(labels))
    return f"a label {wrong}", Expected.REFUSED


def _shapes(rng: Random) -> tuple[str, Expected]:
    shape = rng.choice(((6, 28), (6, 27, 28), (6, 0, 0), (6, 28, 28, 1), (0, 28, 28), (6, 8, 8), (6,)))
    IMAGES.write_bytes(_idx(np.zeros(shape, np.uint8)))
    return f"images of shape {shape}", Expected.ANY if shape[1:] in ((8, 8), (27, 28)) else Expected.REFUSED


def _types(rng: Random) -> tuple[str, Expected]:
    """Other types of numbers than bytes, as the format allows."""
    code, kind = rng.choice(((9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")))
    values = np.zeros((6, 28, 28)).astype(kind)
    IMAGES.write_bytes(bytes((0, 0, code, 3)) + struct.pack(">3I", 6, 28, 28) + values.tobytes())
    return f"images of type {code}", Expected.REFUSED


def _bytes(rng: Random) -> tuple[str, Expected]:
    return damage(rng, rng.choice((IMAGES, LABELS))), Expected.ANY


def _other(rng: Random) -> tuple[str, Expected]:
    return replaced_by_other(rng, rng.choice((IMAGES, LABELS))), Expected.REFUSED


def _zipped(rng: Random) -> tuple[str, Expected]:
    file = rng.choice((IMAGES, LABELS))
    content = gzip.compress(file.read_bytes())
    file.with_name(f"{file.name}.gz").write_bytes(content)
    if rng.random() < 0.5:
        file.write_bytes(content)
        return f"{file.name} is a gzip", Expected.REFUSED
    file.unlink()
    return f"only {file.name}.gz", Expected.ANY


def _huge(rng: Random) -> tuple[str, Expected]:
    shape = rng.choice(((2**31, 28, 28), (6, 2**31, 2**31), (2**32 - 1,) * 3))
    IMAGES.write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", *shape) + bytes(100))
    return f"images of shape {shape}", Expected.REFUSED


_ALTERATIONS: tuple[Callable[[Random], tuple[str, Expected]], ...] = (
    _header, _header, _counts, _labels, _shapes, _types, _bytes, _bytes, _other, _zipped, _huge,
)  # fmt: skip

MNIST = Kind("MNIST's idx files", build_mnist, play_mnist)
CIFAR = Kind("generated batches in CIFAR-10's layout", build_mnist, play_cifar)
