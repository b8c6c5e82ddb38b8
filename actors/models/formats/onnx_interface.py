"""What an ONNX network takes and answers: one input of images, one output of logits, probabilities, labels or pixels.
What does not fit is refused in one line that says how to export the network instead.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raysmooth.actors.models.formats.onnx_file import OnnxFile, graphs, import_onnx
from raysmooth.actors.models.formats.onnx_options import OnnxOptions
from raysmooth.common.errors import RaysmoothError, nearest, one_line, printable
from raysmooth.storage.records import shown_path

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Of operators that onnxruntime brings: ONNX's own, and those of quantised and fused networks."""

_READS_FILES = ("EPContext", "PyOp", "PyTrampoline", "Snpe", "OpenVINO", "TrtEngine", "TRTEngineOp")
"""Operators that open files, or run a program, that their attributes name."""

_PASSED_THROUGH = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
_DTYPES = {1: "float32", 10: "float16", 11: "float64"}
_LABELS = (2, 3, 4, 5, 6, 7, 12, 13)
"""TensorProto's numbers of integers."""

_CHANNELS = (1, 3, 4)

_LARGEST_BATCH = 10_000
"""The largest fixed batch size: what a batch lacks is filled up with blank images, which cost as much as others."""


@dataclass(frozen=True)
class OnnxInterface:
    """`shape`: (C, H, W) of the images that the network takes, None where it takes any. `batch`: the number of images
    of every call, None for any. `channels_last`: whether its input is (images, H, W, C). `dtype`: of its input, as
    NumPy names it. `answers`: "logits", "probabilities" or "labels"; of a denoiser, "pixels".
    """

    input: str
    dtype: str
    batch: int | None
    shape: tuple[int | None, int | None, int | None]
    channels_last: bool
    output: str
    answers: str
    about: str
    """Producer, opset and layout, for the facts of a run."""


def find_interface(file: OnnxFile, options: OnnxOptions, output: str | None, denoiser: bool = False) -> OnnxInterface:
    """The interface of a network, which is checked as far as its file says what it does. `output`: the name of the
    output that is asked for, where it has several.

    Raises RaysmoothError for operators and functions of others, and inputs and outputs that do not fit.
    """
    model, where = file.model, shown_path(file.where)
    _check_operators(model, where)
    taken = _input(model, where)
    sizes = [_size(dim) for dim in taken.type.tensor_type.shape.dim]
    last = _channels_last(sizes, options)
    shape = (sizes[3], sizes[1], sizes[2]) if last else (sizes[1], sizes[2], sizes[3])
    if options.order == "bgr" and shape[0] not in (3, None):
        raise RaysmoothError(f"{where} takes {shape[0]} channels: order=bgr is for three, leave it out")
    given = _output(model, output, where)
    answers = _pixels(given, where) if denoiser else _answers(model, given, where)
    return OnnxInterface(
        taken.name, _DTYPES[taken.type.tensor_type.elem_type], sizes[0], shape, last, given.name, answers,
        _about(model, taken, last, options, answers),
    )  # fmt: skip


def _about(model: "ModelProto", taken: "ValueInfoProto", last: bool, options: OnnxOptions, answers: str) -> str:
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    producer = " ".join(filter(None, (model.producer_name, model.producer_version.split(" ")[0]))) or "an unknown tool"
    parts = [f"ONNX opset {opset} of {printable(producer)[:80]}", f"answers {answers}"]
    if last:
        how = "as --classifier says" if options.layout == "nhwc" else "by the shape of its input"
        parts.append(f"takes channels last ({how}): images are transposed for it")
    if options.order == "bgr":
        parts.append("takes channels in the order B, G, R")
    return ", ".join(parts)


def _check_operators(model: "ModelProto", where: str) -> None:
    onnx = import_onnx()
    if model.functions:
        raise RaysmoothError(
            f"{where} defines operators of its own ({printable(model.functions[0].name)}): save "
            "onnx.inliner.inline_local_functions(model) instead"
        )
    for graph in graphs(model):
        for node in graph.node:
            if node.domain not in _DOMAINS or node.op_type in _READS_FILES:
                name = printable(f"{node.domain}:{node.op_type}".lstrip(":"))
                raise RaysmoothError(
                    f"{where} has an operator that is not part of ONNX ({name}): export the network with ONNX's own "
                    "operators, or load it in a function of your own, --classifier MODULE:CALLABLE"
                )
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # of damaged bytes the checker raises several kinds
        raise RaysmoothError(
            f"{where} is no valid ONNX network ({one_line(error)}): export it again, with an opset that onnx "
            f"{onnx.__version__} knows"
        ) from None


