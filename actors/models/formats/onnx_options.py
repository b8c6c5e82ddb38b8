"""What an ONNX file may not say by itself, as options of the entry "onnx"."""

from dataclasses import dataclass

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.limits import MOST_CLASSES
from raysmooth.common.variant import Variant

ONNX = "onnx"

LAYOUTS = ("auto", "nchw", "nhwc")
"""Where the channels are in an input (images, ., ., .)."""

ORDERS = ("rgb", "bgr")
"""Of the three channels."""


@dataclass(frozen=True)
class OnnxOptions:
    """`layout`: an entry of `LAYOUTS`; "auto" reads it from the input's shape. `order`: the order of the channels that
    the network was trained with, of `ORDERS`; images and constants of --preprocess are in the order R, G, B.
    `classes`: the number of classes of a network that answers labels; 0 if its output says it.
    """

    layout: str = "auto"
    order: str = "rgb"
    classes: int = 0

    def __post_init__(self) -> None:
        for name, known in (("layout", LAYOUTS), ("order", ORDERS)):
            if getattr(self, name) not in known:
                raise RaysmoothError(f"onnx: {name}={getattr(self, name)} is unknown: write {' or '.join(known)}")
        if isinstance(self.classes, bool) or not isinstance(self.classes, int) or not 0 <= self.classes <= MOST_CLASSES:
            raise RaysmoothError(f"onnx: classes={self.classes} is no number from 2 to {MOST_CLASSES:,}: write one")


def read_options(architecture: Variant, what: str) -> OnnxOptions:
    """The options of a classifier or denoiser "onnx", `what`. Raises RaysmoothError for others."""
    options: OnnxOptions = architecture.build(OnnxOptions, what)
    return options
