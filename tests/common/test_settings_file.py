"""YAML files of settings: what is refused in one line, and how soon."""

import os
from pathlib import Path

import pytest
import yaml

from raysmooth.common import settings_file
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings_file import DEEPEST, LARGEST, read_yaml


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


def refusal(file: Path, content: str | bytes) -> str:
    """What is said of a file with this content, in one line."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RaysmoothError) as refused:
        read_yaml(file)
    line = str(refused.value)
    assert line.isprintable()
    assert len(line) < 500
    return line.removeprefix(str(file))


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max: 1\nsigma: 0.25\nmax: 2\n", ": line 3: max is there twice: write it once"),
        ("settings:\n  epochs: 1\n  lr: 1\n  epochs: 2\n", ": line 4: epochs is there twice: write it once"),
        ("batch-size: 1\nbatch_size: 2\n", ": batch_size is there twice: write it once"),
        ("max: " + "9" * 5000, ": line 1: a number of 5,000 characters"),
        ("max: 1" + ":59" * 200, ": line 1: a number of 601 characters"),
        ("a: " + "[" * 5000, f": line 1: nested more than {DEEPEST} levels deep"),
        ("a: " + "{b: " * 5000, f": line 1: nested more than {DEEPEST} levels deep"),
        (BOMB, ": more than 100,000 values, with those that its aliases stand for"),
        (MERGE_BOMB, ": more than 100,000 values, with those that its aliases stand for"),
        (CHAIN, f": line {DEEPEST + 1}: nested more than {DEEPEST} levels deep, through aliases"),
        ("a: &a [*a]", ": line 1: a value that contains itself"),
        ("a" * (LARGEST + 1), ": 1,048,577 bytes are too many for settings, at most 1,048,576"),
        (b"max: \xff\xfe", " is not YAML: 'utf-8' codec can't decode byte 0xff in position 5: invalid start byte"),
    ],
    ids=["key", "inner key", "dash", "integer", "base 60", "lists", "mappings", "aliases", "merges", "chain", "cycle",
         "size", "bytes"],
)  # fmt: skip
def test_refused(file: Path, content: str | bytes, expected: str) -> None:
    assert refusal(file, content) == expected


@pytest.mark.parametrize(
    "content",
    ["max: 1\0", "max: [1", "max: *other", "on: 2026-13-45", "max: !!int x", "max: !!binary é",
     "a: !!python/name:os.x", "{[1]: 2}", "--- 1\n--- 2"],
)  # fmt: skip
def test_what_yaml_refuses(file: Path, content: str) -> None:
    assert refusal(file, content).startswith(" is not YAML: ")


def test_only_regular_files(tmp_path: Path) -> None:
    """A pipe without a writer would be waited for forever."""
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        ("pipe", "not a regular file: write the settings into one"),
        ("", "a folder, not a file of settings"),
        ("none", "there is no such file: write the path of a YAML file of settings"),
    ):
        with pytest.raises(RaysmoothError, match=f"^{tmp_path / path}: {words}$"):
            read_yaml(tmp_path / path)
    with pytest.raises(RaysmoothError, match=r"^a\\x00b: no file has such a name$"):
        read_yaml("a\0b")


def test_what_settings_need_is_read(file: Path) -> None:
    """Also by PyYAML's own parser: libyaml refuses the colon in {denoiser: dncnn:depth=7}."""
    file.write_text("common: &common {n: 100, sigma: [0.25, 0.5]}\nruns:\n- {<<: *common, n: 10}\n- *common\n")
    common = {"n": 100, "sigma": [0.25, 0.5]}
    assert read_yaml(file) == {"common": common, "runs": [{**common, "n": 10}, common]}
    file.write_text("stage: {denoiser: dncnn:depth=7}\nfirst-key: é\n")
    assert read_yaml(file) == {"stage": {"denoiser": "dncnn:depth=7"}, "first_key": "é"}


def test_a_large_file_is_not_read_slowly(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> None:
        raise AssertionError("PyYAML's own parser was asked")

    monkeypatch.setattr(settings_file, "_SLOWLY", 10)
    if getattr(yaml, "CSafeLoader", None) is not None:
        monkeypatch.setattr(yaml, "SafeLoader", slow)
    assert refusal(file, "max: [1, 2, 3, 4").startswith(" is not YAML: ")
