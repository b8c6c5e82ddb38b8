"""ONNX files that are refused, each in one line; external data; programs given as weights."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx_graphs import FLOAT, INT64, UINT8, built, linear, node

from raysmooth.actors.models.formats.onnx_file import external_files, read_onnx
from raysmooth.actors.models.formats.onnx_options import OnnxOptions
from raysmooth.actors.models.formats.onnx_session import read_classifier, read_denoiser
from raysmooth.actors.models.weight_paths import file_sha256
from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError

Change = Callable[[onnx.ModelProto], object]


def changed(model: onnx.ModelProto, change: Change) -> onnx.ModelProto:
    change(model)
    return model


def with_function(model: onnx.ModelProto) -> None:
    body = helper.make_function("own", "Double", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)])
    model.functions.append(body)


def with_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", FLOAT, ("n",)))


def with_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ("n", 10)))


def as_map(model: onnx.ModelProto) -> None:
    value = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    model.graph.output[0].CopyFrom(helper.make_value_info("y", helper.make_sequence_type_proto(value)))


FLAT = [node("Flatten", "x")]

REFUSED: list[tuple[onnx.ModelProto, str]] = [
    (built(FLAT, kind=UINT8, answers=UINT8), r"its input 'x' takes integers, .*: export .* with a float32 input"),
    (built(FLAT, ("n", 64)), r"its input 'x' has 2 dimensions: export .* of four, \(images, channels, height, width\)"),
    (built(FLAT, None), r"is no valid ONNX network"),
    (changed(linear(), with_input), r"takes 2 inputs \(x, mask\): export a network of one"),
    (changed(linear(), with_output), r"has 2 outputs: write .*m\.onnx#y or .*m\.onnx#z$"),
    (changed(linear(), as_map), r"its output 'y' is a map or a sequence: export the network with a tensor"),
    (changed(linear(), with_function), r"defines operators of its own \(Double\): save onnx\.inliner"),
    (built([node("Flatten", "x", domain="my.ops")]), r"has an operator that is not part of ONNX \(my\.ops:Flatten\)"),
    (built([node("EPContext", "x", domain="com.microsoft", ep_cache_context="/etc/passwd")]), r"microsoft:EPContext"),
    (built([node("Flutten", "x")]), r"is no valid ONNX network \(.*Flutten.*\): export it again"),
    (linear(opset=999), r"is no valid ONNX network|onnxruntime .* does not take"),
    (linear(1), r"its output 'y' has one number for each image: .* two logits, 0 and z"),
    (built([node("ReduceMean", "x", axes=[1, 2, 3], keepdims=0)], given=("n",)), r"has one number for each image"),
    (built([node("Identity", "x")], ("n", 3, 8, 8), ("n", 3, 8, 8)), r"'y' has shape \(\?, 3, 8, 8\), a map or feat"),
    (linear(after=lambda z: [node("ArgMax", z, axis=1, keepdims=0)], given=("n",), answers=INT64),
     r"answers labels, and does not say of how many classes: write --classifier onnx:classes=K"),
    (linear(after=lambda z: [node("Cast", z, to=INT64)], answers=INT64), r"has integers of shape \(\?, 10\): exp"),
    (linear(after=lambda z: [node("Cast", z, to=onnx.TensorProto.BOOL)], answers=onnx.TensorProto.BOOL), r"no numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "refusal"), REFUSED)
def test_networks_that_do_not_fit(model: onnx.ModelProto, refusal: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(RaysmoothError, match=refusal) as refused:
        read_classifier(str(tmp_path / "m.onnx"), OnnxOptions()).open(torch.device("cpu"))
    assert "\n" not in str(refused.value)


def test_a_classifier_is_no_denoiser(tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "m.onnx")
    with pytest.raises(
        RaysmoothError, match=r"its output 'y' of shape \(\?, 10\) is no image: a denoiser answers pixels"
    ):
        read_denoiser(str(tmp_path / "m.onnx"), OnnxOptions())


@pytest.mark.parametrize("name", ["x", "yy", ""])
def test_an_output_that_is_not_there(name: str, tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "m.onnx")
    with pytest.raises(RaysmoothError, match=rf"m\.onnx#{name}: there is no such output: .*y"):
        read_classifier(f"{tmp_path}/m.onnx#{name}", OnnxOptions())


def test_options_that_are_unknown() -> None:
    for options, refusal in (
        ({"layout": "hwc"}, "layout=hwc is unknown: write auto or nchw or nhwc"),
        ({"order": "gbr"}, "order=gbr"),
        ({"classes": -1}, "classes=-1 is no number"),
        ({"classes": True}, "classes=True is no number"),
    ):
        with pytest.raises(RaysmoothError, match=refusal):
            OnnxOptions(**options)  # type: ignore[arg-type]


def test_initialisers_may_be_inputs_as_in_old_files(tmp_path: Path) -> None:
    model = linear()
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, (64, 10)))
    onnx.save(model, tmp_path / "m.onnx")
    assert read_classifier(str(tmp_path / "m.onnx"), OnnxOptions())(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def external(folder: Path, **changes: str) -> str:
    """A network whose weights are in `folder`/m.bin, of 100 other bytes and theirs; `changes` are of its entries."""
    folder.mkdir(exist_ok=True)
    model = linear()
    (tensor,) = model.graph.initializer
    data = numpy_helper.to_array(tensor).tobytes()
    (folder / "m.bin").write_bytes(b"\1" * 100 + data)
    tensor.ClearField("raw_data")
    tensor.data_location = tensor.EXTERNAL
    for key, value in {"location": "m.bin", "offset": "100", "length": str(len(data)), **changes}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return str(folder / "m.onnx")


def test_external_data_belongs_to_the_network(tmp_path: Path) -> None:
    file, pixels = external(tmp_path), torch.rand(5, 1, 8, 8)
    onnx.save(linear(), tmp_path / "whole.onnx")
    whole = read_classifier(str(tmp_path / "whole.onnx"), OnnxOptions())
    classifier, before = read_classifier(file, OnnxOptions()), file_sha256(file)
    assert torch.equal(classifier(pixels), whole(pixels))
    assert external_files(file) == [str(tmp_path / "m.bin")]
    content = (tmp_path / "m.bin").read_bytes()
    (tmp_path / "m.bin").write_bytes(content[:-4] + struct.pack("<f", 7.0))
    other = read_classifier(file, OnnxOptions())
    assert not torch.equal(other(pixels), whole(pixels))
    assert other.digest != classifier.digest
    assert None is not file_sha256(file) != before
    os.unlink(tmp_path / "m.bin")
    assert file_sha256(file) is None
    with pytest.raises(RaysmoothError, match=r"external data of .*m\.onnx .*m\.bin does not exist"):
        read_onnx(file)


@pytest.mark.parametrize(("entries", "refusal"), [
    ({"location": "../m.bin"}, r"external data at '\.\./m\.bin', which is not a path in the file's folder"),
    ({"location": "a/../../m.bin"}, "not a path in"), ({"location": "/etc/passwd"}, "not a path in"),
    ({"location": "..\\m.bin"}, "not a path in"), ({"location": "C:\\m.bin"}, "not a path in"),
    ({"location": ""}, "not a path in"), ({"location": "a\nb"}, "not a path in"), ({"location": "."}, "is a folder"),
    ({"location": "m.bi"}, "does not exist"), ({"offset": "101"}, "is not in its file, of 2,660 bytes"),
    ({"offset": "-4"}, "is not in its file"), ({"length": "9999999"}, "is not in its file"),
    ({"offset": "x"}, "is not in its file"), ({"length": "4"}, "no valid ONNX network|does not take"),
])  # fmt: skip
def test_external_data_outside_or_too_short(entries: dict[str, str], refusal: str, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(bytes(3000))
    with pytest.raises(RaysmoothError, match=refusal):
        read_classifier(external(tmp_path / "models", **entries), OnnxOptions()).open(torch.device("cpu"))


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    file = external(tmp_path / "models")
    (tmp_path / "models" / "m.bin").rename(tmp_path / "m.bin")
    (tmp_path / "models" / "m.bin").symlink_to(tmp_path / "m.bin")
    with pytest.raises(RaysmoothError, match=r"m\.bin is a link out of the folder"):
        read_onnx(file)
    (tmp_path / "models" / "m.bin").unlink()
    (tmp_path / "models" / "here.bin").write_bytes((tmp_path / "m.bin").read_bytes())
    (tmp_path / "models" / "m.bin").symlink_to("here.bin")
    read_onnx(file)


def test_external_data_needs_the_usual_name(tmp_path: Path) -> None:
    file = Path(external(tmp_path))
    file.rename(tmp_path / "model")
    with pytest.raises(RaysmoothError, match=r"model has external data: give it a name that ends with \.onnx"):
        read_onnx(str(tmp_path / "model"))


def test_many_tensors_of_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file must not become a network that fills the memory."""
    file = external(tmp_path)
    model = onnx.load(file, load_external_data=False)
    for _ in range(10):
        model.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    Path(file).write_bytes(model.SerializeToString())
    monkeypatch.setattr("raysmooth.actors.models.formats.onnx_file.MOST_BYTES", 10_000)
    with pytest.raises(RaysmoothError, match=r"more than 0 GiB with its external data: export it in float16"):
        read_onnx(file)


