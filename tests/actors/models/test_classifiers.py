import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY

from raysmooth.actors.models.classifiers import CLASSIFIERS, build_classifier, default_preprocess
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.preprocess import PREPROCESS
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

torch.set_num_threads(1)
PUBLISHED = REPOSITORY.parent / "shared/data/published-weights-keys.json"

# name, trainable parameters (worked out by hand or published), shape of one image
NETWORKS = [
    ("lenet", 431_080, (1, 28, 28)),
    ("mnist_cnn", 734_602, (1, 28, 28)),
    ("digits_cnn", 6_090, (1, 8, 8)),
    ("small_cnn", 282, (3, 32, 32)),
    ("cifar_resnet20", 272_474, (3, 32, 32)),
    ("cifar_resnet110", 1_730_714, (3, 32, 32)),
    ("cifar_resnet18", 11_173_962, (3, 32, 32)),
    ("cifar_resnext29_2x64d", 9_128_778, (3, 32, 32)),
    ("cifar_preactresnet18", 11_171_146, (3, 32, 32)),
    ("cifar_senet18", 11_260_354, (3, 32, 32)),
    ("cifar_wrn28_10", 36_479_194, (3, 32, 32)),
    ("cifar_wrn40_10", 55_841_754, (3, 32, 32)),
    ("cifar_vgg16", 14_728_266, (3, 32, 32)),
    ("cifar_vgg19", 20_040_522, (3, 32, 32)),
    ("cifar_googlenet", 6_166_250, (3, 32, 32)),
    ("cifar_densenet121", 6_956_298, (3, 32, 32)),
    ("cifar_mobilenet", 3_217_226, (3, 32, 32)),
    ("cifar_mobilenet_v2", 2_296_922, (3, 32, 32)),
    ("cifar_shufflenet_v2", 1_263_854, (3, 32, 32)),
    ("cifar_efficientnet_b0", 2_912_089, (3, 32, 32)),
    ("efficientnet_lite0", 4_652_008, (3, 64, 64)),
]


def test_every_entry_is_tested() -> None:
    assert [name for name, _, _ in NETWORKS] == list(CLASSIFIERS)


@pytest.mark.parametrize(("name", "parameters", "shape"), NETWORKS)
def test_parameter_count_and_output_shape(name: str, parameters: int, shape: tuple[int, ...]) -> None:
    network = build_classifier(Variant.parse(name)).eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    with torch.inference_mode():
        logits = network(torch.rand(1, *shape))
    assert logits.shape == (1, 1000 if name == "efficientnet_lite0" else 10)
    assert logits.isfinite().all()


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no {PUBLISHED}")
@pytest.mark.parametrize("name", [name for name, entry in CLASSIFIERS.items() if entry.published])
def test_keys_and_shapes_are_the_published_ones(name: str) -> None:
    published = json.loads(PUBLISHED.read_text())[CLASSIFIERS[name].published]
    with torch.device("meta"):
        state = build_classifier(Variant.parse(name)).state_dict()
    assert {f"1.{key}": list(tensor.shape) for key, tensor in state.items()} == published


@pytest.mark.shared_data
@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no {PUBLISHED}")
def test_every_published_network_is_an_entry() -> None:
    known = {entry.published for entry in CLASSIFIERS.values()}
    known |= {name for entry in DENOISERS.values() for name in entry.published}
    assert set(json.loads(PUBLISHED.read_text())) <= known


def test_options_reach_the_network() -> None:
    network = build_classifier(Variant.parse("digits_cnn:width=4,num_classes=3"))
    # 1*4*9+4, 4*8*9+8, 8*2*2*3+3
    assert sum(p.numel() for p in network.parameters()) == 40 + 296 + 99


def test_torchvision_model_by_bare_name() -> None:
    network = build_classifier(Variant.parse("resnet18:num_classes=7"))
    assert network.fc.out_features == 7
    assert default_preprocess(Variant.parse("resnet18")) == "imagenet"


def test_torchvision_weights_that_expect_another_scale_get_it() -> None:
    assert build_classifier(Variant.parse("googlenet:num_classes=2")).transform_input
    assert not build_classifier(Variant.parse("googlenet:num_classes=2,transform_input=false")).transform_input


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_default_preprocess_exists(name: str) -> None:
    assert default_preprocess(Variant.parse(name)) in PREPROCESS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cifar_resnet111",
            "unknown classifier 'cifar_resnet111': did you mean 'cifar_resnet110'? (known: lenet, ",
        ),
        ("resnet51", "did you mean 'resnet50'? (known: lenet, "),
        ("zzz", "unknown classifier 'zzz': known: lenet, "),
        ("lenet:depth=3", "classifier 'lenet' has no option 'depth': options are num_classes"),
        ("digits_cnn:width=x", "classifier 'digits_cnn:width=x' cannot be built: "),
        ("resnet18:depth=3", "classifier 'resnet18:depth=3' cannot be built: "),
        ("resnet18:weights=DEFAULT", "multiple values for keyword argument 'weights'"),
        ("no_such_module_here:make", "importing 'no_such_module_here' failed (ModuleNotFoundError: "),
        ("math:no_such_thing", "module 'math' has no 'no_such_thing'"),
    ],
)
def test_refuses_in_one_line(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        build_classifier(Variant.parse(text), trust_code=True)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 700


OWN_MODULE = """
import torch

class Labels:
    num_classes = 5
    def __call__(self, batch):
        return torch.zeros(len(batch), dtype=torch.int64)

class Api:
    @staticmethod
    def make():
        return Labels()

def make(num_classes=2):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, num_classes))

def number():
    return 3
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_own_classifiers.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_own_classifiers", raising=False)
    return "my_own_classifiers"


def test_own_module(own_module: str) -> None:
    network = build_classifier(Variant.parse(f"{own_module}:make:num_classes=3"), trust_code=True)
    assert network(torch.rand(2, 1, 2, 2)).shape == (2, 3)
    assert default_preprocess(Variant.parse(f"{own_module}:make")) == "none"


def test_own_callable_that_returns_labels(own_module: str) -> None:
    classify = build_classifier(Variant.parse(f"{own_module}:Api.make"), trust_code=True)
    assert classify.num_classes == 5
    assert classify(torch.rand(2, 1, 2, 2)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("make:depth=3", "has no option 'depth': options are num_classes"),
        ("number", "returns a int: it must return a torch module"),
        ("absent", "has no 'absent'"),
    ],
)
def test_own_module_refusals(own_module: str, rest: str, message: str) -> None:
    with pytest.raises(RaysmoothError, match=message):
        build_classifier(Variant.parse(f"{own_module}:{rest}"), trust_code=True)


def test_own_module_whose_import_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_broken_module.py").write_text("1 +\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RaysmoothError, match=r"importing 'my_broken_module' failed \(SyntaxError"):
        build_classifier(Variant.parse("my_broken_module:make"), trust_code=True)


@pytest.mark.processes
def test_torchvision_is_not_imported_for_an_entry_of_the_registry() -> None:
    code = (
        "import sys; from raysmooth.common.variant import Variant; from raysmooth.actors.models.classifiers import *; "
        "build_classifier(Variant.parse('digits_cnn')); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
