"""Modules of the user's own, found where they lie. (tests/actors/models/test_classifiers.py builds them.)"""

import hashlib
import sys
from pathlib import Path

import pytest

from raysmooth.actors.models.own_callable import build_own, make_importable, source_digest
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(sys, "path", ["first", *sys.path])
    return sys.path


def test_folders_come_last_and_once(own_path: list[str]) -> None:
    before = list(own_path)
    make_importable(["one", "first", "two"])
    make_importable(("two",))
    assert own_path == [*before, "one", "two"]
    make_importable(())
    assert own_path == [*before, "one", "two"]


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("network", "is an object of type torch.nn.modules.activation.ReLU: give the name of a function that returns"),
        (
            "numbers",
            "is an object of type tuple: give the name of a function that returns the classifier, such as make ",
        ),
        ("classify", "missing 1 required positional argument: 'batch' (options: batch): give the name of a function"),
        ("nothing", "returns a NoneType: it must return a torch module or another callable"),
        ("broken", "cannot be built: no such size"),
        ("ended", "cannot be built: it ends the program (SystemExit: 0)"),
    ],
)
def test_what_makes_no_classifier_is_refused(
    name: str, refusal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_networks_9g.py").write_text(
        "import torch\nnetwork = torch.nn.ReLU()\nnumbers = (1, 2)\ndef classify(batch): return batch\n"
        "def nothing(): pass\ndef broken(): raise TypeError('no such size')\ndef ended(): raise SystemExit(0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_networks_9g", raising=False)
    with pytest.raises(RaysmoothError) as refused:
        build_own(Variant.parse(f"own_networks_9g:{name}"))
    assert refusal in str(refused.value)
    assert str(refused.value).count("give the name") == ("give the name" in refusal)
    assert "\n" not in str(refused.value)


def test_a_script_that_ends_the_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_networks_9h.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RaysmoothError, match=r"importing 'own_networks_9h' failed \(SystemExit: 0\): give a module"):
        build_own(Variant.parse("own_networks_9h:make"))


def test_without_folders_it_is_the_working_directory(
    own_path: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_networks_9f.py").write_text("def make(k=2):\n    return lambda batch: batch[:, :k]\n")
    monkeypatch.chdir(tmp_path)
    make_importable()
    make_importable()
    assert own_path.count(str(tmp_path)) == 1
    assert own_path[-1] == str(tmp_path)
    architecture = Variant.parse("own_networks_9f:make:k=3")
    assert build_own(architecture).__closure__[0].cell_contents == 3
    source = (tmp_path / "own_networks_9f.py").read_bytes()
    assert source_digest(architecture) == hashlib.sha256(source).hexdigest()
    assert source_digest(architecture, "tensors") == hashlib.sha256(b"tensors" + source).hexdigest()
    assert source_digest(Variant.parse("lenet")) is None
