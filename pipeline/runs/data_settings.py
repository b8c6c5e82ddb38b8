"""Settings that name a data set, say how it is read, and choose images of it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import Settings
from raysmooth.pipeline.data.class_files import read_classes, read_label_map
from raysmooth.pipeline.data.dataset import Dataset
from raysmooth.pipeline.data.datasets import DATASETS, open_dataset
from raysmooth.pipeline.data.images import GREY, RGB
from raysmooth.pipeline.data.reading import NO_LABELS
from raysmooth.storage.paths import PathText


class DataSettings(Settings):
    """Data"""

    dataset: str = Field(description=f"Data set: {', '.join(DATASETS)}.")
    data_root: PathText | None = Field(None, description="Folder or file of the data (digits: none).")
    split: str | None = Field(None, description="Part of the data set. Default: its test images.")
    resize: int | None = Field(None, description="Resize the shorter side to this many pixels first.", ge=1)
    crop: int | None = Field(None, description="Then crop the central square of this many pixels.", ge=1)
    channels: int | None = Field(
        None,
        description="Read all images as grey (1) or as RGB (3). Default: RGB where any image has colours; image "
        "files in folders always.",
    )
    label_column: str | None = Field(
        None,
        description=f"Column with the labels of a Parquet set, or {NO_LABELS}. Default: label, or the only column that "
        "may be it.",
    )
    class_order: Literal["name", "number"] | None = Field(
        None,
        description="Order in which class folders and text labels are numbered: name (as text: 1, 10, 2), number (by "
        "value: 1, 2, 10). Default: name.",
    )
    classes: PathText | None = Field(
        None,
        description="File that numbers the classes: their names, one a line, or 'name: label' in YAML or JSON.",
    )
    label_map: PathText | None = Field(
        None,
        description="YAML or JSON file with the classifier's label for each class of the data, 'class: label'; 'class: "
        "null' leaves its images out.",
    )
    skip: int = Field(1, description="Take every SKIP-th image: 20 takes 500 of 10,000.", ge=1)
    max: int | None = Field(None, description="Take at most this many images.", ge=1)

    @model_validator(mode="after")
    def _refuse_odd_reading(self) -> "DataSettings":
        if self.classes is not None and self.class_order is not None:
            raise RaysmoothError("--class-order and --classes both number the classes: leave one out")
        if self.channels not in (None, GREY, RGB):
            raise RaysmoothError(f"--channels {self.channels}: write {GREY} (grey) or {RGB} (RGB)")
        return self

    def open_dataset(self) -> Dataset:
        """The data set of these settings; raises RaysmoothError as the function of this name does."""
        return open_dataset(
            self.dataset, self.data_root, self.split, self.resize, self.crop, **decisions(self.model_dump())
        )


READING = ("resize", "crop", "channels", "label_column", "class_order", "classes", "label_map")
"""Settings that decide how images and labels of a data set are read."""


def decisions(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `settings` decide about reading images, beyond their size, as `open_dataset` takes it. Raises RaysmoothError
    for a file of classes that cannot be read.
    """
    classes, label_map = settings.get("classes"), settings.get("label_map")
    return {
        **{name: settings.get(name) for name in ("channels", "label_column", "class_order")},
        "classes": None if classes is None else read_classes(classes),
        "label_map": None if label_map is None else read_label_map(label_map),
    }


class CertifiedDataSettings(DataSettings):
    """Data"""

    start: int = Field(
        0, description="Begin with image START: --start 500 --max 500 takes images 500 to 999, as MACER does.", ge=0
    )

    @property
    def chosen_images(self) -> dict[str, Any]:
        """The settings that choose the images of a data set, by the names of IndexSet."""
        return {"skip": self.skip, "max": self.max, "start": self.start}
