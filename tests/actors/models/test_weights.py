import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import Weights, fingerprint, load_weights, read_weights, save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

torch.set_num_threads(1)


def resnet20(seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_classifier(Variant.parse("cifar_resnet20")).eval()


def prefixed(module: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in module.state_dict().items()}


LAYOUTS = {
    "bare": lambda m: m.state_dict(),
    "published classifier": lambda m: {"epoch": 90, "arch": "cifar_resnet20", "state_dict": prefixed(m, "1."),
                                       "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
    "published ImageNet": lambda m: {"arch": "cifar_resnet20", "state_dict": prefixed(m, "1.module.")},
    "DataParallel": lambda m: {"state_dict": prefixed(m, "module.")},
    "DataParallel around all": lambda m: {"state_dict": prefixed(m, "module.1.")},
    "model": lambda m: {"model": prefixed(m, "")},
    "model_state_dict": lambda m: {"model_state_dict": prefixed(m, ""), "loss": 0.3},
    "no num_batches_tracked": lambda m: {k: v for k, v in m.state_dict().items() if "num_batches" not in k},
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_classifier(layout: str, legacy: bool, tmp_path: Path) -> None:
    trained, fresh = resnet20(1), resnet20(2)
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(LAYOUTS[layout](trained), path, _use_new_zipfile_serialization=not legacy)
    weights = read_weights(path)
    load_weights(fresh, weights, str(path))
    batch = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(fresh(batch), trained(batch))
    assert fingerprint(fresh) == fingerprint(trained) != fingerprint(resnet20(3))
    assert weights.card == ({"arch": "cifar_resnet20"} if "published" in layout else {})


def test_safetensors_with_and_without_card(tmp_path: Path) -> None:
    trained = resnet20(1)
    card = {"architecture": "cifar_resnet20", "metrics": {"accuracy": 0.5}, "seed": 3}
    save_weights(tmp_path / "new" / "a.safetensors", trained, card)
    save_file(trained.state_dict(), tmp_path / "b.safetensors")
    save_file(trained.state_dict(), tmp_path / "no_suffix", metadata={"card": "of another tool"})
    for name, expected in (("new/a.safetensors", card), ("b.safetensors", {}), ("no_suffix", {})):
        weights, fresh = read_weights(tmp_path / name), resnet20(2)
        load_weights(fresh, weights, name)
        assert weights.card == expected
        assert fingerprint(fresh) == fingerprint(trained)
    assert os.listdir(tmp_path / "new") == ["a.safetensors"]


def test_saves_tensors_that_safetensors_alone_would_refuse(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    module[1].weight = module[0].weight  # shared
    module.register_buffer("strided", torch.arange(4.0).view(2, 2).T)
    save_weights(tmp_path / "w.safetensors", module, {})
    assert read_weights(tmp_path / "w.safetensors").state_dict["strided"].tolist() == [[0.0, 2.0], [1.0, 3.0]]


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(RaysmoothError, match="cannot be written"):
        save_weights(tmp_path / "taken.safetensors", torch.nn.Linear(1, 1), {})
    assert os.listdir(tmp_path) == ["taken.safetensors"]


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("writer", ["zip", "legacy", "plain pickle"])
def test_a_pickle_that_would_run_code_is_refused(writer: str, protocol: int, tmp_path: Path) -> None:
    path, fuse = tmp_path / "w.pth", tmp_path / "executed"
    saved = {"state_dict": torch.nn.Linear(1, 1).state_dict(), "more": Bomb(fuse)}
    if writer == "plain pickle":
        path.write_bytes(pickle.dumps(saved, protocol=protocol))
    else:
        torch.save(saved, path, pickle_protocol=protocol, _use_new_zipfile_serialization=writer == "zip")
    with pytest.raises(RaysmoothError, match="it would run code") as refusal:
        read_weights(path)
    assert not fuse.exists()
    assert str(path) in str(refusal.value)
    assert "re-save its state_dict with safetensors or torch.save(model.state_dict())" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_pickled_module_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "w.pth")
    with pytest.raises(RaysmoothError, match=r"it would run code \(torch.nn.modules.linear.Linear\)"):
        read_weights(tmp_path / "w.pth")


def truncate(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.99])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_a_truncated_file_is_refused(kind: str, keep: float, tmp_path: Path) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_weights(path, resnet20(), {})
    else:
        torch.save(resnet20().state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    truncate(path, keep)
    with pytest.raises(RaysmoothError, match="is corrupt or not a") as refusal:
        read_weights(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({}, "holds no tensors"),
        ({"arch": "cifar_resnet20"}, r"holds no state dict \(arch\)"),
        ([torch.zeros(1)], "holds a list"),
        (torch.zeros(1), "holds a Tensor"),
        ({"state_dict": OrderedDict(a=1, b=2)}, r"holds no state dict \(state_dict\)"),
    ],
)
def test_a_file_without_weights_is_refused(saved: object, message: str, tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "w.pth")
    with pytest.raises(RaysmoothError, match=message):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"absent\.pth does not exist"):
        read_weights(tmp_path / "absent.pth")
    with pytest.raises(RaysmoothError, match="is a folder"):
        read_weights(tmp_path)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "w.pth").write_bytes(b"x" * 20)
    monkeypatch.setattr(torch, "load", deny)
    with pytest.raises(RaysmoothError, match="cannot be read: Permission denied"):
        read_weights(tmp_path / "w.pth")


def test_mismatched_keys_are_named_with_the_architecture_of_the_file() -> None:
    state = {"conv.weight": torch.zeros(1), "fc.weight": torch.zeros(10, 3), "fc.bias": torch.zeros(10)}
    with pytest.raises(RaysmoothError) as refusal:
        load_weights(resnet20(), Weights({"": state}, {"arch": "VGG16"}), "w.pth")
    message = str(refusal.value)
    assert "weights w.pth do not fit CifarResNet: file misses conv1.weight, bn1.weight, bn1.bias and " in message
    assert "has unexpected conv.weight; has fc.weight 10x3 where the network has 10x64" in message
    assert message.endswith("they were made for 'VGG16'")
    assert "\n" not in message


def test_only_num_batches_tracked_may_be_missing() -> None:
    state = {k: v for k, v in resnet20().state_dict().items() if not k.endswith("bn1.running_mean")}
    with pytest.raises(RaysmoothError, match=r"misses bn1\.running_mean, "):
        load_weights(resnet20(), Weights({"": state}), "w.pth")


def test_a_prefix_that_the_module_has_itself_is_kept() -> None:
    def network() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 2))

    trained, fresh = network(), network()
    load_weights(fresh, Weights({"": prefixed(trained, "module.")}), "w.pth")
    assert fingerprint(fresh) == fingerprint(trained)


def test_a_prefix_that_not_all_keys_have_is_kept() -> None:
    state = {"1.weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    with pytest.raises(RaysmoothError, match=r"misses weight; has unexpected 1\.weight"):
        load_weights(torch.nn.Linear(2, 2), Weights({"": state}), "w.pth")


def test_fingerprint_is_of_values_shapes_types_and_keys() -> None:
    def of(**tensors: torch.Tensor) -> str:
        module = torch.nn.Module()
        for key, tensor in tensors.items():
            module.register_buffer(key, tensor)
        return fingerprint(module)

    x = torch.arange(24.0).view(1, 2, 3, 4)
    assert of(a=x, b=x) == of(b=x, a=x)
    assert of(a=x) == of(a=x.contiguous(memory_format=torch.channels_last))
    others = [
        of(a=x),
        of(b=x),
        of(a=x.view(1, 2, 4, 3)),
        of(a=x.to(torch.bfloat16)),
        of(a=x + 1),
        of(a=x[0, 0, 0, 0]),
    ]
    assert len(set(others)) == len(others)


def test_fingerprint_is_the_documented_hash() -> None:
    import hashlib

    module = torch.nn.Module()
    module.register_buffer("a", torch.tensor([1.0, 2.0]))
    expected = hashlib.sha256(b"a\0torch.float32\0(2,)\0" + bytes.fromhex("0000803f00000040"))
    assert fingerprint(module) == expected.hexdigest()


def test_the_card_is_plain_json(tmp_path: Path) -> None:
    from safetensors import safe_open

    save_weights(tmp_path / "w.safetensors", torch.nn.Linear(1, 1), {"sigma": 0.25})
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["card"]) == {"sigma": 0.25}
