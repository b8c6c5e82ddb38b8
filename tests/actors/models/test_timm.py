import sys

import pytest
import torch

from raysmooth.actors.models.classifiers import build_classifier, default_preprocess
from raysmooth.actors.models.networks.normalize import Normalize
from raysmooth.actors.models.preprocess import parse_preprocess
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

torch.set_num_threads(1)

TINY = "timm/test_resnet"


def test_a_model_by_its_name() -> None:
    text = f"{TINY}:num_classes=7"
    architecture = Variant.parse(text)
    assert str(architecture) == text
    network = build_classifier(architecture).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize(
    ("text", "preprocess"),
    [
        ("timm/resnet10t", "0.485,0.456,0.406/0.229,0.224,0.225"),
        ("timm/test_vit:num_classes=2", "0.5,0.5,0.5/0.5,0.5,0.5"),
        ("timm/test_vit.r160_in1k", "0.5,0.5,0.5/0.5,0.5,0.5"),
        ("timm/test_vit:in_chans=1", "none"),
    ],
)
def test_preprocess_is_that_of_the_published_weights(text: str, preprocess: str) -> None:
    found = default_preprocess(Variant.parse(text))
    assert found == preprocess
    assert isinstance(parse_preprocess(found), Normalize if "/" in found else torch.nn.Identity)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm/efficentnet_b0", "unknown classifier 'timm/efficentnet_b0': did you mean 'timm/efficientnet_b0'?"),
        ("timm/test_vit.no_such_tag", "unknown classifier 'timm/test_vit.no_such_tag': did you mean 'timm/test_vit'?"),
        ("timm/", "unknown classifier 'timm/': "),
        ("timm/hf-hub:num_classes=2", "unknown classifier 'timm/hf-hub': "),
        (f"{TINY}:no_such_option=1", f"classifier '{TINY}:no_such_option=1' cannot be built: "),
        (f"{TINY}:pretrained=true", "multiple values for keyword argument 'pretrained'"),
        (f"{TINY}:checkpoint_path=weights.pth", "multiple values for keyword argument 'checkpoint_path'"),
    ],
)
def test_refuses_in_one_line(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        build_classifier(Variant.parse(text))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("ask", [build_classifier, default_preprocess])
def test_says_what_to_install(ask: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        RaysmoothError, match=r"classifier 'timm/test_resnet' needs timm \(.*\): pip install 'raysmooth\[timm\]'"
    ):
        ask(Variant.parse(TINY))
