"""Small data sets that are kept in memory as one array: digits, MNIST, CIFAR-10."""

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol
from zipfile import is_zipfile

import numpy as np
from PIL import Image

from raysmooth.common.errors import RaysmoothError, counted
from raysmooth.pipeline.data.facts import Facts
from raysmooth.pipeline.data.images import (
    GREY,
    RGB,
    Cut,
    Example,
    Framing,
    UnreadableImage,
    channels_first,
    identity,
    listed,
    pixels,
    portable_reason,
)
from raysmooth.pipeline.data.reading import Reading
from raysmooth.storage.regular_file import refuse_unfit

DIGITS_TRAIN = 1397  # of 1797; the last 400, most of them by other writers, are the test split

MNIST_LAYOUT = "<root>/MNIST/raw with train- and t10k- images-idx3-ubyte and labels-idx1-ubyte"
CIFAR10_FOLDER = "cifar-10-batches-py"
CIFAR10_LAYOUT = "<root>/cifar-10-batches-py with data_batch_1..5, test_batch and batches.meta as published"

LARGEST_FILE = 2**30
"""Bytes; larger files are not read."""

DIGIT_NAMES = tuple("0123456789")
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

GENERATED = "generated.json"
"""A file with this name marks generated batches in CIFAR-10's layout, for tests of whole experiments."""


class Rows(Protocol):
    """Images by position, as an array has them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray: ...


class ArrayDataset:
    """Images in one array, with one label each.

    `images` is uint8 (N, H, W) or (N, H, W, 3), or float32 (N, H, W) already in pixel units 0..1.
    Raises RaysmoothError if there are no images, for labels that are not 0..`num_classes`-1, one for each image, and if
    the images, which all have one size, are smaller than the crop.
    """

    def __init__(
        self,
        name: str,
        split: str,
        num_classes: int,
        images: Rows,
        labels: Sequence[int],
        reading: Reading,
        class_names: Sequence[str] = (),
        bits: str = "8 bits a channel",
        labels_from: str = "the data set",
    ) -> None:
        self.name = name
        self.split = split
        self.num_classes: int | None = num_classes
        self.framing = reading.framing
        self.facts = Facts(labels_from, class_names=dict(enumerate(class_names)), bits=bits)
        self._images = images
        self._labels = [int(label) for label in labels]
        count = len(images) if getattr(images, "size", True) else 0
        if not count or count != len(self._labels):
            counts = f"{counted(count, 'image')} and {counted(len(self._labels), 'label')} of split '{split}'"
            raise RaysmoothError(f"{name} has {counts}: fetch its files again")
        if (odd := next((label for label in self._labels if not 0 <= label < num_classes), None)) is not None:
            raise RaysmoothError(
                f"{name}: a label of split '{split}' is {odd}, not one of 0 to {num_classes - 1}: fetch its files again"
            )
        try:
            stored = GREY if images[0].ndim == 2 else RGB
            self.channels = reading.channels or stored
            self.recoloured = None if self.channels == stored else self.channels
            self.read(0)
        except UnreadableImage as error:
            raise RaysmoothError(f"{name}: {error.reason}; write a smaller --crop, or a --resize") from None

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> Example:
        return Example(pixels(self.values(index)), self._labels[index])

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        image, cut = self._images[index], cut or self.framing
        to_grey = self.recoloured == GREY
        if to_grey or cut != Framing():  # otherwise PIL is not needed
            picture = Image.fromarray(image)
            image = np.asarray(cut.apply(index, picture.convert("L") if to_grey else picture))
        values = channels_first(image)
        return values if self.recoloured != RGB else np.repeat(values, RGB, axis=0)

    def place(self, index: int) -> str | None:
        """None: an image is known by its index alone."""
        return None

    def labels(self) -> list[int | None]:
        return list(self._labels)

    def raw(self, index: int) -> bytes:
        return identity(self._images[index].tobytes(), self._labels[index])

    def listed(self, index: int) -> bytes:
        return listed(str(index), self._images[index].nbytes, self._labels[index])


def open_digits(name: str, root: Path, split: str, reading: Reading) -> ArrayDataset:
    """scikit-learn's handwritten digits, 8x8 grey, values 0..16; the package contains them, so `root` is unused."""
    levels, labels = _digits()
    part = slice(None, DIGITS_TRAIN) if split == "train" else slice(DIGITS_TRAIN, None)
    images = (levels[part] / 16).astype(np.float32)  # exact in float32
    return ArrayDataset(name, split, 10, images, labels[part].tolist(), reading, DIGIT_NAMES, "17 levels of grey")


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """The grey levels, float64 (1797, 8, 8), and labels, int64 (1797,), of scikit-learn's `load_digits`: from its file,
    as importing scikit-learn takes longer than everything else. A release that keeps the file elsewhere is imported.
    """
    package = find_spec("sklearn")
    for folder in package.submodule_search_locations or [] if package is not None else []:
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            rows = np.loadtxt(file, delimiter=",")  # a row is an image's 64 levels, and its label
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


def open_mnist(name: str, root: Path, split: str, reading: Reading) -> ArrayDataset:
    """MNIST as torchvision reads it: (N, 28, 28), grey. Raises RaysmoothError for missing or corrupt files."""
    from torchvision.datasets import MNIST  # here, like CIFAR10 below: the import takes two seconds

    part = "train" if split == "train" else "t10k"
    _refuse_unfit(name, root, MNIST_LAYOUT, (root / "MNIST" / "raw").glob(f"{part}-*-ubyte"))
    try:
        mnist = MNIST(root, train=split == "train", download=False)
    except Exception as error:  # torchvision trusts these files, and raises whatever follows from their damage
        raise _unread(name, root, MNIST_LAYOUT, error) from None
    return ArrayDataset(name, split, 10, mnist.data.numpy(), mnist.targets.tolist(), reading, DIGIT_NAMES)


def open_cifar10(name: str, root: Path, split: str, reading: Reading) -> ArrayDataset:
    """CIFAR-10 as published: (N, 32, 32, 3). Raises RaysmoothError for missing files, and for altered ones unless they
    are marked as generated.
    """
    _refuse_unfit(name, root, CIFAR10_LAYOUT, (root / CIFAR10_FOLDER).glob("*_batch*"))
    if (root / CIFAR10_FOLDER / GENERATED).is_file():
        return _open_generated_cifar10(name, root, split, reading)
    from torchvision.datasets import CIFAR10

    # The batches are pickles, which can run code when loaded. torchvision loads them only if all md5 sums are the
    # official ones, and raises RuntimeError otherwise: never read them without that check.
    try:
        cifar = CIFAR10(root, train=split == "train", download=False)
    except (RuntimeError, OSError) as error:
        raise _unread(name, root, CIFAR10_LAYOUT, error) from None
    return ArrayDataset(name, split, 10, cifar.data, cifar.targets, reading, CIFAR10_NAMES)


def _open_generated_cifar10(name: str, root: Path, split: str, reading: Reading) -> ArrayDataset:
    """Generated files with CIFAR-10's names: NumPy arrays, never pickles."""
    batches = ["test_batch"] if split == "test" else [f"data_batch_{number}" for number in range(1, 6)]
    images: list[np.ndarray] = []
    labels: list[int] = []
    try:
        for batch in batches:
            if not is_zipfile(root / CIFAR10_FOLDER / batch):
                raise ValueError(f"{batch} is neither of this data set nor a generated batch")
            with np.load(root / CIFAR10_FOLDER / batch, allow_pickle=False) as content:
                data, known = content["data"], content["labels"]
                if data.dtype != np.uint8 or not np.issubdtype(known.dtype, np.integer):
                    raise ValueError(f"{batch} has images of {data.dtype} and labels of {known.dtype}")
                images.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
                labels += [int(label) for label in known]
    except Exception as error:  # zipfile and its decompressors raise many kinds for damaged bytes
        raise _unread(name, root, CIFAR10_LAYOUT, error) from None
    return ArrayDataset(name, split, 10, np.concatenate(images), labels, reading, CIFAR10_NAMES)


def _refuse_unfit(name: str, root: Path, layout: str, files: Iterable[Path]) -> None:
    """Raises RaysmoothError for a pipe, a device or a huge file among `files`; libraries would read it to its end."""
    try:
        for file in sorted(files):
            refuse_unfit(file, LARGEST_FILE)
    except OSError as error:
        why = f"{error.filename}: {error.strerror or type(error).__name__}"
        raise RaysmoothError(f"{name}: {why}; --data-root needs {layout}") from None


def _unread(name: str, root: Path, layout: str, error: Exception) -> RaysmoothError:
    # torchvision suggests a download; but raysmooth fetches nothing into a folder that the user named.
    reason = portable_reason(error).removesuffix(" You can use download=True to download it").rstrip(".")
    return RaysmoothError(f"{name} in {root}: {reason or 'cannot be read'}; --data-root needs {layout}")
