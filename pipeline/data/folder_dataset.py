"""Data sets in folders of image files: any such folder, and ImageNet."""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from raysmooth.common.errors import RaysmoothError, counted, printable, stored_text
from raysmooth.pipeline.data.facts import CLASS_FOLDERS, Facts
from raysmooth.pipeline.data.images import (
    EXTENSIONS,
    RGB,
    Cut,
    Example,
    UnreadableImage,
    decode,
    identity,
    listed,
    pixels,
)
from raysmooth.pipeline.data.reading import Reading
from raysmooth.storage.regular_file import read_regular

SPLIT_FOLDERS = {"train", "training", "test", "testing", "val", "valid", "validation"}
IMAGENET_SPLITS = ("val", "train")
LARGEST_FILE = 2**30
"""Bytes; larger files are not read."""

MOST_LINKED_FOLDERS = 10_000
"""Behind one link; a link to all of a system leads to more."""

WNID = re.compile(r"n\d{8}")

FOLDER_LAYOUT = f"a folder for each class, or images side by side ({' '.join(EXTENSIONS)})"
IMAGENET_LAYOUT = (
    "the 1000 class folders n01440764 ... n15075141, in <root>/val (<root>/train for --split train) or in <root> itself"
)


class FolderDataset:
    """Image files in a fixed order, each read on request and converted to RGB, or with `--channels 1` to grey, so that
    shapes agree. EXIF orientation is not applied, as in torchvision.

    `samples` pairs each file's path below `root` with its label (None: unlabelled).
    """

    def __init__(
        self,
        name: str,
        split: str,
        num_classes: int | None,
        root: Path,
        samples: list[tuple[str, int | None]],
        reading: Reading,
        facts: Facts,
    ) -> None:
        self.name = name
        self.split = split
        self.num_classes = num_classes
        self.framing = reading.framing
        self.channels = reading.channels or RGB
        self.recoloured = None if self.channels == RGB else self.channels
        self.facts = facts
        self._root = root
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Example:
        return Example(pixels(self.values(index)), self._samples[index][1])

    def values(self, index: int, cut: Cut | None = None) -> np.ndarray:
        try:
            return decode(index, self._content(index), cut or self.framing, self.channels)
        except UnreadableImage as error:
            raise UnreadableImage(index, error.reason, self.place(index)) from None

    def place(self, index: int) -> str:
        return stored_text(self._samples[index][0])

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
            return read_regular(path, LARGEST_FILE)
        except OSError as error:
            raise UnreadableImage(index, error.strerror or type(error).__name__) from None

    def _path(self, index: int) -> Path:
        return self._root / self._samples[index][0]


NOT_TURNED = "EXIF orientation not applied, as in torchvision"


def open_folder(name: str, root: Path, split: str, reading: Reading) -> FolderDataset:
    """Any folder of images. Its class folders, in sorted order, are the labels; without them there are no labels.

    Class folders are searched to any depth, and images beside them are ignored (torchvision's ImageFolder convention,
    except for what systems leave behind, `_is_leftover`); a flat folder is sorted by file name. `split` is only a name
    for reports. No image is opened. Raises RaysmoothError if there are no images, or none in one of the class folders.
    """
    _refuse_unless_folder(name, root, FOLDER_LAYOUT)
    skipped: Counter[str] = Counter()
    classes, files = _look_through(root, skipped, {os.path.realpath(root)})
    if classes and SPLIT_FOLDERS.issuperset(map(str.lower, classes)):
        # Otherwise every label would be the name of a split.
        raise RaysmoothError(f"{name}: {root} holds splits, not classes: write --data-root {root / classes[0]}")
    if classes:
        skipped["images beside the class folders"] += len(files)
        samples = _labelled(name, root, classes, skipped, each=True)
        return FolderDataset(name, split, len(classes), root, samples, reading, _facts(classes, skipped, True))
    if not files:
        raise RaysmoothError(f"{name}: no images in {root}{_only(skipped)}; --data-root needs {FOLDER_LAYOUT}")
    facts = Facts(None, exif=NOT_TURNED, skipped=+skipped)
    return FolderDataset(name, split, None, root, [(file, None) for file in files], reading, facts)


def open_imagenet(name: str, root: Path, split: str, reading: Reading) -> FolderDataset:
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
    skipped: Counter[str] = Counter()
    folders, files = _look_through(root, skipped, {os.path.realpath(root)})
    classes = [folder for folder in folders if WNID.fullmatch(folder)]
    if len(classes) != 1000:
        raise RaysmoothError(
            f"{name}: {counted(len(classes), 'class folder')} in {root}; --data-root needs {IMAGENET_LAYOUT}; "
            "for images of your own write --dataset folder"
        )
    skipped["images beside the class folders"] += len(files)
    skipped["folders that are no class of ImageNet"] += len(folders) - len(classes)
    samples = _labelled(name, root, classes, skipped, each=False)
    return FolderDataset(name, split, 1000, root, samples, reading, _facts(classes, skipped, False))