def _input(model: "ModelProto", where: str) -> "ValueInfoProto":
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in known]
    if len(inputs) != 1:
        names = ", ".join(printable(one.name) for one in inputs[:4]) or "none"
        raise RaysmoothError(f"{where} takes {len(inputs)} inputs ({names}): export a network of one, the images")
    (taken,) = inputs
    kind = taken.type.tensor_type
    if not taken.type.HasField("tensor_type") or kind.elem_type not in _DTYPES:
        is_integer = taken.type.HasField("tensor_type") and kind.elem_type in _LABELS
        integers = (
            "integers, and noise is added to numbers from 0 to 1: " if is_integer else "no floating-point images: "
        )
        raise RaysmoothError(
            f"{where}: its input '{printable(taken.name)}' takes {integers}export the network with a float32 input "
            "(images, channels, height, width), without what converts integers before it"
        )
    if not kind.HasField("shape") or len(kind.shape.dim) != 4:
        dims = f"{len(kind.shape.dim)} dimensions" if kind.HasField("shape") else "no shape"
        raise RaysmoothError(
            f"{where}: its input '{printable(taken.name)}' has {dims}: export the network with an input of four, "
            "(images, channels, height, width)"
        )
    if (_size(kind.shape.dim[0]) or 1) > _LARGEST_BATCH:
        raise RaysmoothError(
            f"{where} takes batches of {kind.shape.dim[0].dim_value:,} images: export it with a free batch size"
        )
    if min(size for dim in kind.shape.dim if (size := _size(dim) or 1)) < 1:
        raise RaysmoothError(f"{where}: its input '{printable(taken.name)}' has a negative size: export it again")
    return taken


def _size(dim: Any) -> int | None:
    """A fixed size; None for a free one, which is named, not said, or written as 0 or -1."""
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value not in (0, -1) else None


def _channels_last(sizes: list[int | None], options: OnnxOptions) -> bool:
    if options.layout != "auto":
        return options.layout == "nhwc"
    return sizes[3] in _CHANNELS and sizes[1] not in _CHANNELS and (sizes[1] is not None or sizes[2] is None)


def _output(model: "ModelProto", name: str | None, where: str) -> "ValueInfoProto":
    outputs = list(model.graph.output)
    names = [printable(one.name) for one in outputs]
    if name is not None:
        chosen = next((one for one in outputs if one.name == name), None)
        if chosen is None:
            raise RaysmoothError(f"{where}#{printable(name)}: there is no such output: {nearest(name, names)}")
        return chosen
    if len(outputs) != 1:
        choices = " or ".join(f"{where}#{one}" for one in names[:4])
        raise RaysmoothError(
            f"{where} has {len(outputs)} outputs: write {choices}"
            if outputs
            else f"{where} has no output: export it again"
        )
    return outputs[0]


def _dims(given: "ValueInfoProto", where: str) -> list[int | None] | None:
    if not given.type.HasField("tensor_type"):
        raise RaysmoothError(
            f"{where}: its output '{printable(given.name)}' is a map or a sequence: export the network with a tensor "
            "(scikit-learn's converter: options zipmap=False), or write FILE#OUTPUT for another output"
        )
    kind = given.type.tensor_type
    return [_size(dim) for dim in kind.shape.dim] if kind.HasField("shape") else None


def _answers(model: "ModelProto", given: "ValueInfoProto", where: str) -> str:
    dims, kind = _dims(given, where), given.type.tensor_type.elem_type
    if kind in _LABELS:
        if dims is not None and (len(dims) not in (1, 2) or dims[1:] not in ([], [1], [None])):
            raise RaysmoothError(
                f"{where}: its output '{printable(given.name)}' has integers of shape {_shown(dims)}: export one label "
                "(images,), or logits (images, classes)"
            )
        return "labels"
    if kind not in _DTYPES:
        raise RaysmoothError(
            f"{where}: its output '{printable(given.name)}' holds no numbers: export logits (images, classes)"
        )
    if dims is not None:
        if len(dims) == 1 or (len(dims) >= 2 and dims[1] == 1):
            raise one_logit(where, given.name)
        if len(dims) != 2 and not (len(dims) == 4 and dims[2] in (1, None) and dims[3] in (1, None)):
            raise RaysmoothError(
                f"{where}: its output '{printable(given.name)}' has shape {_shown(dims)}, a map or features and no "
                "class scores: export logits (images, classes), or write FILE#OUTPUT for another output"
            )
    return "probabilities" if _last_step(model, given.name) in ("Softmax", "Sigmoid") else "logits"


def one_logit(where: str, name: str) -> RaysmoothError:
    """The refusal of a single number for each image: what its threshold is, is not guessed."""
    return RaysmoothError(
        f"{where}: its output '{printable(name)}' has one number for each image: smoothing needs one for each class: "
        "export two logits, 0 and z (of a probability p: 1 - p and p)"
    )


def _pixels(given: "ValueInfoProto", where: str) -> str:
    dims = _dims(given, where)
    if given.type.tensor_type.elem_type not in _DTYPES or (dims is not None and len(dims) != 4):
        shape = "" if dims is None else f" of shape {_shown(dims)}"
        raise RaysmoothError(
            f"{where}: its output '{printable(given.name)}'{shape} is no image: a denoiser answers pixels, of the "
            "shape of its input"
        )
    return "pixels"


def _last_step(model: "ModelProto", name: str) -> str:
    """The operator that computes an output, before what changes only its form."""
    makers = {made: node for node in model.graph.node for made in node.output}
    for _ in range(len(makers)):
        if name not in makers:
            return ""
        node = makers[name]
        if node.op_type not in _PASSED_THROUGH or not node.input:
            return str(node.op_type)
        name = node.input[0]
    return ""


def _shown(dims: list[int | None]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in dims)})"
