"""Generated images for smoke tests, in the layout of the data set that they replace."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from raysmooth.common.registry import Registry
from raysmooth.pipeline.data.array_dataset import CIFAR10_FOLDER, GENERATED
from raysmooth.pipeline.data.numpy_dataset import SEVERITIES

TRAIN, TEST = 40, 20
"""Images in each split; CIFAR-10's training images are in five files."""

_CLASSES = 10


def write_mnist(root: Path) -> None:
    """Write idx files: two zero bytes, the type (8: bytes), the number of dimensions, the dimensions (big-endian), the
    data.
    """
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split, count in (("train", TRAIN), ("t10k", TEST)):
        images, labels = _images(count, (28, 28), len(split))
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = np.array([0x0800 + values.ndim, *values.shape], ">i4").tobytes()
            (folder / f"{split}-{name}-ubyte").write_bytes(header + values.tobytes())


def write_cifar10(root: Path) -> None:
    """Write files with the published names, each with images (N, 3072) and labels as arrays of npz (the published files
    are pickles), and a file that says that they are generated.
    """
    folder = root / CIFAR10_FOLDER
    folder.mkdir(parents=True)
    names = {**{f"data_batch_{number}": TRAIN // 5 for number in range(1, 6)}, "test_batch": TEST}
    for seed, (name, count) in enumerate(names.items()):
        images, labels = _images(count, (3 * 32 * 32,), seed)
        with (folder / name).open("wb") as file:
            np.savez(file, data=images, labels=labels)
    (folder / GENERATED).write_text(json.dumps({"images": "generated for a smoke test of raysmooth"}))


def write_imagenet(root: Path) -> None:
    """Write 1000 class folders for each split, with images in some of them."""
    for seed, (split, count) in enumerate((("train", TRAIN), ("val", TEST))):
        images, _ = _images(count, (40, 48, 3), seed)
        for number in range(1000):
            (root / split / f"n{number:08d}").mkdir(parents=True)
        for number, image in enumerate(images):
            folder = root / split / f"n{number * (1000 // count):08d}"
            Image.fromarray(image).save(folder / f"{split}_{number:08d}.JPEG")


def write_numpy(root: Path) -> None:
    """Write arrays of images and labels for a split of any name: the same images five times, with other noise, as
    CIFAR-10-C has the severities of a corruption.
    """
    root.mkdir(parents=True)
    parts = [_images(TRAIN // SEVERITIES, (32, 32, 3), seed) for seed in range(SEVERITIES)]
    for name, values in zip(("images", "labels"), zip(*parts, strict=True), strict=True):
        np.save(root / f"{name}.npy", np.concatenate(values))


def write_folder(root: Path) -> None:
    """Write a folder with images for each of ten classes."""
    images, labels = _images(TRAIN, (32, 32, 3), 0)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:02d}.png")


def _images(count: int, shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise around a brightness that depends on the class: images uint8 (count, *shape), and labels (count,)."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.uint8) % _CLASSES
    noise = random.integers(0, 56, (count, *shape))
    return (noise + 20 * labels.reshape(-1, *(1 for _ in shape))).astype(np.uint8), labels


GENERATORS: Registry[Callable[[Path], None]] = Registry(
    "generator",
    {
        "mnist": write_mnist,
        "cifar10": write_cifar10,
        "imagenet": write_imagenet,
        "numpy": write_numpy,
        "folder": write_folder,
    },
)
"""By the names of data sets: functions that write all splits below a new folder."""


def generated(dataset: str, folder: Path) -> Path:
    """The folder of the generated images of `dataset`, below `folder`; they are written if they do not exist."""
    root = folder / dataset
    if not root.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{dataset}-", dir=folder) as scratch:
            GENERATORS[dataset](Path(scratch) / dataset)
            (Path(scratch) / dataset).rename(root)  # appears complete or not at all
    return root