def _facts(classes: list[str], skipped: Counter[str], names_sorted: bool) -> Facts:
    names = dict(enumerate(map(printable, classes)))
    order = "names sorted as text" if names_sorted else "official"
    return Facts(CLASS_FOLDERS, order, names, names_sorted, exif=NOT_TURNED, skipped=+skipped)


def _look_through(folder: Path, skipped: Counter[str], above: Set[str]) -> tuple[list[str], list[str]]:
    """The folders and the images in a folder, by name; what is neither is counted in `skipped`. So are links to one of
    the folders `above`, real paths, or to a folder around one of them: they would be walked without an end.
    """
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_leftover(entry.name):
                skipped["hidden, or left behind by a system"] += 1
            elif (is_folder := _is_folder(entry)) is None:
                skipped["links that lead to themselves"] += 1
            elif is_folder and entry.is_symlink() and _is_around(os.path.realpath(entry.path), above):
                skipped["links to a folder around them"] += 1
            elif is_folder:
                folders.append(entry.name)
            elif _is_image(entry.name):
                files.append(entry.name)
            else:
                ending = os.path.splitext(entry.name)[1].lower()
                skipped[f"files {printable(ending) if ending else 'without an ending'}"] += 1
    return sorted(folders), sorted(files)


def _is_folder(entry: os.DirEntry[str]) -> bool | None:
    """None for a link that leads to itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return None


def _is_around(folder: str, others: Set[str]) -> bool:
    """Whether a folder is one of the others, or contains one of them; all are real paths."""
    return any(other == folder or other.startswith(f"{folder.rstrip('/')}/") for other in others)


def _only(skipped: Counter[str]) -> str:
    """What was found instead of images, in brackets."""
    found = ", ".join(f"{count} {what}" for what, count in skipped.most_common(3))
    return f" (only {found})" if found else ""


def _is_leftover(name: str) -> bool:
    """Whether a file or folder is not the user's: hidden, or left behind by macOS, a Synology disk or a file system."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir", "lost+found")


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _labelled(
    name: str, root: Path, classes: list[str], skipped: Counter[str], each: bool
) -> list[tuple[str, int | None]]:
    """The images of the class folders, in torchvision's order: by class, then folder, then file name. What is skipped
    in them is counted. Raises RaysmoothError if there are none, or with `each`, if one of the folders has none.
    """
    samples: list[tuple[str, int | None]] = []
    empty = []
    walk = _Walk(name, root, skipped)
    for label, folder in enumerate(classes):
        found = sorted(walk.images_below(folder))
        own = [os.path.join(place, file) for place, files in found for file in files]
        samples += [(path, label) for path in own]
        if not own:
            empty.append(folder)
    if empty and (each or not samples):
        listing = ", ".join(map(printable, empty[:3])) + (", ..." if len(empty) > 3 else "")
        raise RaysmoothError(
            f"{name}: no images ({' '.join(EXTENSIONS)}) in {len(empty)} of the {len(classes)} class folders of {root} "
            f"({listing}): every folder there is a class, move those away that are not"
        )
    skipped["class folders without images"] += len(empty)
    return samples


@dataclass
class _Walk:
    """Walks through the class folders of a data set; `behind` counts the folders behind each link."""

    name: str
    root: Path
    skipped: Counter[str]
    behind: Counter[str] = field(default_factory=Counter)

    def images_below(
        self, folder: str, above: frozenset[str] = frozenset(), link: str | None = None
    ) -> Iterator[tuple[str, list[str]]]:
        """Each folder from `folder` down, as a path below the root, with the names of its images in order. Links to
        folders are followed, but not to one that they lie in. `link` is the one that led here, if there is one. Raises
        RaysmoothError for a link to a tree of too many folders, which is hardly meant as a class.
        """
        place = self.root / folder
        above |= {os.path.realpath(place), os.path.realpath(self.root)}
        link = link or (folder if place.is_symlink() else None)
        if link is not None:
            self.behind[link] += 1
            if self.behind[link] > MOST_LINKED_FOLDERS:
                target = printable(os.path.realpath(self.root / link))
                raise RaysmoothError(
                    f"{self.name}: {printable(link)} in {self.root} is a link to {target}, with more than "
                    f"{MOST_LINKED_FOLDERS:,} folders: remove the link, or let it lead to a class's images alone"
                )
        try:
            folders, files = _look_through(place, self.skipped, above)
        except (FileNotFoundError, ProcessLookupError):  # below a link into /proc, say
            return
        yield folder, files
        for name in folders:
            yield from self.images_below(os.path.join(folder, name), above, link)


def _refuse_unless_folder(name: str, root: Path, layout: str) -> None:
    if not root.is_dir():
        raise RaysmoothError(f"{name}: {root} is a file, not a folder; --data-root needs {layout}")
