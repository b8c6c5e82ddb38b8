"""Data sets that are folders of image files: any such folder, and ImageNet's validation set."""

import re
from pathlib import Path

from actors.refusal import Refusal
from pipeline.images import EXTENSIONS, Example, Framing, UnreadableImage, decode, identity

SPLIT_FOLDERS = {"train", "test", "val", "validation"}
WNID = re.compile(r"n\d{8}")

FOLDER_LAYOUT = f"a folder for each class, or images side by side ({' '.join(EXTENSIONS)})"
IMAGENET_LAYOUT = "the 1000 class folders n01440764 ... n15075141, in <root>/val or in <root> itself"


class FolderDataset:
    """Image files in a fixed order, each read when asked for and converted to RGB, so that shapes agree.

    `samples` pairs each file with its label (None: unlabelled).
    """

    def __init__(
        self,
        name: str,
        split: str,
        num_classes: int | None,
        samples: list[tuple[str, int | None]],
        framing: Framing,
    ) -> None:
        self.name = name
        self.split = split
        self.num_classes = num_classes
        self.framing = framing
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, index: int) -> Example:
        path, label = self._samples[index]
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UnreadableImage(index, f"{Path(path).name}: {reason}") from None
        return Example(decode(index, content, self.framing, keep_grey=False), label)

    def raw(self, index: int) -> bytes:
        path, label = self._samples[index]
        try:
            return identity(Path(path).read_bytes(), label)
        except OSError:
            return identity(None, label)


def open_folder(name: str, root: Path, split: str, framing: Framing) -> FolderDataset:
    """Any folder of images; class folders in it are the labels, in sorted order; without them there are none.

    Class folders are searched to any depth, and images beside them are ignored (torchvision's ImageFolder
    convention, except that hidden folders are no classes); a flat folder is sorted by file name.
    `split` is only what reports call it. No image is opened. Raises Refusal where there are no images.
    """
    _refuse_unless_folder(name, root, FOLDER_LAYOUT)
    classes = _class_folders(root)
    if classes and SPLIT_FOLDERS.issuperset(classes):
        # Read as classes, every label would be the name of a split.
        raise Refusal(f"{name}: {root} holds splits, not classes: write --data-root {root / classes[0]}")
    if classes:
        return FolderDataset(name, split, len(classes), _labelled(name, root, classes), framing)
    files = sorted(p for p in root.iterdir() if p.suffix.lower() in EXTENSIONS and p.name[0] != ".")
    if not files:
        raise Refusal(f"{name}: no images in {root}; --data-root needs {FOLDER_LAYOUT}")
    return FolderDataset(name, split, None, [(str(path), None) for path in files], framing)


def open_imagenet(name: str, root: Path, split: str, framing: Framing) -> FolderDataset:
    """ImageNet's validation images in 1000 class folders, whose sorted names are in the official label order.

    Not torchvision's `ImageNet`, which also wants the development kit, though all that it adds is the
    classes' English names. Raises Refusal unless all 1000 folders are there: with one missing, all
    labels after it would be wrong.
    """
    _refuse_unless_folder(name, root, IMAGENET_LAYOUT)
    root = root / "val" if (root / "val").is_dir() else root
    classes = [folder for folder in _class_folders(root) if WNID.fullmatch(folder)]
    if len(classes) != 1000:
        raise Refusal(
            f"{name}: {len(classes)} class folders in {root}; --data-root needs {IMAGENET_LAYOUT}; "
            "for images of your own write --dataset folder"
        )
    return FolderDataset(name, split, 1000, _labelled(name, root, classes), framing)


def _class_folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _labelled(name: str, root: Path, classes: list[str]) -> list[tuple[str, int | None]]:
    from torchvision.datasets.folder import make_dataset  # here: the import takes two seconds

    labels = {folder: label for label, folder in enumerate(classes)}
    samples = make_dataset(root, labels, EXTENSIONS, allow_empty=True)
    if not samples:
        raise Refusal(f"{name}: no images in the {len(classes)} folders of {root} ({' '.join(EXTENSIONS)})")
    return samples


def _refuse_unless_folder(name: str, root: Path, layout: str) -> None:
    if not root.is_dir():
        raise Refusal(f"{name}: {root} is a file, not a folder; --data-root needs {layout}")