def test_files_that_are_none(tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "whole.onnx")
    whole = (tmp_path / "whole.onnx").read_bytes()
    for content in (b"", b"\0", b"garbage" * 100, whole[:-50], whole[: len(whole) // 2], b"{}", b"PK\3\4" + whole):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(RaysmoothError, match=r"m\.onnx is (corrupt or no ONNX file|no valid ONNX network)"):
            read_classifier(str(tmp_path / "m.onnx"), OnnxOptions())
    with pytest.raises(RaysmoothError, match=r"ONNX file .*no\.onnx does not exist: give its path"):
        read_onnx(str(tmp_path / "no.onnx"))
    with pytest.raises(RaysmoothError, match=r"ONNX file .* is a folder: give the path of the \.onnx file in it"):
        read_onnx(str(tmp_path))
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(RaysmoothError, match=r"pipe\.onnx is no regular file"):
        read_onnx(str(tmp_path / "pipe.onnx"))


def keras(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, b"{}")


def saved_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")


PROGRAMS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "m.keras": (keras, "a Keras archive, a program"),
    "m.h5": (lambda file: file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "an HDF5 file of Keras"),
    "saved": (saved_model, "a TensorFlow SavedModel"),
    "m.tflite": (lambda file: file.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100)), "a TensorFlow Lite network"),
    "m.ort": (lambda file: file.write_bytes(b"\x1c\0\0\0ORTM" + bytes(100)), "a network in the ORT format"),
    "m.pt": (lambda file: torch.jit.script(torch.nn.Linear(1, 2)).save(str(file)), "a TorchScript archive"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("reader", [read_onnx, read_weights])
def test_programs_are_refused_with_the_way_out(name: str, reader: Callable[[str], object], tmp_path: Path) -> None:
    write, kind = PROGRAMS[name]
    write(tmp_path / name)
    way_out = (
        r"export the network to ONNX and write --classifier onnx:FILE, or load it in .* --classifier MODULE:CALLABLE"
    )
    with pytest.raises(RaysmoothError, match=rf"{name} is {kind}.*loading it could run code: {way_out}"):
        reader(str(tmp_path / name))


def test_an_onnx_file_as_weights_of_another_architecture(tmp_path: Path) -> None:
    onnx.save(linear(), tmp_path / "m.onnx")
    with pytest.raises(
        RaysmoothError, match=r"m\.onnx is an ONNX network, .*: write --classifier onnx:.*m\.onnx without"
    ):
        read_weights(tmp_path / "m.onnx")


def test_nested_graphs_are_looked_into(tmp_path: Path) -> None:
    """A branch of If with an operator of others, and with external data outside."""
    for inner, refusal in (
        (node("Flatten", "x", "a", domain="own"), r"not part of ONNX \(own:Flatten\)"),
        (node("Constant", "", "a", value=_outside()), r"external data at '/etc/passwd'"),
    ):
        branch = helper.make_graph([inner], "b", [], [helper.make_tensor_value_info("a", FLOAT, None)])
        model = built([node("If", "c", then_branch=branch, else_branch=branch)], tensors={"c": np.array(True)})
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(RaysmoothError, match=refusal):
            read_classifier(str(tmp_path / "m.onnx"), OnnxOptions())


def _outside() -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="t", data_type=FLOAT, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor
