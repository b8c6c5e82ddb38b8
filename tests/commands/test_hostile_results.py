"""Every command that reads what others wrote, on a folder made to harm: nothing of it is executed, opened unannounced
or printed raw.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command import command
from forged import forge
from small_runs import certified

from raysmooth.actors.models import weights as weights_module
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant

CLASSIFIER = "digits_cnn:width=2"
RAW = "\x1b[31mred\nnext line\x07" + "y" * 3000
"""What no terminal, page or table may get."""

opened: list[str] = []
"""Paths that this process opened."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights and a real run of them."""
    home = tmp_path_factory.mktemp("drawn")
    torch.manual_seed(1)
    save_weights(home / "w.safetensors", build_classifier(Variant.parse(CLASSIFIER)), {})
    settings: dict[str, Any] = {"dataset": "digits", "sigma": 0.25, "max": 2, "n0": 10, "n": 40, "alpha": 0.1}
    certified(home / "out", **settings, classifier=CLASSIFIER, classifier_weights=str(home / "w.safetensors"))
    return home


@pytest.fixture
def home(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: a copy of that, and a module whose import leaves the file `executed`."""
    home = tmp_path / "home"
    shutil.copytree(drawn, home)
    module = "import pathlib\npathlib.Path('executed').touch()\n\ndef make(**options):\n    raise SystemExit(9)\n"
    (home / "evil_9b.py").write_text(module)
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    yield home
    assert not (home / "executed").exists()
    assert "evil_9b" not in sys.modules


def harmless(text: str) -> bool:
    control = re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    return not control and "y" * 201 not in text and "next line" not in text.split("\n")


def run_of(out: Path) -> str:
    (folder,) = (out / "runs").iterdir()
    return folder.name


def commands(out: str) -> list[list[str]]:
    certify = "certify --dry-run --dataset digits --sigma 0.25 --max 2 --n 40 --n0 10 --alpha 0.1"
    weights = ["--classifier", CLASSIFIER, "--classifier-weights", "none.safetensors"]
    return [
        ["report", out, "--table", "runs", "--format", "csv"],
        ["status", out],
        ["status", out, "--json"],
        ["recertify", out, "--alpha", "0.05"],
        ["recertify", out, "--memory"],
        ["show", out, "0"],
        [*certify.split(), *weights, "--out", out],
    ]


def written_by(out: Path) -> Iterator[tuple[str, str]]:
    for file in (out / "report").glob("*"):
        if file.suffix in (".md", ".tex", ".csv", ".html"):
            yield file.suffix, file.read_text()


NAMES = {
    "code": {"classifier": "evil_9b:make"},
    "code with options": {"classifier": "evil_9b:make:command=id > executed"},
    "system": {"classifier": "os:system:command=touch executed"},
    "raw": {"classifier": RAW, "dataset": RAW},
    "raw noise": {"noise": RAW},
    "no split": {"split": RAW},
    "html": {"classifier": "<script>alert(1)</script>"},
    "formula": {"dataset": "=cmd|'/C calc'!A0"},
    "huge network": {"classifier": "evil_9b:make:width=" + "9" * 900},
}


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("name", NAMES)
def test_names_in_results(name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All hashes, checksums and columns agree with them."""
    forge(home / "out", run_of(home / "out"), **NAMES[name])
    for arguments in commands("out"):
        code, out, err = command(capsys, *arguments)
        assert code in (0, 2), (arguments, err)
        assert harmless(out), (arguments, out)
        assert harmless(err), (arguments, err)
    for kind, text in written_by(home / "out"):
        assert harmless(text), kind
        assert kind != ".html" or "<script>alert(1)" not in text
        assert kind != ".csv" or not re.search(r"(^|,)\"?=cmd", text, re.MULTILINE)


SETTINGS = {
    "weights": {"classifier_weights": "SECRET"},
    "weights far away": {"classifier_weights": "../../../../../../../../SECRET"},
    "raw weights": {"classifier_weights": RAW},
    "a device": {"classifier_weights": "/dev/zero"},
    "data": {"data_root": "SECRET"},
    "raw data": {"data_root": RAW},
}


@pytest.fixture
def _watched(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Notes the paths that are opened, once."""
    if not getattr(sys, "_hostile_hook", False):  # a hook cannot be removed
        sys._hostile_hook = True  # type: ignore[attr-defined]
        sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    opened.clear()
    yield
    opened.clear()


@pytest.mark.parametrize("name", ["data_root", "classifier_weights"])
def test_paths_that_no_file_has(name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forge(home / "out", run_of(home / "out"), {name: "a\0b"})
    code, _, errors = command(capsys, "show", "out", "0")
    assert code == 2
    assert errors.splitlines()[-1].startswith("raysmooth: 'a\\x00b': control characters in a path")


@pytest.mark.usefixtures("_watched")
@pytest.mark.parametrize("name", SETTINGS)
def test_paths_in_results(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only `show`, and `recertify --memory` of data, read them: they name them first, and open weights that are not the
    run's for their hash alone.
    """
    secret = tmp_path / "elsewhere" / "secret.safetensors"
    secret.parent.mkdir()
    save_weights(secret, build_classifier(Variant.parse(CLASSIFIER)), {})  # of the right form, but not the run's
    settings = {key: value.replace("SECRET", str(secret)) for key, value in SETTINGS[name].items()}
    if name.endswith("far away"):
        settings = {key: os.path.relpath(secret) for key in settings}
    forge(home / "out", run_of(home / "out"), settings)
    parsed: list[str] = []
    read = weights_module._read_safetensors

    def noted(path: Path) -> object:
        parsed.append(os.path.realpath(path))
        return read(path)

    monkeypatch.setattr(weights_module, "_read_safetensors", noted)
    for arguments in commands("out"):
        opened.clear()
        code, out, err = command(capsys, *arguments)
        assert code in (0, 2), (arguments, err)
        assert harmless(out + err), (arguments, err)
        assert str(secret) not in parsed, arguments
        mine = [path for path in opened if os.path.realpath(path) == str(secret)]
        assert not mine or arguments[0] == "show" or "--memory" in arguments, arguments
        if mine:
            assert str(secret) in err or os.path.relpath(secret) in err
    if "weights" in settings and name.startswith("weights"):
        assert "is not the file of the classifier weights that run" in err


@pytest.mark.parametrize("source", ["recertified from ../../../etc", "recertified from ", "imported from " + RAW, RAW])
def test_sources_of_rows(source: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forge(home / "out", run_of(home / "out"), source=source)
    for arguments in commands("out"):
        code, out, err = command(capsys, *arguments)
        assert code in (0, 2), (arguments, err)
        assert harmless(out + err), arguments


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 10**6, b'{"phase": "drawing"}', b"null", b'{"a": 1e999}'])
def test_a_progress_record_decides_nothing(content: bytes, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(home / "out")
    file = home / "out/runs" / run / "progress.json"
    file.write_bytes(content)
    code, out, err = command(capsys, "status", "out")
    assert (code, err) == (0, "")
    assert "its progress is unknown" in " ".join(out.split())
    assert harmless(out)
    file.unlink()
    os.mkfifo(file)  # nothing waits for its writer
    code, out, _ = command(capsys, "status", "out", "--json")
    (found,) = json.loads(out)
    assert found["problem"].endswith("progress.json cannot be read (no regular file)")


@pytest.mark.processes
def test_weights_logs_and_settings_of_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = build_classifier(Variant.parse(CLASSIFIER))
    for place, card in enumerate(
        ({"architecture": "os:system:command=touch executed"}, {"architecture": "evil_9b:make"}, {"objective": RAW})
    ):
        save_weights(home / f"card{place}.safetensors", network, card)
    torch.save({RAW: torch.zeros(2), "a": {"b": RAW}}, home / "keys.pt")
    header = "idx\tlabel\tpredict\tradius\tcorrect\ttime\t" + RAW.replace("\n", " ")
    (home / "log.tsv").write_text(f"{header}\n0\t1\t1\t0.5\t1\t{RAW}\n")
    for name, value in {"classifier": "evil_9b:make", "dataset": RAW}.items():
        values = {"dataset": "digits", "sigma": 0.25, "classifier": CLASSIFIER, name: value}
        (home / f"{list(values).index(name)}.yaml").write_text(yaml.safe_dump(values))
    train = "train denoiser --dataset digits --sigma 0.25 --epochs 1 --denoiser dncnn --objective stab"
    certify = "certify --dry-run --dataset digits --sigma 0.25 --max 2 --classifier"
    imported = "import log.tsv --dataset cifar10 --classifier x --sigma 0.25 --denoiser none --out imported"
    lines = [
        *([*train.split(), "--out", "d.st", "--surrogates", f"card{place}.safetensors"] for place in range(3)),
        *([*certify.split(), CLASSIFIER, "--classifier-weights", file] for file in ("card2.safetensors", "keys.pt")),
        *(["certify", "--dry-run", "--config", file.name] for file in home.glob("*.yaml")),
        imported.split(),
    ]
    for arguments in lines:
        code, out, err = command(capsys, *arguments)
        assert code == 2, (arguments, out, err)
        assert harmless(out + err), (arguments, err)
        assert err.count("\n") == 1, err
