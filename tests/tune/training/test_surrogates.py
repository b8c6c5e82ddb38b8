"""Black-box training: denoisers trained through other classifiers than the protected one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from digits_trainings import classifier_settings, denoiser_settings, metrics, same_weights, stopped_after

import raysmooth.tune.training.denoiser_task
import raysmooth.tune.training.surrogates
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import CLASSIFIERS, build_classifier
from raysmooth.actors.models.loading import Loaded, load_base_classifier
from raysmooth.actors.models.weights import fingerprint, read_weights, save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.tune.training.surrogates import load_surrogates
from raysmooth.tune.training.train import train_classifier, train_denoiser

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Classifiers of several widths; the first is protected."""
    folder = tmp_path_factory.mktemp("classifiers")
    return [
        train_classifier(
            classifier_settings(
                folder / f"{seed}.safetensors", classifier=f"digits_cnn:width={width}", seed=seed, epochs=3
            ),
            show=False,
        )
        for seed, width in enumerate((16, 8, 12, 16))
    ]


def settings(out: Path, protected: Path | None, surrogates: list[Path], /, **values: Any) -> Any:
    common = {"objective": "stab", "recipe": "digits-stab+mse", "epochs": 2, "max": 200, "batch_size": 26}
    named: dict[str, Any] = {"surrogates": [str(path) for path in surrogates]}
    if protected is not None:
        named |= {"classifier": "digits_cnn:width=16"}
    return denoiser_settings(out, protected, **(common | named | values))


def fingerprint_of(path: Path) -> str:
    network = build_classifier(Variant.parse(read_weights(path).card["architecture"]))
    network.load_state_dict(read_weights(path).state_dict)
    return fingerprint(network)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, torch.nn.Module]]:
    """The file of each classifier through which gradients are to flow, call by call; and the classifiers by file."""
    made: list[str] = []
    networks: dict[str, torch.nn.Module] = {}

    def spy(spec: BaseClassifierSpec, device: torch.device) -> Loaded:
        loaded = load_base_classifier(spec, device)
        name = Path(str(spec.classifier_weights)).name
        networks[name] = loaded.model.classifier

        def note(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
            if inputs[0].requires_grad:
                made.append(name)

        loaded.model.classifier.register_forward_pre_hook(note)
        return loaded

    for module in (raysmooth.tune.training.surrogates, raysmooth.tune.training.denoiser_task):
        monkeypatch.setattr(module, "load_base_classifier", spy)
    return made, networks


def test_surrogates_are_taken_in_turn_and_the_protected_classifier_never(
    classifiers: list[Path], calls: tuple[list[str], dict[str, torch.nn.Module]], tmp_path: Path
) -> None:
    protected, *surrogates = classifiers
    out = train_denoiser(settings(tmp_path / "d.safetensors", protected, surrogates), show=False)
    made, networks = calls
    names = [path.name for path in surrogates]
    tried, trained = made[:3], made[3:]
    assert tried == names
    assert trained == (names * 5)[:14]  # 2 epochs of 7 steps: the turn goes on from one epoch to the next
    assert networks.keys() == {path.name for path in classifiers}
    for path in classifiers:
        network = networks[path.name]
        assert fingerprint(network) == fingerprint_of(path)
        assert not any(module.training for module in network.modules())
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())

    card = read_weights(out).card
    assert card["access"] == "black-box"
    architectures = [parent["architecture"] for parent in card["parents"]["surrogates"]]
    assert architectures == ["digits_cnn:width=8", "digits_cnn:width=12", "digits_cnn:width=16"]
    assert card["parents"]["init_weights"] is None
    assert card["parents"]["classifier"]["fingerprint"] == fingerprint_of(protected)
    assert [parent["fingerprint"] for parent in card["parents"]["surrogates"]] == [
        fingerprint_of(p) for p in surrogates
    ]
    measured = {"psnr", "denoised_accuracy", "noisy_accuracy", "protected_accuracy"}
    assert card["metrics"].keys() == measured
    assert card["metrics"] == {name: metrics(out)[name].iloc[-1] for name in measured}
    assert card["best_by"] == "denoised_accuracy"


