"""Data sets in folders of image files: any such folder, and ImageNet."""

import os
import re
from pathlib import Path

import numpy as np

from raysmooth.common.errors import RaysmoothError
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
        path = self._path(index)
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UnreadableImage(index, f"{path.name}: {reason}") from None
        return decode(index, content, cut or self.framing, keep_grey=False)

    def labels(self) -> list[int | None]:
        return [label for _, label in self._samples]

    def raw(self, index: int) -> bytes:
        label = self._samples[index][1]
        try:
            return identity(self._path(index).read_bytes(), label)
        except OSError:
            return identity(None, label)

    def listed(self, index: int) -> bytes:
        path, label = self._samples[index]
        try:
            return listed(path, self._path(index).stat().st_size, label)
        except OSError:
            return listed(path, None, label)

    def _path(self, index: int) -> Path:
        return self._root / self._samples[index][0]


def open_folder(name: str, root: Path, split: str, framing: Framing) -> FolderDataset:
    """Any folder of images. Its class folders, in sorted order, are the labels; without them there are no labels.

    Class folders are searched to any depth, and images beside them are ignored (torchvision's ImageFolder convention,
    except that hidden folders are not classes); a flat folder is sorted by file name. `split` is only a name for
    reports. No image is opened. Raises RaysmoothError if there are no images.
    """
    _refuse_unless_folder(name, root, FOLDER_LAYOUT)
    classes = _class_folders(root)
    if classes and SPLIT_FOLDERS.issuperset(classes):
        # Otherwise every label would be the name of a split.
        raise RaysmoothError(f"{name}: {root} holds splits, not classes: write --data-root {root / classes[0]}")
    if classes:
        return FolderDataset(name, split, len(classes), root, _labelled(name, root, classes), framing)
    files = sorted(p for p in root.iterdir() if p.suffix.lower() in EXTENSIONS and p.name[0] != ".")
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
    return FolderDataset(name, split, 1000, root, _labelled(name, root, classes), framing)


def _class_folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _labelled(name: str, root: Path, classes: list[str]) -> list[tuple[str, int | None]]:
    from torchvision.datasets.folder import make_dataset  # here: the import takes two seconds

    labels = {folder: label for label, folder in enumerate(classes)}
    samples = make_dataset(root, labels, EXTENSIONS, allow_empty=True)
    if not samples:
        raise RaysmoothError(f"{name}: no images in the {len(classes)} folders of {root} ({' '.join(EXTENSIONS)})")
    return [(path.removeprefix(f"{root}{os.sep}"), label) for path, label in samples]


def _refuse_unless_folder(name: str, root: Path, layout: str) -> None:
    if not root.is_dir():
        raise RaysmoothError(f"{name}: {root} is a file, not a folder; --data-root needs {layout}")
