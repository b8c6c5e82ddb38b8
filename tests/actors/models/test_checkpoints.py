"""Checkpoints as training scripts write them: the same network from each, or a refusal that says what to write."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from raysmooth.actors.models.checkpoints import fits, state_dicts
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.weights import fingerprint, load_weights, read_weights, save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

torch.set_num_threads(1)


def digits(seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_classifier(Variant.parse("digits_cnn:width=4")).eval()


def prefixed(prefix: str, module: torch.nn.Module | None = None) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in (module or digits(1)).state_dict().items()}


def wrapped(*around: str) -> dict[str, torch.Tensor]:
    """The keys of a module that has each of its children wrapped too, as FSDP does."""
    return {
        ".".join([*around, *(name for part in key.split(".") for name in (part, "_fsdp_wrapped_module"))][:-1]): tensor
        for key, tensor in digits(1).state_dict().items()
    }


class Normalisation(torch.nn.Module):
    def __init__(self, mean: list[float], deviation: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(deviation).view(-1, 1, 1))


LAYOUTS: dict[str, Callable[[], Any]] = {
    **{key: lambda key=key: {key: prefixed(""), "acc": 91.2, "epoch": 3} for key in (
        "net", "model", "model_state", "network", "weights", "state_dict_ema", "ema", "anything",
    )},
    "numpy numbers": lambda: {"state_dict": prefixed(""), "acc": np.float64(0.9), "best": np.float32(0.5),
                              "epoch": np.int64(3), "done": np.bool_(True)},
    "argparse settings": lambda: {"state_dict": prefixed(""), "args": argparse.Namespace(lr=0.1, sigma=0.25)},
    "paths, arrays and states beside it": lambda: {
        "model": prefixed(""), "args": argparse.Namespace(out=Path("runs")), "names": np.array(["a", "b"]),
        "random": np.random.RandomState(0).get_state(), "hits": np.arange(3.0),
    },
    "an optimizer beside it": lambda: {"model": prefixed(""), "optimizer": torch.optim.Adam(
        digits().parameters()).state_dict()},
    "torch.compile": lambda: prefixed("_orig_mod."),
    "DataParallel of torch.compile": lambda: prefixed("module._orig_mod."),
    "torch.compile of DataParallel": lambda: {"net": prefixed("_orig_mod.module.")},
    "FSDP": lambda: wrapped("_fsdp_wrapped_module"),
    "Lightning": lambda: {"state_dict": prefixed("model."), "pytorch-lightning_version": "2.5.0", "epoch": 3},
    "Lightning, another name": lambda: {"state_dict": prefixed("net."), "hyper_parameters": {"lr": 0.1}},
    "a prefix of its own": lambda: prefixed("backbone.body."),
    "averaged (SWA)": lambda: AveragedModel(digits(1)).state_dict(),
    "nested": lambda: {"checkpoint": {"student": {"state_dict": prefixed("module.")}}, "epoch": 3},
    "an epoch and a name in it": lambda: {**prefixed(""), "epoch": 3, "arch": "mine"},
    "measures beside it": lambda: {"model": prefixed(""), "best": torch.tensor(0.9), "loss": torch.tensor(0.1)},
    "the same twice": lambda: {"model": prefixed(""), "model_ema": prefixed("module.")},
    "of another network too": lambda: {"teacher": digits_of_width_8(), "student": prefixed("")},
    "double precision": lambda: {key: value.double() for key, value in prefixed("").items()},
}  # fmt: skip


def digits_of_width_8() -> dict[str, torch.Tensor]:
    return dict(build_classifier(Variant.parse("digits_cnn:width=8")).state_dict())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_network(layout: str, tmp_path: Path) -> None:
    torch.save(LAYOUTS[layout](), tmp_path / "c.pth")
    fresh = digits(2)
    load_weights(fresh, read_weights(tmp_path / "c.pth"), "c.pth")
    assert fingerprint(fresh) == fingerprint(digits(1))


@pytest.mark.parametrize(("first", "second"), [("model", "model_ema"), ("state_dict", "state_dict_ema"), ("a", "b.c")])
def test_of_several_that_fit_the_user_chooses(first: str, second: str, tmp_path: Path) -> None:
    outer, _, inner = second.partition(".")
    other = prefixed("module.", digits(5))
    torch.save({first: prefixed(""), outer: {inner: other} if inner else other, "epoch": 1}, tmp_path / "c.pth")
    path = str(tmp_path / "c.pth")
    fresh = digits(2)
    with pytest.raises(RaysmoothError) as refusal:
        load_weights(fresh, read_weights(path), path)
    assert f"write {path}#{first} or {path}#{second}" in str(refusal.value)
    for place, seed in ((first, 1), (second, 5)):
        load_weights(fresh, read_weights(f"{path}#{place}"), path)
        assert fingerprint(fresh) == fingerprint(digits(seed))
    with pytest.raises(RaysmoothError, match=rf"#{first}x: the file has no such state dict: did you mean '{first}'\?"):
        read_weights(f"{path}#{first}x")


def test_two_networks_in_one_state_dict(tmp_path: Path) -> None:
    state = prefixed("model.") | prefixed("ema_model.", digits(5))
    torch.save({"state_dict": state}, tmp_path / "c.ckpt")
    path, fresh = str(tmp_path / "c.ckpt"), digits(2)
    with pytest.raises(RaysmoothError, match="has unexpected ema_model"):
        load_weights(fresh, read_weights(path), path)
    load_weights(fresh, read_weights(f"{path}#state_dict.ema_model"), path)
    assert fingerprint(fresh) == fingerprint(digits(5))


def test_a_registered_normalisation_is_the_normalisation(tmp_path: Path) -> None:
    """Of the file, unless the user says otherwise."""
    whole = torch.nn.Sequential(Normalisation([0.3], [0.15]), digits(1))
    torch.save({"net": whole.state_dict()}, tmp_path / "c.pth")
    spec = BaseClassifierSpec("digits_cnn:width=4", str(tmp_path / "c.pth"))
    assert load_base_classifier(spec, torch.device("cpu")).spec.preprocess == "0.3/0.15"
    said = BaseClassifierSpec("digits_cnn:width=4", str(tmp_path / "c.pth"), "none")
    loaded = load_base_classifier(said, torch.device("cpu"))
    assert (loaded.spec.preprocess, loaded.preprocess_from) == (
        "none",
        "--preprocess, though the weights have 0.3/0.15",
    )
    same = BaseClassifierSpec("digits_cnn:width=4", str(tmp_path / "c.pth"), "0.30/0.15")
    assert load_base_classifier(same, torch.device("cpu")).preprocess_from == "--preprocess"
    (fit,) = fits(digits().state_dict(), whole.state_dict())
    assert (fit.prefix, fit.normalisation) == ("1.", ((pytest.approx(0.3),), (pytest.approx(0.15),)))


def test_other_tensors_beside_the_network_are_not_overlooked(tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed("model.") | {"loss.weight": torch.ones(10)}}, tmp_path / "c.ckpt")
    path = str(tmp_path / "c.ckpt")
    with pytest.raises(RaysmoothError, match=r"has unexpected loss\.weight") as refusal:
        load_weights(digits(), read_weights(path), path)
    assert str(refusal.value).endswith(f"write {path}#state_dict.model for the part that fits")
    fresh = digits(2)
    load_weights(fresh, read_weights(f"{path}#state_dict.model"), path)
    assert fingerprint(fresh) == fingerprint(digits(1))


def test_integers_are_no_weights(tmp_path: Path) -> None:
    state = {key: (value * 100).to(torch.int8) for key, value in prefixed("").items()}
    torch.save(state, tmp_path / "all.pth")
    with pytest.raises(RaysmoothError, match="no state dict"):
        read_weights(tmp_path / "all.pth")
    first = next(iter(state))
    torch.save({**prefixed(""), first: state[first]}, tmp_path / "one.pth")
    with pytest.raises(RaysmoothError, match=rf"has {first} of int8, no floating-point numbers"):
        load_weights(digits(), read_weights(tmp_path / "one.pth"), "one.pth")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tensor: tensor.to_sparse(), "sparse"),
        (lambda tensor: tensor.to("meta"), "meta"),
    ],
)
def test_tensors_without_numbers_in_memory_are_no_weights(change: Any, expected: str, tmp_path: Path) -> None:
    state = prefixed("")
    first = next(iter(state))
    torch.save({**state, first: change(state[first])}, tmp_path / "one.pth")
    with pytest.raises(RaysmoothError) as refusal:
        read_weights(tmp_path / "one.pth")
    assert f"{first} is a {expected} tensor: save plain ones" in str(refusal.value)


def test_a_truncated_file_is_called_corrupt(tmp_path: Path) -> None:
    torch.save(prefixed(""), tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-300])
    with pytest.raises(RaysmoothError, match=r"cut\.pth is corrupt or not a weights file: fetch or save it again"):
        read_weights(tmp_path / "cut.pth")


@pytest.mark.filterwarnings("ignore:`torch.jit")  # which is how such files are made
def test_programs_are_named_as_what_they_are(tmp_path: Path) -> None:
    example = torch.zeros(1, 1, 8, 8)
    torch.export.save(torch.export.export(digits(), (example,)), tmp_path / "c.pt2")
    with pytest.raises(RaysmoothError, match=r"c\.pt2 is an exported program \(torch\.export\), a program"):
        read_weights(tmp_path / "c.pt2")
    torch.jit.trace(digits(), example).save(str(tmp_path / "c.pt"))
    with pytest.raises(RaysmoothError, match=r"c\.pt is a TorchScript archive, .* \(or save model\.state_dict"):
        read_weights(tmp_path / "c.pt")
    torch.save(digits(), tmp_path / "whole.pt")
    with pytest.raises(RaysmoothError, match=r"whole\.pt is refused: it would run code"):
        read_weights(tmp_path / "whole.pt")


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        ("objective", {"a": 1}, "a text"),
        ("preprocess", ["0.3/0.1"], "a text"),
        ("architecture", "x\ny", "a text"),
        ("architecture", "x" * 1001, "a text"),
        ("sigma", "0.25", "a number"),
        ("sigma", -1, "a number above 0"),
        ("noise", 3, "a text"),
    ],
)
def test_cards_with_odd_entries_are_refused(entry: str, value: Any, expected: str, tmp_path: Path) -> None:
    save_weights(tmp_path / "c.safetensors", digits(), {entry: value})
    with pytest.raises(RaysmoothError) as refusal:
        read_weights(tmp_path / "c.safetensors")
    assert f"its card: {entry} is " in str(refusal.value)
    assert f", expected {expected}" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_keys_are_printed_as_one_line(tmp_path: Path) -> None:
    torch.save({"a\nb\x1b[31m": torch.ones(1)}, tmp_path / "c.pth")
    with pytest.raises(RaysmoothError) as refusal:
        load_weights(digits(), read_weights(tmp_path / "c.pth"), "c.pth")
    assert str(refusal.value).isprintable()


def test_state_dicts_are_found_at_any_place_and_optimizers_are_none() -> None:
    state = {"w": torch.ones(1)}
    content = {"a": {"b": state}, "optimizer": {"exp_avg": state}, "c": state, "d": {"e": {"f": {"g": state}}}, "h": 1}
    assert [place for place, _ in state_dicts(content)] == ["a.b", "c"]
    assert [place for place, _ in state_dicts(state)] == [""]
    assert not list(state_dicts({}))
    assert not list(state_dicts([state]))


def test_a_normalisation_of_pixels_to_255_is_refused_with_that_of_pixels_to_1(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(Normalisation([127.5], [51.0]), digits(1)).state_dict(), tmp_path / "c.pth")
    spec = BaseClassifierSpec("digits_cnn:width=4", str(tmp_path / "c.pth"))
    with pytest.raises(RaysmoothError, match=r"by 127\.5/51, for pixels .* write --preprocess 0\.5/0\.2$"):
        load_base_classifier(spec, torch.device("cpu"))
    said = BaseClassifierSpec("digits_cnn:width=4", str(tmp_path / "c.pth"), "0.5/0.2")
    assert load_base_classifier(said, torch.device("cpu")).spec.preprocess == "0.5/0.2"


def test_the_lenet_of_the_consistency_supplement(tmp_path: Path) -> None:
    """Saved there as Sequential(normalisation without tensors, LeNet) in DataParallel."""
    shapes = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (10, 500)}
    state = {f"1.{layer}.weight": torch.rand(shape) for layer, shape in shapes.items()}
    state |= {f"1.{layer}.bias": torch.rand(shape[0]) for layer, shape in shapes.items()}
    torch.save({"epoch": 90, "arch": "lenet", "state_dict": state, "optimizer": {"state": {}}}, tmp_path / "c.pth.tar")
    network = build_classifier(Variant.parse("lenet")).eval()
    load_weights(network, read_weights(tmp_path / "c.pth.tar"), "c.pth.tar")
    batch = torch.rand(2, 1, 28, 28)
    x = batch
    for layer in ("conv1", "conv2"):
        x = torch.nn.functional.conv2d(x, state[f"1.{layer}.weight"], state[f"1.{layer}.bias"])
        x = torch.nn.functional.max_pool2d(x.relu(), 2)
    x = torch.nn.functional.linear(x.flatten(1), state["1.fc1.weight"], state["1.fc1.bias"]).relu()
    expected = torch.nn.functional.linear(x, state["1.fc2.weight"], state["1.fc2.bias"])
    with torch.no_grad():
        torch.testing.assert_close(network(batch), expected)


@pytest.mark.parametrize(
    ("kind", "alter"),
    [
        ("sparse", lambda tensor: tensor.to_sparse()),
        ("quantized", lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)),
        ("complex", lambda tensor: tensor.to(torch.complex64)),
        ("meta", lambda tensor: tensor.to("meta")),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of torch, that it will give up quantized tensors
def test_tensors_that_no_network_is_made_of_are_named(kind: str, alter: Callable[..., Any], tmp_path: Path) -> None:
    state = prefixed("")
    torch.save({"net": {**state, "7.bias": alter(state["7.bias"])}}, tmp_path / "c.pth")
    with pytest.raises(RaysmoothError, match=rf"c\.pth: 7\.bias is a {kind} tensor: save plain ones"):
        read_weights(tmp_path / "c.pth")


def test_a_damaged_archive_is_corrupt(tmp_path: Path) -> None:
    """Zipfile finds its end and then no beginning, or a member of a version that it does not know."""
    torch.save(prefixed(""), tmp_path / "c.pth")
    content = (tmp_path / "c.pth").read_bytes()
    directory = content.index(b"PK\x01\x02")
    version = content[: directory + 6] + b"\xff" * 8 + content[directory + 14 :]
    for damaged in (content[2000:], content[:directory] + bytes(64) + content[directory + 64 :], version):
        (tmp_path / "c.pth").write_bytes(damaged)
        with pytest.raises(RaysmoothError, match="is corrupt or not a weights file"):
            read_weights(tmp_path / "c.pth")
