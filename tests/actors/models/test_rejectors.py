"""Which draws are rejected, by hand, and which rejectors are refused."""

import math
from pathlib import Path
from typing import Any

import base_classifiers
import pytest
import torch
from rejector_weights import rejector_file, rejector_network
from torch import nn

from raysmooth.actors.models.base_classifier import INVALID, DenoisedClassifier, labels_of
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.loading import Loaded, check_image, load_base_classifier
from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.networks.rejector import RejectorNetwork
from raysmooth.actors.models.rejection_rules import NetworkRejector
from raysmooth.actors.models.rejector_loading import load_rejector
from raysmooth.actors.models.rejectors import REJECTORS, read_rejector
from raysmooth.actors.models.stage_features import Tap
from raysmooth.actors.models.weights import fingerprint, save_weights
from raysmooth.common.errors import RaysmoothError

CPU = torch.device("cpu")


class Fixed(nn.Module):
    """The same logits whatever the images."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, *_: object) -> torch.Tensor:
        return self.logits


def labels(rejector: str, logits: list[list[float]]) -> list[int]:
    """The labels of a classifier with these logits."""
    rule, _, _ = load_rejector(rejector, None)
    model = DenoisedClassifier(None, nn.Identity(), Fixed(torch.tensor(logits)), rule).eval()
    found = model(torch.zeros(len(logits), 1, 2, 2)).tolist()
    assert model.num_labels == 2 * len(logits[0])
    return found


def logs(*probabilities: float) -> list[float]:
    return [math.log(p) for p in probabilities]


# Of softmax 0.5, 0.25, 0.25: entropy 1.5 log 2 = 1.0397 nats. Of 0.75, 0.125, 0.125: 1.0613 log 2 = 0.7356.
UNSURE, SURE = logs(0.25, 0.5, 0.25), logs(0.125, 0.125, 0.75)


@pytest.mark.parametrize(
    ("rejector", "expected"),
    [
        ("confidence:threshold=0.6", [3 + 1, 2]),
        ("confidence:threshold=0.4", [1, 2]),
        ("confidence:threshold=0.8", [3 + 1, 3 + 2]),
        ("margin:threshold=0.3", [3 + 1, 2]),
        ("margin:threshold=0.2", [1, 2]),
        ("margin:threshold=0.7", [3 + 1, 3 + 2]),
        ("entropy:threshold=0.9", [3 + 1, 2]),
        ("entropy:threshold=1.04", [1, 2]),
        ("entropy:threshold=0.73", [3 + 1, 3 + 2]),
    ],
)
def test_rules_on_logits_by_hand(rejector: str, expected: list[int]) -> None:
    assert labels(rejector, [UNSURE, SURE]) == expected


@pytest.mark.parametrize(
    ("rejector", "logits", "expected"),
    [
        ("confidence:threshold=0.5", [0.0, 0.0], 0),  # at the threshold: kept, and the first of equal classes
        ("margin:threshold=0", [0.0, 0.0], 0),
        ("margin:threshold=0.001", [0.0, 0.0], 2),
        ("entropy:threshold=0", [1000.0, 0.0], 0),  # a softmax of exactly 1 and 0 has no entropy, and is a number
        ("entropy:threshold=0.6", [0.0, 0.0], 2),  # log 2 = 0.693
        ("confidence:threshold=1", [1000.0, 0.0], 0),
        ("confidence:threshold=0", [0.0, 0.0], 0),
    ],
)
def test_ties_and_ends(rejector: str, logits: list[float], expected: int) -> None:
    assert labels(rejector, [logits]) == [expected]


@pytest.mark.parametrize("rejector", ["confidence:threshold=1", "margin:threshold=1", "entropy:threshold=0"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_invalid_and_never_rejected(rejector: str, odd: float) -> None:
    assert labels(rejector, [[odd, 0.0, 0.0], UNSURE]) == [INVALID, 3 + 1]


def test_thresholds_are_compared_in_float32() -> None:
    rule, _, _ = load_rejector("confidence:threshold=0.6", None)
    assert rule is not None
    logits = torch.tensor([logs(0.6015625, 0.3984375)], dtype=torch.bfloat16)
    assert rule.excess(torch.zeros(1), logits, ()).dtype == torch.float32


def test_a_network_decides_by_the_head_of_the_class_and_nan_is_no_decision() -> None:
    network = rejector_network(digits_cnn(), (1, 8, 8))
    heads = torch.tensor([[2.0, -2.0, 0.0], [2.0, -2.0, 0.0], [2.0, 2.0, math.log(3)], [math.nan, 0.0, 1.0]])
    logits = torch.tensor([UNSURE, SURE, SURE, logs(0.5, 0.25, 0.25)])
    rejector: Any = NetworkRejector(network, 0.5)
    rejector.network = Fixed(heads)
    excess = rejector.excess(torch.zeros(4, 1, 8, 8), logits, ())
    # Head 1 says 0.119, head 2 0.5 (at the threshold), head 2 0.75, head 0 nothing.
    torch.testing.assert_close(excess, torch.tensor([-0.3808, 0, 0.25, math.nan]), atol=1e-4, rtol=0, equal_nan=True)
    assert labels_of(logits, 3, excess).tolist() == [1, 2, 3 + 2, INVALID]
    assert rejector(torch.zeros(4, 1, 8, 8), logits, ()).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("confidance:threshold=0.5", "unknown rejector 'confidance': did you mean 'confidence'"),
        ("confidence", "rejector 'confidence': option threshold is missing: write a number, 0 or more, at most 1"),
        ("confidence:threshold=60", "rejector 'confidence:threshold=60': option threshold=60: write a number"),
        ("margin:threshold=-0.1", "option threshold=-0.1: write a number, 0 or more, at most 1"),
        ("entropy:threshold=much", "option threshold=much: write a number, 0 or more"),
        ("entropy:limit=1", "rejector 'entropy' has no option 'limit'"),
        ("network:depth=34.5", "option depth=34.5: write a whole number"),
        ("network:width=0", "option width=0: write a whole number, 1 or more, at most 1024"),
    ],
)
def test_rejectors_that_are_not_are_refused_in_one_line(text: str, expected: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        read_rejector(text)
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_texts_are_canonical_and_rules_have_no_weights() -> None:
    assert load_rejector("none", None) == (None, "none", {})
    rule, text, card = load_rejector("confidence:threshold=0.60", None)
    assert (text, card) == ("confidence:threshold=0.6", {})
    assert rule is not None
    assert rule.taps == ()
    with pytest.raises(RaysmoothError, match="is a rule without weights"):
        load_rejector("confidence:threshold=0.6", "r.safetensors")
    with pytest.raises(RaysmoothError, match="without a rejector: write --rejector network"):
        load_rejector("none", "r.safetensors")
    with pytest.raises(RaysmoothError, match="rejector 'network' has no weights: give --rejector-weights FILE"):
        load_rejector("network", None)
    with pytest.raises(RaysmoothError, match=r"r\.safetensors does not exist"):
        load_rejector("network", "r.safetensors")


@pytest.fixture(scope="module")
def classifier() -> nn.Sequential:
    torch.manual_seed(0)
    return digits_cnn().eval().requires_grad_(False)


@pytest.fixture
def files(tmp_path: Path, classifier: nn.Module) -> dict[str, str]:
    """The weights of the classifier, and of a rejector for it."""
    save_weights(tmp_path / "c.safetensors", classifier, {})
    rejector = rejector_file(tmp_path / "r.safetensors", rejector_network(classifier, (1, 8, 8)), sigma=0.25)
    return {"classifier": str(tmp_path / "c.safetensors"), "rejector": rejector}


def loaded(files: dict[str, str], rejector: str = "network", classifier: str = "digits_cnn", **changes: Any) -> Loaded:
    given = {"rejector_weights": files["rejector"], "classifier_weights": files["classifier"], **changes}
    return load_base_classifier(BaseClassifierSpec(classifier, rejector=rejector, **given), CPU)


def test_a_trained_rejector_is_built_from_its_card(files: dict[str, str], classifier: nn.Sequential) -> None:
    found = loaded(files, "network:threshold=0.4")
    assert found.spec.rejector == "network:depth=10,threshold=0.4,width=4"
    network = rejector_network(classifier, (1, 8, 8))
    assert found.spec.rejector_fingerprint == fingerprint(network)
    assert found.rejector_card["sigma"] == 0.25
    pixels = torch.rand(50, 1, 8, 8)
    with torch.inference_mode():
        logits = classifier(pixels)
        features = [classifier[:1](pixels), classifier[:4](pixels), classifier[:6](pixels)]
        reject = network(pixels, features).sigmoid().gather(1, logits.argmax(1, keepdim=True))[:, 0] > 0.4
        expected = logits.argmax(dim=1) + 10 * reject
        assert torch.equal(found.model(pixels), expected)
    assert 0 < int(reject.sum()) < 50
    assert check_image(found, pixels[0]) == 10
    again = BaseClassifierSpec(**{**vars(found.spec), "rejector_fingerprint": "0" * 64})
    with pytest.raises(RaysmoothError, match=r"the rejector's weights on .* are not those that this run began with"):
        load_base_classifier(again, CPU)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, files: dict[str, str], classifier: nn.Module) -> None:
    network, path = rejector_network(classifier, (1, 8, 8)), tmp_path / "x.safetensors"

    def refused(expected: str, rejector: str = "network", **card: Any) -> None:
        save_weights(path, network, {**network.card, **card})
        with pytest.raises(RaysmoothError, match=expected) as refusal:
            loaded({**files, "rejector": str(path)}, rejector)
        assert "\n" not in str(refusal.value)
        assert str(path) in str(refusal.value)

    refused("do not fit RejectorNetwork: .* they were made for 'network:depth=10,width=4'", "network:width=8")
    refused("do not fit RejectorNetwork", num_classes=7)
    refused("do not fit RejectorNetwork", taps=network.card["taps"][:2])
    refused("are those of 'dncnn:depth=7': give weights of train rejector", architecture="dncnn:depth=7")
    refused("are those of 'network:::': give weights of train rejector", architecture="network:::")
    refused("are those of 'network:.*threshold=0.1': give", architecture="network:depth=10,width=4,threshold=0.1")
    refused("features of 4 x 4 are 32 at '2', and this one has others", taps=_moved(network.card["taps"], "2"))
    refused("features of 4 x 4 are 32 at '99', and this one has others", taps=_moved(network.card["taps"], "99"))
    network = RejectorNetwork([], 10, (1, 2, 2), 4, 10)
    refused("on which the classifier fails .*: give the rejector of this classifier")
    save_weights(path, network, {})
    with pytest.raises(RaysmoothError, match="its card: lacks the key architecture: give weights of train rejector"):
        loaded({**files, "rejector": str(path)})
    with pytest.raises(RaysmoothError, match=r"do not fit RejectorNetwork|lacks the key"):
        loaded({**files, "rejector": files["classifier"]})


def _moved(taps: list[dict[str, Any]], module: str) -> list[dict[str, Any]]:
    """`taps` with the second of them at another module."""
    return [{**tap, "module": module} if place == 1 else tap for place, tap in enumerate(taps)]


@pytest.mark.parametrize(
    "card",
    [
        {"architecture": "network:depth=1000000,width=4"},
        {"architecture": "network:depth=34,width=1024"},  # it fits no file, and would be 20 GB
        {"architecture": "network:depth=10,width=100000000"},
        {"architecture": "network:depth=10,width=4,threshold=7"},
        {"architecture": "network:depth=10,width=4,odd=1"},
        {"architecture": 7},
        {"num_classes": 10**12},
        {"num_classes": 10**6},
        {"num_classes": 0},
        {"image_shape": [1, 10**9, 10**9]},
        {"image_shape": [1, 8]},
        {"image_shape": "8x8"},
        {"taps": [{"module": "0", "call": 0, "channels": 10**9, "height": 8, "width": 8}]},
        {"taps": [{"module": "0", "call": 0, "channels": 90_000, "height": 8, "width": 8}]},
        {"taps": [{"module": "0", "call": -1, "channels": 16, "height": 8, "width": 8}]},
        {"taps": [{"module": "0"}]},
        {"taps": [{"module": "0", "call": 0, "channels": 16, "height": 8, "width": 8}] * 1000},
        {"taps": {"0": 1}},
        {"taps": None},
    ],
)
def test_hostile_cards_are_refused_before_they_fill_the_memory(
    tmp_path: Path, files: dict[str, str], classifier: nn.Module, card: dict[str, Any]
) -> None:
    path = rejector_file(tmp_path / "x.safetensors", rejector_network(classifier, (1, 8, 8)), **card)
    with pytest.raises(RaysmoothError) as refusal:
        loaded({**files, "rejector": path})
    assert "\n" not in str(refusal.value)


def test_a_classifier_that_answers_labels_is_refused_in_one_line() -> None:
    spec = BaseClassifierSpec("base_classifiers:Labels", rejector="confidence:threshold=0.5", trust_code=True)
    with pytest.raises(RaysmoothError, match="needs the classifier's logits, and this classifier answers labels") as no:
        check_image(load_base_classifier(spec, CPU), torch.rand(1, 8, 8))
    assert "\n" not in str(no.value)


def test_a_callable_that_is_no_module_has_no_features(files: dict[str, str]) -> None:
    given = {"classifier": "base_classifiers:Labels", "classifier_weights": None, "trust_code": True}
    with pytest.raises(RaysmoothError, match="returns no torch module, so that it has no features for a trained"):
        loaded(files, **given)


def test_own_modules_work_with_rules_and_networks(tmp_path: Path) -> None:
    network = rejector_network(base_classifiers.Linear(), (1, 8, 8))
    assert network.taps == ()  # no features of four dimensions: it looks at the image alone
    files = {"rejector": rejector_file(tmp_path / "r.safetensors", network), "classifier": ""}
    pixels = torch.rand(100, 1, 8, 8)
    with torch.inference_mode():
        expected = base_classifiers.Linear()(pixels).argmax(dim=1)
        for rejector, weights in (("network", files["rejector"]), ("margin:threshold=0.5", None)):
            own = {"classifier": "base_classifiers:Linear", "classifier_weights": None, "trust_code": True}
            found = loaded(files, rejector, rejector_weights=weights, **own).model(pixels)
            assert torch.equal(found % 10, expected)
            assert 0 < int((found >= 10).sum()) < 100


def test_another_number_of_classes_or_pixels_is_refused(files: dict[str, str], classifier: nn.Module) -> None:
    network = rejector_network(classifier, (1, 8, 8), classes=7)
    model = DenoisedClassifier(None, nn.Identity(), classifier, NetworkRejector(network)).eval()
    with pytest.raises(RaysmoothError, match="was made for 7 classes, the classifier has 10"):
        model(torch.zeros(2, 1, 8, 8))
    network = RejectorNetwork([], 10, (1, 28, 28), 2, 10).eval()
    with pytest.raises(RaysmoothError, match=r"was made for images of shape \(1, 28, 28\), not \(1, 8, 8\)"):
        network(torch.zeros(2, 1, 8, 8), [])


def test_sizes_of_the_network() -> None:
    taps = [Tap("a", 0, 3, 32, 32), Tap("b", 0, 5, 8, 8), Tap("c", 0, 7, 1, 1)]
    network = RejectorNetwork(taps, 10, (3, 32, 32), 16, 34)
    assert network.taps == (taps[0], taps[1])
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    # The stem, two in each of 16 blocks, and a projection where the number of channels changes: after every tap too.
    assert len(convolutions) == 1 + 2 * 16 + 3
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(128, 128), (128, 128), (128, 10)]
    assert network(torch.zeros(2, 3, 32, 32), [torch.zeros(2, 3, 32, 32), torch.zeros(2, 5, 8, 8)]).shape == (2, 10)
    large = RejectorNetwork([Tap("a", 0, 3, 16, 16)], 5, (3, 64 + 2, 64), 2, 10)
    assert [tap.height for tap in large.taps] == []  # 66 x 64 pixels leave the stem as 17 x 16
    assert large(torch.zeros(1, 3, 66, 64), []).shape == (1, 5)
    for odd in ({"depth": 50}, {"width": 0}, {"width": 2000}):
        with pytest.raises(RaysmoothError, match="no rejector network has"):
            RejectorNetwork([], 10, (1, 8, 8), **odd)


def test_every_rejector_says_when_it_rejects() -> None:
    assert [name for name, entry in REJECTORS.items() if entry.trained] == ["network"]
    assert all("threshold" in entry.summary for entry in REJECTORS.values())
