"""What a user can decide about how a data set is read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.common.limits import LARGEST_LABEL
from raysmooth.pipeline.data.images import GREY, RGB, Framing

CLASS_ORDERS = ("name", "number")
NO_LABELS = "none"
"""In place of a label column: read the images without labels."""

Label = Annotated[int, Field(ge=0, le=LARGEST_LABEL, strict=True)]


@dataclass(frozen=True)
class Reading:
    """Decisions of the user; None is the data set's own way.

    `resize` and `crop` are in pixels (see `Framing`). `channels`: 1 reads all images as grey, 3 as RGB. `label_column`:
    the column of a Parquet set, or NO_LABELS. `class_order`: classes whose labels follow from sorting their names are
    sorted as text ("name") or by value ("number"). `classes`: the label of each class by its name. `label_map`: the
    classifier's label for each class, by its name or, where it has none, its label; None leaves its images out. Raises
    RaysmoothError for other values, and for `class_order` beside `classes`.
    """

    resize: int | None = None
    crop: int | None = None
    channels: int | None = None
    label_column: str | None = None
    class_order: str | None = None
    classes: Mapping[str, Label] | None = None
    label_map: Mapping[str, Label | None] | None = None

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.channels not in (None, GREY, RGB):
            raise RaysmoothError(f"--channels {self.channels}: write 1 (grey) or 3 (RGB)")
        if self.class_order not in (None, *CLASS_ORDERS):
            raise RaysmoothError(f"--class-order {printable(self.class_order)}: write {' or '.join(CLASS_ORDERS)}")
        if self.class_order is not None and self.classes is not None:
            raise RaysmoothError("--class-order and --classes both number the classes: leave one out")

    @property
    def framing(self) -> Framing:
        return Framing(self.resize, self.crop)

    @property
    def relabels(self) -> bool:
        """Whether anything is decided about labels, beyond the column."""
        return (self.class_order, self.classes, self.label_map) != (None, None, None)

    @classmethod
    def from_record(cls, record: Any, framing: Mapping[str, Any]) -> "Reading":
        """The decisions that `recorded` wrote. Raises RaysmoothError for anything else."""
        if not isinstance(record, Mapping):
            raise RaysmoothError(f"reading: expected a mapping, found {printable(str(record))}")
        try:
            return TypeAdapter(cls).validate_python({**framing, **record})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RaysmoothError(
                f"reading: {printable(place)} {printable(str(first['input']))}: {first['msg']}"
            ) from None

    def recorded(self) -> dict[str, Any]:
        """The decisions in JSON values, without the framing and those left to the data set."""
        return {k: v for k, v in asdict(self).items() if v is not None and k not in ("resize", "crop")}
