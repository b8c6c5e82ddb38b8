"""Folders of Hugging Face transformers as classifiers: against transformers itself, and what is refused."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hf_folders import CLASSES, changed, make_folder
from PIL import Image
from safetensors.torch import load_file, save_file

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded, check_image, load_base_classifier
from raysmooth.actors.models.weight_paths import file_sha256
from raysmooth.common.errors import RaysmoothError

CPU = torch.device("cpu")
KINDS = ("vit", "resnet", "convnext")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: make_folder(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def load(folder: Path, **named: Any) -> Loaded:
    return load_base_classifier(BaseClassifierSpec("hf", str(folder), **named), CPU)


def pixels(height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


def theirs(folder: Path) -> tuple[Any, Any]:
    import transformers

    processor = transformers.AutoImageProcessor.from_pretrained(str(folder))
    return processor, transformers.AutoModelForImageClassification.from_pretrained(str(folder)).eval()


@pytest.mark.parametrize(
    ("kind", "resizing"),
    [("vit", "bilinear:32x32"), ("resnet", "bicubic:36,crop=32x32"), ("convnext", "bilinear:384x384")],
)
def test_logits_are_those_of_transformers(folders: dict[str, Path], kind: str, resizing: str) -> None:
    loaded = load(folders[kind])
    assert loaded.spec.resizing == resizing
    assert loaded.spec.preprocess == "0.5,0.5,0.5/0.5,0.5,0.5"
    assert loaded.class_names == CLASSES
    processor, network = theirs(folders[kind])
    image = pixels()
    with torch.inference_mode():
        ours = loaded.model.answer(as_batch(image))
        floats = processor(torch.from_numpy(image).permute(2, 0, 1).float(), return_tensors="pt").pixel_values
        torch.testing.assert_close(ours, network(floats).logits, atol=1e-5, rtol=0)
        # Of an 8-bit image transformers rounds the resized pixels to 8 bits after each direction, and clips overshoots
        # of bicubic filters, which are largest in an image of noise as this one.
        bits = processor(Image.fromarray(image), return_tensors="pt").pixel_values
        normalised = loaded.model.normalize(as_batch(image)).clamp(-1, 1)
        assert (normalised - bits).abs().max().item() < (0.1 if "bicubic" in resizing else 1.01 / 127.5)
        assert loaded.model(as_batch(image)).item() == network(bits).logits.argmax().item()


SQUARE = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}


@pytest.mark.parametrize(
    ("settings", "preprocess", "resizing"),
    [
        ({**SQUARE, "do_resize": False, "do_normalize": False}, "none", "none"),
        ({**SQUARE, "size": 32, "resample": 3, "image_std": [0.25] * 3}, "0.5,0.5,0.5/0.25,0.25,0.25", "bicubic:32x32"),
        (
            {**SQUARE, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
            "0.5,0.5,0.5/0.5,0.5,0.5",
            "bilinear:32x32",
        ),
        (
            {**SQUARE, "do_rescale": False, "do_normalize": False},
            "0,0,0/0.003921569,0.003921569,0.003921569",
            "bilinear:32x32",
        ),
        (
            {**SQUARE, "size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": 32, "resample": 1},
            "0.5,0.5,0.5/0.5,0.5,0.5",
            "lanczos:36,crop=32x32",
        ),
        (
            {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 28, "resample": 0},
            None,
            "nearest:32,crop=28x28",
        ),
        (
            {
                **SQUARE,
                "image_processor_type": "EfficientNetImageProcessor",
                "include_top": False,
                "rescale_offset": True,
                "rescale_factor": 1 / 127.5,
                "do_normalize": False,
            },
            "0.5,0.5,0.5/0.5,0.5,0.5",
            "bicubic:32x32",
        ),
    ],
)
def test_settings_of_processors(
    tmp_path: Path, settings: dict[str, Any], preprocess: str | None, resizing: str
) -> None:
    folder = make_folder(tmp_path, processor=settings)
    loaded = load(folder)
    assert loaded.spec.resizing == resizing
    assert preprocess is None or loaded.spec.preprocess == preprocess
    assert loaded.preprocess_from == loaded.resizing_from == "the model's own files"
    processor, _ = theirs(folder)
    image = torch.from_numpy(pixels(64, 64)).permute(2, 0, 1).float()
    wanted = processor(image, return_tensors="pt", do_resize=processor.do_resize).pixel_values
    found = loaded.model.normalize(image[None] / 255)
    if "lanczos" in resizing:  # for which torchvision, below transformers, may have bicubic
        return
    torch.testing.assert_close(found, wanted, atol=2e-5 * float(wanted.abs().max()), rtol=0)


def test_what_the_user_says_comes_first(folders: dict[str, Path]) -> None:
    loaded = load(folders["resnet"], input_size=24, preprocess="none")
    assert (loaded.spec.resizing, loaded.spec.preprocess) == ("bicubic:24x24", "none")
    assert loaded.preprocess_from == "--preprocess, though the weights have 0.5,0.5,0.5/0.5,0.5,0.5"
    assert loaded.resizing_from == "--input-size"
    assert load(folders["resnet"], interpolation="box").spec.resizing == "box:36,crop=32x32"


def test_images_of_another_size_are_refused_where_nothing_resizes_them(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, processor={**SQUARE, "do_resize": False})
    loaded = load(folder)
    assert check_image(loaded, torch.rand(3, 32, 32)) == 3
    with pytest.raises(RaysmoothError, match=r"rejects images of shape \(3, 40, 40\): .*, --input-size or"):
        check_image(loaded, torch.rand(3, 40, 40))


def test_a_network_for_grey_images(tmp_path: Path) -> None:
    grey = {**SQUARE, "image_mean": 0.5, "image_std": 0.5}
    loaded = load(make_folder(tmp_path, num_channels=1, processor=grey))
    assert loaded.spec.preprocess == "0.5/0.5"
    assert check_image(loaded, torch.rand(1, 8, 8)) == 3
    with pytest.raises(RaysmoothError, match="1 channels, images have 3"):
        check_image(loaded, torch.rand(3, 8, 8))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fast_networks_compute_the_same_labels(folders: dict[str, Path], precision: str) -> None:
    noisy = torch.rand(64, 3, 40, 48, generator=torch.Generator().manual_seed(1))
    for kind in ("vit", "resnet"):
        model = load(folders[kind]).model
        fast = fast_network(model, ComputeConfig(precision=precision, compiled=False, batch_size=64), CPU)
        with torch.inference_mode():
            agreeing = (fast(noisy) == model(noisy)).float().mean().item()
        assert agreeing == 1 if precision == "float32" else agreeing >= 0.9


def test_gradients_reach_the_pixels(folders: dict[str, Path]) -> None:
    batch = as_batch(pixels()).requires_grad_()
    load(folders["vit"]).model.answer(batch)[0, 0].backward()
    assert batch.grad is not None
    assert batch.grad.abs().sum().item() > 0


def test_no_connection_is_made_and_nothing_is_shown(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    load(folders["vit"])
    assert capfd.readouterr() == ("", "")
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE is False


def test_the_fingerprint_is_that_of_the_tensors(folders: dict[str, Path], tmp_path: Path) -> None:
    same, other = make_folder(tmp_path / "a", "vit"), make_folder(tmp_path / "b", "vit", seed=1)
    first = load(folders["vit"]).spec.classifier_fingerprint
    assert load(same).spec.classifier_fingerprint == first
    assert load(other).spec.classifier_fingerprint != first
    with pytest.raises(RaysmoothError, match="are not those that this run began with"):
        load(other, classifier_fingerprint=first)


def test_the_digest_is_that_of_all_that_decides(folders: dict[str, Path], tmp_path: Path) -> None:
    copy = make_folder(tmp_path, "vit")
    assert file_sha256(str(copy)) == file_sha256(str(folders["vit"]))
    (copy / "README.md").write_text("a network")
    assert file_sha256(str(copy)) == file_sha256(str(folders["vit"]))
    changed(copy, "preprocessor_config.json", resample=3)
    assert file_sha256(str(copy)) not in (None, file_sha256(str(folders["vit"])))
    assert file_sha256(str(copy), most_bytes=100) is None


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    save_file(tensors, file, metadata={"format": "pt"})


def _sharded(folder: Path, name: str = "model-{}.safetensors") -> Path:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = [sorted(tensors)[::2], sorted(tensors)[1::2]]
    for number, keys in enumerate(parts):
        save_file(
            {key: tensors[key] for key in keys}, folder / f"model-{number}.safetensors", metadata={"format": "pt"}
        )
    weight_map = {key: name.format(number) for number, keys in enumerate(parts) for key in keys}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_weights_in_several_files(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = _sharded(make_folder(tmp_path, "vit"))
    assert load(folder).spec.classifier_fingerprint == load(folders["vit"]).spec.classifier_fingerprint
    whole = file_sha256(str(folder))
    tensors = load_file(folder / "model-1.safetensors")
    save_file(
        {key: value + 1 for key, value in tensors.items()}, folder / "model-1.safetensors", metadata={"format": "pt"}
    )
    assert file_sha256(str(folder)) != whole


def _not_finite(folder: Path) -> Path:
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.weight"][0, 0] = float("nan")
    _save(tensors, folder / "model.safetensors")
    return folder


def _without_a_tensor(folder: Path) -> Path:
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.weight"]
    _save(tensors, folder / "model.safetensors")
    return folder


def _pickled(folder: Path) -> Path:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def _removed(folder: Path, name: str) -> Path:
    (folder / name).unlink()
    return folder


def _linked_out(folder: Path) -> Path:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere.safetensors")
    return folder


REFUSED = {
    "pickled weights": (_pickled, r"has its weights in pytorch_model.bin alone, and reading those may run code"),
    "no weights": (lambda f: _removed(f, "model.safetensors"), "no model.safetensors in it"),
    "no settings": (lambda f: _removed(f, "config.json"), "no config.json in it"),
    "code": (
        lambda f: changed(f, auto_map={"AutoConfig": "x.Y"}),
        r"config.json names code of its own to run \(auto_map\)",
    ),
    "code of the processor": (
        lambda f: changed(f, "preprocessor_config.json", auto_map={}),
        "preprocessor_config.json names code",
    ),
    "attention": (
        lambda f: changed(f, _attn_implementation="some/kernel"),
        "wants the attention 'some/kernel', which is code",
    ),
    "quantized": (lambda f: changed(f, quantization_config={"bits": 4}), "the weights are quantized"),
    "unknown kind": (lambda f: changed(f, model_type="nothing"), "cannot be loaded: .*: give an image classifier"),
    "shapes": (lambda f: changed(f, hidden_size=32), "cannot be loaded: .*|has other shapes of"),
    "a tensor": (_without_a_tensor, r"the file of weights lacks classifier.weight \(1 in all\)"),
    "not finite": (_not_finite, "classifier.weight has values that are not finite"),
    "a link": (_linked_out, r"model.safetensors is a link out of the folder: copy the file itself there"),
    "parts outside": (lambda f: _sharded(f, "../model-{}.safetensors"), "names '../model-0.safetensors', and takes"),
    "parts missing": (lambda f: _removed(_sharded(f), "model-1.safetensors"), "model-1.safetensors is missing"),
    "no processor": (
        lambda f: _removed(f, "preprocessor_config.json"),
        "no preprocessor_config.json in it, .* write --preprocess and",
    ),
    "steps": (
        lambda f: changed(f, "preprocessor_config.json", do_pad=True),
        "its processor wants do_pad, which has no layer here",
    ),
    "an adapter": (lambda f: (f / "adapter_config.json").write_text("{}") and f, "holds an adapter"),
    "no JSON": (lambda f: (f / "config.json").write_text("{") and f, "config.json is no valid JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    spoil, message = REFUSED[what]
    folder = spoil(make_folder(tmp_path / "vit", "vit"))
    with pytest.raises(RaysmoothError, match=message) as refusal:
        load(folder)
    assert "\n" not in str(refusal.value)


def test_no_processor_is_needed_where_the_user_says_all(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "vit", processor=None)
    loaded = load(folder, preprocess="none", input_size=32)
    assert (loaded.spec.preprocess, loaded.spec.resizing, loaded.assumed) == ("none", "bicubic:32x32", None)


def test_links_of_the_hubs_own_cache_are_followed(tmp_path: Path) -> None:
    snapshot = make_folder(tmp_path / "models--a--b" / "snapshots" / "0a1b", "vit")
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    os.rename(snapshot / "model.safetensors", blobs / "77")
    (snapshot / "model.safetensors").symlink_to("../../blobs/77")
    assert load(snapshot).spec.classifier == "hf"


def test_a_missing_package_is_one_line(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(RaysmoothError, match=r"hf:FOLDER needs transformers \(.*\): pip install 'raysmooth\[hf\]'"):
        load(folders["vit"])
