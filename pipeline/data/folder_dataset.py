"""Data sets in folders of image files: any such folder, and ImageNet."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.data.images import (
    EXTENSIONS,
    Cut,
    Example,
    Framing,
    UnreadableImage,
    decode,
    identity,
    listed,
    pixels,
)

SPLIT_FOLDERS = {"train", "test", "val", "validation"}
IMAGENET_SPLITS = ("val", "train")
LARGEST_FILE = 2**30
"""Bytes; larger files are not read."""

WNID = re.compile(r"n\d{8}")

FOLDER_LAYOUT = f"a folder for each class, or images side by side ({' '.join(EXTENSIONS)})"
IMAGENET_LAYOUT = (
    "the 1000 class folders n01440764 ... n15075141, in <root>/val (<root>/train for --split train) or in <root> itself"
)


class FolderDataset:
    """Image files in a fixed order, each read on request and converted to RGB, so that shapes agree.

    `samples` pairs each file's path below `root` with its label (None: unlabelled).
    """

    def __init__(
        self,
        name: str,
        split: str,
        num_classes: int | None,
        root: Path,
        samples: list[tuple[str, int | None]],
        framing: Framing,
    ) -> None:
        self.name = name
        self.split = split
        self.num_classes = num_classes
        self.framing = framing
        self._root = root
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Example:
        return Example(pixels(self.values(index)), self._samples[index][1])

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        try:
            return decode(index, self._content(index), cut or self.framing, keep_grey=False)
        except UnreadableImage as error:
            raise UnreadableImage(index, f"{printable(self._samples[index][0])}: {error.reason}") from None

    def labels(self) -> list[int | None]:
        return [label for _, label in self._samples]

    def raw(self, index: int) -> bytes:
        label = self._samples[index][1]
        try:
            return identity(self._content(index), label)
        except UnreadableImage:
            return identity(None, label)

    def listed(self, index: int) -> bytes:
        path, label = self._samples[index]
        try:
            return listed(path, self._path(index).stat().st_size, label)
        except OSError:
            return listed(path, None, label)

    def _content(self, index: int) -> bytes:
        """The file's bytes; raises UnreadableImage. Only regular files are opened: a pipe would be waited for."""
        path = self._path(index)
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage(index, "not a regular file")
            if status.st_size > LARGEST_FILE:
                raise UnreadableImage(index, f"{status.st_size / 2**30:.1f} GiB are no image's")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableImage(index, error.strerror or type(error).__name__) from None

    def _path(self, index: int) -> Path:
        return self._root / self._samples[index][0]


def open_folder(name: str, root: Path, split: str, framing: Framing) -> FolderDataset:
    """Any folder of images. Its class folders, in sorted order, are the labels; without them there are no labels.

    Class folders are searched to any depth, and images beside them are ignored (torchvision's ImageFolder convention,
    except for what systems leave behind, `_is_leftover`); a flat folder is sorted by file name. `split` is only a name
    for reports. No image is opened. Raises RaysmoothError if there are no images, or none in one of the class folders.
    """
    _refuse_unless_folder(name, root, FOLDER_LAYOUT)
    classes = _class_folders(root)
    if classes and SPLIT_FOLDERS.issuperset(classes):
        # Otherwise every label would be the name of a split.
        raise RaysmoothError(f"{name}: {root} holds splits, not classes: write --data-root {root / classes[0]}")
    if classes:
        samples = _labelled(name, root, classes, each=True)
        return FolderDataset(name, split, len(classes), root, samples, framing)
    files = sorted(path for path in root.iterdir() if _is_image(path.name))
    if not files:
        raise RaysmoothError(f"{name}: no images in {root}; --data-root needs {FOLDER_LAYOUT}")
    return FolderDataset(name, split, None, root, [(path.name, None) for path in files], framing)


def open_imagenet(name: str, root: Path, split: str, framing: Framing) -> FolderDataset:
    """ImageNet's images of a split in 1000 class folders, whose sorted names are in the official label order.

    Not torchvision's `ImageNet`, which also needs the development kit, though that only adds the classes' English
    names. Raises RaysmoothError unless all 1000 folders exist: with one missing, all labels after it would be wrong.
    Also refuses the folder of another split.
    """
    _refuse_unless_folder(name, root, IMAGENET_LAYOUT)
    if (root / split).is_dir():
        root = root / split
    elif root.name in IMAGENET_SPLITS and root.name != split:
        # Otherwise training on the validation images would go unnoticed.
        raise RaysmoothError(
            f"{name}: {root} is not of split '{split}': write --split {root.name}, or another --data-root"
        )
    classes = [folder for folder in _class_folders(root) if WNID.fullmatch(folder)]
    if len(classes) != 1000:
        raise RaysmoothError(
            f"{name}: {len(classes)} class folders in {root}; --data-root needs {IMAGENET_LAYOUT}; "
            "for images of your own write --dataset folder"
        )
    return FolderDataset(name, split, 1000, root, _labelled(name, root, classes, each=False), framing)


def _class_folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not _is_leftover(entry.name))


def _is_leftover(name: str) -> bool:
    """Whether a file or folder is not the user's: hidden, or left behind by macOS, a Synology disk or a file system."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir", "lost+found")


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not _is_leftover(name)


def _labelled(name: str, root: Path, classes: list[str], each: bool) -> list[tuple[str, int | None]]:
    """The images of the class folders, in torchvision's order: by class, then folder, then file name.

    Raises RaysmoothError if there are none, or with `each`, if there are none in one of the folders.
    """
    samples: list[tuple[str, int | None]] = []
    empty = []
    for label, folder in enumerate(classes):
        own = [os.path.join(place, file) for place, files in sorted(_images_below(root, folder)) for file in files]
        samples += [(path, label) for path in own]
        if not own:
            empty.append(folder)
    if empty and (each or not samples):
        listing = ", ".join(map(printable, empty[:3])) + (", ..." if len(empty) > 3 else "")
        raise RaysmoothError(
            f"{name}: no images ({' '.join(EXTENSIONS)}) in {len(empty)} of the {len(classes)} class folders of {root} "
            f"({listing}): every folder there is a class, move those away that are not"
        )
    return samples


def _images_below(root: Path, folder: str, above: frozenset[str] = frozenset()) -> Iterator[tuple[str, list[str]]]:
    """Each folder from `folder` down, as a path below `root`, with the names of its images in order. Links to folders
    are followed, but not to one that they lie in.
    """
    place = root / folder
    real = os.path.realpath(place)
    if real in above:
        return
    with os.scandir(place) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries)
    yield folder, [name for name, is_folder in found if not is_folder and _is_image(name)]
    for name, is_folder in found:
        if is_folder and not _is_leftover(name):
            yield from _images_below(root, os.path.join(folder, name), above | {real})


def _refuse_unless_folder(name: str, root: Path, layout: str) -> None:
    if not root.is_dir():
        raise RaysmoothError(f"{name}: {root} is a file, not a folder; --data-root needs {layout}")
