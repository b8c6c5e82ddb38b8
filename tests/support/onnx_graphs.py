"""ONNX networks: exported from torch modules, and built node by node."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT64, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.UINT8
Dims = Sequence[int | str | None]


def exported(network: torch.nn.Module, file: Path, shape: tuple[int, ...], batch: int | None = None) -> Path:
    """`file`, to which `network` is exported for images (C, H, W), with a free batch size or a fixed one."""
    free = {} if batch else {"dynamic_axes": {"images": {0: "n"}, "answers": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by traces, which needs no further package, is an older one
        torch.onnx.export(
            network.eval(), (torch.zeros(batch or 2, *shape),), file, dynamo=False, input_names=["images"],
            output_names=["answers"], **free,
        )  # fmt: skip
    return file


def built(
    nodes: Sequence[Any],
    taken: Dims = ("n", 1, 8, 8),
    given: Dims = ("n", 10),
    *,
    kind: int = FLOAT,
    answers: int = FLOAT,
    tensors: dict[str, np.ndarray] | None = None,
    opset: int = 17,
    name: str = "y",
) -> onnx.ModelProto:
    """A network from input "x" to output `name`; None for a shape that is not said."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, taken)],
        [helper.make_tensor_value_info(name, answers, given)],
        [numpy_helper.from_array(array, key) for key, array in (tensors or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, producer_name="tests")


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def linear(classes: int = 10, after: Callable[[str], Sequence[Any]] | None = None, **changes: Any) -> onnx.ModelProto:
    """Logits of images (1, 8, 8): row k of the weights is the mean over k + 1 rows of pixels."""
    weights = np.zeros((64, classes), np.float32)
    for label in range(classes):
        weights[: 8 * (label % 8 + 1), label] = 1 / (8 * (label % 8 + 1))
    last = [*after("z")] if after else [node("Identity", "z")]
    nodes = [node("Flatten", "x", "flat"), node("MatMul", "flat w", "z"), *last]
    return built(nodes, changes.pop("taken", ("n", 1, 8, 8)), changes.pop("given", ("n", classes)),
                 tensors={"w": weights, **changes.pop("more", {})}, **changes)  # fmt: skip
