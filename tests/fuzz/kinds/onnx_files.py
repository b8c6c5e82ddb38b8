"""ONNX files and their external data."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from fuzz.case import Defect, Expected, Kind, Outcome, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.values import LONG
from fuzz.values import TEXTS as ANY_TEXTS
from raysmooth.actors.models.formats.onnx_options import OnnxOptions
from raysmooth.actors.models.formats.onnx_session import read_classifier, read_denoiser

CLASSIFIER, FILTER, PARTED, DATA = (Path(name) for name in ("c.onnx", "d.onnx", "p.onnx", "p.bin"))
TEXTS = tuple(text for text in ANY_TEXTS if text == text.encode(errors="ignore").decode())
"""Those that a protobuf can hold."""

SIZES = (0, 1, -1, 2, 7, 2**31, 2**62, -(2**62))


def build_onnx_files() -> None:
    """A classifier, a denoiser, and the classifier with its weights in another file."""
    weights = np.linspace(-1, 1, 640, dtype=np.float32).reshape(64, 10)
    model = _model([("Flatten", "x", "f"), ("MatMul", "f w", "m"), ("Relu", "m", "y")], (10,), {"w": weights})
    onnx.save(model, CLASSIFIER)
    kernel = np.full((1, 1, 3, 3), 1 / 9, np.float32)
    onnx.save(_model([("Conv", "x k", "y")], (1, 8, 8), {"k": kernel}, pads=[1, 1, 1, 1]), FILTER)
    onnx.save(model, PARTED, save_as_external_data=True, location=str(DATA), size_threshold=0)


def _model(
    steps: list[tuple[str, str, str]], given: tuple[int, ...], tensors: dict[str, np.ndarray], **attributes: object
) -> onnx.ModelProto:
    nodes = [helper.make_node(name, inputs.split(), [made], **attributes) for name, inputs, made in steps]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 1, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", *given))],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def play_onnx_file(rng: Random) -> Play:
    file = rng.choice((CLASSIFIER, CLASSIFIER, FILTER, PARTED))
    altered, expected = rng.choice(_PARTED if file == PARTED else _ANY)(rng, file)
    return Play(f"{file}: {altered}", _read(file), expected)


def _read(file: Path) -> Callable[[], object]:
    def request() -> object:
        reader = read_denoiser if file == FILTER else read_classifier
        network, pixels = reader(str(file), OnnxOptions()), torch.linspace(0, 1, 192).view(3, 1, 8, 8)
        answer = network(pixels)
        if len(answer) != 3 or (file == FILTER and answer.shape != pixels.shape):
            raise Defect(Outcome.SILENT, f"an answer of shape {tuple(answer.shape)}")
        return answer.shape

    request.__doc__ = f"read {file} and call it"
    return request


def _valid(rng: Random, file: Path) -> tuple[str, Expected]:
    return "nothing", Expected.READ


def _load(file: Path) -> onnx.ModelProto:
    return onnx.load(file, load_external_data=False)


def _save(file: Path, model: onnx.ModelProto) -> None:
    file.write_bytes(model.SerializeToString())


def _tensor(rng: Random, file: Path) -> tuple[str, Expected]:
    """Another shape, type or number of bytes."""
    model = _load(file)
    tensor, way = model.graph.initializer[0], rng.randrange(4)
    if way == 0:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    elif way == 1:
        tensor.data_type = rng.choice((0, 2, 7, 8, 9, 10, 11, 16, 17, 23, 99))
    elif way == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(1 + len(tensor.raw_data))] + rng.randbytes(
            rng.choice((0, 1, 4))
        )
    else:
        tensor.float_data.extend([1.0] * rng.choice((1, 640)))
    _save(file, model)
    return (
        f"its tensor has dims {list(tensor.dims)}, type {tensor.data_type}, {len(tensor.raw_data)} bytes",
        Expected.ANY,
    )


def _shape(rng: Random, file: Path) -> tuple[str, Expected]:
    """Another size of input or output."""
    model = _load(file)
    value = rng.choice((model.graph.input[0], model.graph.output[0]))
    dims = value.type.tensor_type.shape.dim
    way = rng.randrange(4)
    if way == 0:
        del dims[rng.randrange(len(dims)) :]
    elif way == 1:
        value.type.tensor_type.elem_type = rng.choice((0, 2, 6, 7, 8, 9, 10, 11, 16, 99))
    elif way == 2:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(SIZES)
    else:
        dims.add().dim_param = rng.choice(TEXTS)
    _save(file, model)
    return f"{value.name} is {str(value.type)[:80]!r}", Expected.ANY


def _node(rng: Random, file: Path) -> tuple[str, Expected]:
    """Another operator, name or attribute; a circle."""
    model = _load(file)
    node, way = rng.choice(model.graph.node), rng.randrange(6)
    if way == 0:
        node.op_type = rng.choice(("Softmax", "Conv", "If", "Loop", "EPContext", "Einsum", "Resize", *TEXTS))
    elif way == 1:
        node.domain = rng.choice(("com.microsoft", "own", "ai.onnx.ml", LONG))
    elif way == 2:
        node.input[0] = rng.choice(("", "y", "x", "z", node.output[0], LONG))
    elif way == 3:
        node.output[0] = rng.choice(("", "x", "w", "k", "q"))
    elif way == 4:
        node.attribute.append(helper.make_attribute(rng.choice(("axis", "pads", "own")), rng.choice(SIZES)))
    else:
        node.attribute.append(
            helper.make_attribute(rng.choice(("strides", "dilations", "kernel_shape")), rng.choices(SIZES, k=2))
        )
    _save(file, model)
    return f"a node is {str(node)[:100]!r}", Expected.ANY


def _head(rng: Random, file: Path) -> tuple[str, Expected]:
    """Versions, names, functions, further inputs and outputs."""
    model, way = _load(file), rng.randrange(6)
    expected = Expected.ANY
    if way == 0:
        model.ir_version = rng.choice((0, 1, 3, 50, 2**40))
    elif way == 1:
        model.opset_import[0].version = rng.choice((0, 1, 5, 50, 2**40, -1))
    elif way == 2:
        model.producer_name = model.graph.name = rng.choice((*TEXTS, LONG * 100))
    elif way == 3:
        model.graph.input.add().CopyFrom(helper.make_tensor_value_info("more", 1, (1,)))
        expected = Expected.REFUSED
    elif way == 4:
        model.graph.output.add().CopyFrom(helper.make_tensor_value_info("more", 1, (1,)))
        expected = Expected.REFUSED
    else:
        model.functions.add(name=rng.choice(TEXTS), domain="own")
        expected = Expected.REFUSED
    _save(file, model)
    return f"its head, way {way}: ir {model.ir_version}, opset {model.opset_import[0].version}", expected


def _external(rng: Random, file: Path) -> tuple[str, Expected]:
    """Another place of its data."""
    model, expected = _load(file), Expected.REFUSED
    entries = {entry.key: entry for entry in model.graph.initializer[0].external_data}
    key = rng.choice(("location", "location", "offset", "length"))
    if key == "location":
        entries[key].value = rng.choice(
            ("/etc/passwd", "../p.bin", "..", "", ".", "a/../../p.bin", "p.bin/", str(file), LONG, *TEXTS)
        )
        expected = Expected.ANY if entries[key].value == str(file) else Expected.REFUSED
    else:
        entries[key].value = rng.choice(("-1", "1", str(2**63), "x", "", "1e3"))
        expected = Expected.ANY
    _save(file, model)
    return f"{key} of its data is {entries[key].value!a:.60}", expected


def _data(rng: Random, file: Path) -> tuple[str, Expected]:
    if rng.random() < 0.5:
        return damage(rng, DATA), Expected.ANY
    return replaced_by_other(rng, DATA), Expected.REFUSED


def _damaged(rng: Random, file: Path) -> tuple[str, Expected]:
    return damage(rng, file), Expected.ANY


def _other(rng: Random, file: Path) -> tuple[str, Expected]:
    return replaced_by_other(rng, file), Expected.REFUSED


_ANY = (_valid, _tensor, _tensor, _shape, _shape, _node, _node, _node, _head, _damaged, _damaged, _other)
_PARTED = (_valid, _external, _external, _data, _damaged)

ONNX_FILES = Kind("ONNX files and their external data", build_onnx_files, play_onnx_file)