def test_the_protected_classifier_has_no_say(classifiers: list[Path], tmp_path: Path) -> None:
    """It is measured, where it is named, and changes neither a weight nor which epoch is the best."""
    protected, *surrogates = classifiers
    outs = [
        train_denoiser(settings(tmp_path / f"{name}.safetensors", named, surrogates[:2]), show=False)
        for name, named in (("named", protected), ("unnamed", None))
    ]
    assert same_weights(*outs)
    named, unnamed = (read_weights(out).card for out in outs)
    assert unnamed["metrics"].keys() == {"psnr", "denoised_accuracy"}
    assert {name: named["metrics"][name] for name in unnamed["metrics"]} == unnamed["metrics"]
    assert unnamed["parents"]["classifier"] is None
    assert unnamed["parents"]["surrogates"] == named["parents"]["surrogates"]


def test_the_measures_are_those_of_the_denoiser_before_each_classifier(classifiers: list[Path], tmp_path: Path) -> None:
    """The protected accuracy of a training through another classifier equals that of a training through itself."""
    protected, other, *_ = classifiers
    shallow = {"denoiser": "dncnn:channels=1,depth=2,width=4", "max": 200, "epochs": 1}  # without BatchNorm
    mse = train_denoiser(denoiser_settings(tmp_path / "mse.safetensors", protected, **shallow), show=False)
    white = read_weights(mse).card["metrics"]
    black = train_denoiser(
        settings(
            tmp_path / "d.safetensors", protected, [other], **shallow, init_weights=str(mse), learning_rate=1e-30,
            weight_decay=0.0, optimizer="sgd",
        ),
        show=False,
    )  # fmt: skip
    assert same_weights(mse, black)
    found = read_weights(black).card["metrics"]
    assert found["protected_accuracy"] == white["denoised_accuracy"] != found["denoised_accuracy"]
    assert {name: found[name] for name in ("psnr", "noisy_accuracy")} == {
        name: white[name] for name in ("psnr", "noisy_accuracy")
    }


def test_white_box_is_another_training(classifiers: list[Path], tmp_path: Path) -> None:
    protected, other, *_ = classifiers
    black = train_denoiser(settings(tmp_path / "b.safetensors", protected, [other]), show=False)
    white = train_denoiser(settings(tmp_path / "w.safetensors", protected, []), show=False)
    card = read_weights(white).card
    assert (card["access"], card["parents"]["surrogates"]) == ("white-box", [])
    assert card["metrics"].keys() == {"psnr", "denoised_accuracy", "noisy_accuracy"}
    assert not same_weights(black, white)


def test_a_stopped_black_box_training_goes_on_with_the_surrogate_whose_turn_it_is(
    classifiers: list[Path], tmp_path: Path
) -> None:
    _, one, other, _ = classifiers
    whole = train_denoiser(settings(tmp_path / "a.safetensors", None, [one, other], epochs=3), show=False)
    again = settings(tmp_path / "b.safetensors", None, [one, other], epochs=3)
    with stopped_after(1):  # 7 steps: the other surrogate starts the second epoch
        train_denoiser(again, show=False)
    assert same_weights(train_denoiser(again, show=False), whole)


def resaved(path: Path, copy: Path, card: dict[str, Any] | None = None) -> Path:
    network = build_classifier(Variant.parse(read_weights(path).card["architecture"]))
    network.load_state_dict(read_weights(path).state_dict)
    if copy.suffix == ".safetensors":
        save_weights(copy, network, card if card is not None else {})
    else:
        torch.save({f"module.{key}": tensor for key, tensor in network.state_dict().items()}, copy)
    return copy


@pytest.mark.parametrize("how", ["itself", "renamed", "a torch file", "built by the user"])
def test_the_protected_classifier_is_refused_as_a_surrogate_under_any_name(
    how: str, classifiers: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected, other, *_ = classifiers
    (tmp_path / "mine_too.py").write_text(
        "from raysmooth.actors.models.networks.digits import digits_cnn\n\ndef make():\n    return digits_cnn()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    make: dict[str, Callable[[], str]] = {
        "itself": lambda: str(protected),
        "renamed": lambda: str(
            resaved(protected, tmp_path / "other.safetensors", {"architecture": "digits_cnn", "preprocess": "0.1/0.9"})
        ),
        "a torch file": lambda: f"digits_cnn@{resaved(protected, tmp_path / 'other.pth')}",
        "built by the user": lambda: f"mine_too:make@{resaved(protected, tmp_path / 'other.safetensors')}",
    }
    written = make[how]()
    refused = settings(tmp_path / "d.safetensors", protected, [other], surrogates=[str(other), written])
    with pytest.raises(
        RaysmoothError, match=r"holds the protected classifier itself: leave it out.*white-box"
    ) as refusal:
        train_denoiser(refused, show=False)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "d.safetensors").exists()
    assert not (tmp_path / "d.training").exists()


