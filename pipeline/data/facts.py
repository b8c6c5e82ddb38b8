"""What a data set is, and what was decided in reading it: for the person who runs something on it, and its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CLASS_FOLDERS = "class folders"


@dataclass(frozen=True)
class Facts:
    """`labels_from` says where labels come from, None where there are none; `class_order` how they number the classes.
    `class_names` are the classes' names by label, as far as they have any; `names_sorted`: whether labels are places
    among the sorted names, so that another order would be as good. `exif` says what is done about EXIF orientation.
    `skipped` counts what was found and is not in the data set, `notes` are what the user should know.
    """

    labels_from: str | None
    class_order: str | None = None
    class_names: Mapping[int, str] = field(default_factory=dict)
    names_sorted: bool = False
    bits: str = "8 bits a channel"
    exif: str | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
