"""Photographs that come with scikit-learn and Matplotlib, cut into patches: enough to train a small denoiser on, where
no photographs of one's own are at hand. `python -m raysmooth.tune.data.sample_photographs FOLDER` writes them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from raysmooth.common.errors import RaysmoothError

SIDE, STEP = 64, 32
"""Pixels of a patch, and from one patch to the next."""

SCALES = (1.0, 0.5)
"""Each photograph is cut at these sizes."""


def photographs() -> list[Path]:
    """The files: china.jpg and flower.jpg of scikit-learn, grace_hopper.jpg of Matplotlib; 0.3 megapixels each."""
    import matplotlib
    import sklearn.datasets

    own = Path(sklearn.datasets.__file__).parent / "images"
    return [own / "china.jpg", own / "flower.jpg", Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"]


def patches(photograph: Image.Image) -> Iterator[Image.Image]:
    """RGB squares of SIDE pixels, which overlap by half."""
    for scale in SCALES:
        width, height = (round(side * scale) for side in photograph.size)
        scaled = photograph.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        for top in range(0, height - SIDE + 1, STEP):
            for left in range(0, width - SIDE + 1, STEP):
                yield scaled.crop((left, top, left + SIDE, top + SIDE))


def write_patches(folder: Path) -> int:
    """Write all patches as PNG files side by side into a new or empty `folder`; returns their number.

    Raises RaysmoothError for a folder with something in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise RaysmoothError(f"{folder} is not empty: name a new folder for the patches")
    count = 0
    for file in photographs():
        with Image.open(file) as photograph:
            for patch in patches(photograph):
                patch.save(folder / f"{file.stem}-{count:04d}.png")
                count += 1
    return count


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the patches go")
    folder = parser.parse_args().folder
    try:
        print(f"{write_patches(folder):,} patches of {SIDE}x{SIDE} pixels in {folder}")
    except RaysmoothError as refusal:
        parser.exit(2, f"raysmooth: {refusal}\n")


if __name__ == "__main__":
    _main()