def test_each_surrogate_once(classifiers: list[Path], tmp_path: Path) -> None:
    _, one, other, _ = classifiers
    copy = resaved(one, tmp_path / "copy.safetensors", {"architecture": "digits_cnn:width=8"})
    with pytest.raises(RaysmoothError, match=rf"copy\.safetensors holds the same weights as {one}: write each once"):
        load_surrogates([str(one), str(other), str(copy)], None, CPU)


def test_a_file_that_does_not_name_its_architecture(classifiers: list[Path], tmp_path: Path) -> None:
    bare = resaved(classifiers[1], tmp_path / "bare.pth")
    with pytest.raises(
        RaysmoothError, match=r"bare\.pth does not name its architecture: write ARCHITECTURE@.*bare\.pth$"
    ):
        load_surrogates([str(bare)], None, CPU)
    (found,) = load_surrogates([f"digits_cnn:width=8@{bare}"], None, CPU)
    assert found.spec.classifier == "digits_cnn:width=8"
    assert fingerprint(found.model.classifier) == fingerprint_of(classifiers[1])


def test_what_is_written_goes_before_the_card(classifiers: list[Path]) -> None:
    with pytest.raises(RaysmoothError, match=r"do not fit .* made for 'digits_cnn:width=8'"):
        load_surrogates([f"digits_cnn@{classifiers[1]}"], None, CPU)


def test_published_checkpoints_name_their_architecture(tmp_path: Path) -> None:
    network = build_classifier(Variant("cifar_resnet20"))
    state = {f"module.{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save({"arch": "cifar_resnet20", "epoch": 300, "state_dict": state}, tmp_path / "checkpoint.pth.tar")
    (found,) = load_surrogates([str(tmp_path / "checkpoint.pth.tar")], None, CPU)
    assert (found.spec.classifier, found.spec.preprocess) == ("cifar_resnet20", "cifar10")
    assert fingerprint(found.model.classifier) == fingerprint(network)
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
    torch.save({"arch": "resnet9000", "state_dict": state}, tmp_path / "unknown.pth")
    with pytest.raises(RaysmoothError, match=r"unknown\.pth does not name its architecture"):
        load_surrogates([str(tmp_path / "unknown.pth")], None, CPU)


def test_no_two_architectures_are_published_under_one_name() -> None:
    published = [entry.published for entry in CLASSIFIERS.values() if entry.published]
    assert len(set(published)) == len(published) > 10


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"surrogates": ["absent.safetensors"]}, r"absent\.safetensors does not exist"),
        ({"surrogates": ["a" * 300]}, r"aaa does not exist"),
        ({"surrogates": [f"{'a' * 300}:{'9' * 5000}"]}, r"9 does not exist"),
        ({"surrogates": ["digits_cn@absent.safetensors"]}, "did you mean 'digits_cnn'"),
        (
            {"objective": "mse"},
            "objective 'mse' does not use a classifier: leave --surrogates out, or write",
        ),
        (
            {"surrogates": [], "classifier": None, "classifier_weights": None},
            "needs --classifier and .*, or --surrogates",
        ),
    ],
)
def test_refusals(values: dict[str, Any], message: str, classifiers: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=message) as refusal:
        train_denoiser(settings(tmp_path / "d.safetensors", *classifiers[:1], classifiers[1:], **values), show=False)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_a_surrogate_for_other_images_is_refused_by_name(classifiers: list[Path], tmp_path: Path) -> None:
    save_weights(tmp_path / "l.safetensors", build_classifier(Variant("lenet")), {"architecture": "lenet"})
    with pytest.raises(RaysmoothError, match=r"classifier 'lenet' rejects images of shape \(1, 8, 8\)"):
        train_denoiser(settings(tmp_path / "d.safetensors", None, [tmp_path / "l.safetensors"]), show=False)


def test_a_surrogates_own_normalisation_is_that_on_its_card(tmp_path: Path) -> None:
    network = build_classifier(Variant("digits_cnn"))
    save_weights(tmp_path / "s.safetensors", network, {"architecture": "digits_cnn", "preprocess": "0.3/0.4"})
    (found,) = load_surrogates([str(tmp_path / "s.safetensors")], None, CPU)
    assert found.spec.preprocess == "0.3/0.4"
    assert found.model.normalize(torch.ones(1, 1, 1, 1)).item() == pytest.approx(0.7 / 0.4)
