"""Files of `--classes` and `--label-map`: names, one a line, YAML, JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

from fuzz.case import Defect, Expected, Kind, Outcome, Play, Request
from fuzz.damage import damage, replaced_by_other
from fuzz.kinds.class_folders import NETWORK, WEIGHTS, build_folders
from fuzz.kinds.image_files import FOLDER
from fuzz.sandbox import CANARY
from fuzz.values import FORGED, LONG, NUMBERS, TEXTS, altered_tree, json_text
from raysmooth.pipeline.data.class_files import read_classes, read_label_map
from raysmooth.pipeline.data.datasets import open_dataset

NAMES = ("class0", "class1")
"""Two folders with two images each."""


def play_classes(rng: Random) -> Play:
    flag = rng.choice(("--classes", "--label-map"))
    file = Path(f"names.{rng.choice(('txt', 'yaml', 'json', 'yml', 'csv', 'none'))}")
    altered, expected = rng.choice(_ALTERATIONS)(rng, file, flag)
    request: Request = _certify(flag, file) if rng.random() < 0.3 else _read(flag, file)
    return Play(f"{flag} {file}: {altered}", request, expected)


def _certify(flag: str, file: Path) -> list[str]:
    return [
        "certify", "--dataset", "folder", "--data-root", str(FOLDER), "--sigma", "0.25", "--n", "40", "--n0", "10",
        "--alpha", "0.1", "--out", "out", "--classifier", NETWORK, "--classifier-weights", WEIGHTS, flag,
        str(file),
    ]  # fmt: skip


def _read(flag: str, file: Path) -> Callable[[], object]:
    def request() -> object:
        if flag == "--classes":
            given: dict[str, Any] = dict(read_classes(str(file)))
            dataset = open_dataset("folder", FOLDER, classes=given)
        else:
            given = dict(read_label_map(str(file)))
            dataset = open_dataset("folder", FOLDER, label_map=given)
        labels = [given[name] for name in NAMES for _ in range(2) if given[name] is not None]
        if dataset.labels() != labels:
            raise Defect(Outcome.SILENT, f"labels {dataset.labels()}, the file says {labels}")
        return [dataset.read(index).label for index in range(len(dataset))]

    request.__doc__ = f"read the data set with {flag} {file}"
    return request


Alteration = Callable[[Random, Path, str], tuple[str, Expected]]


def _mapping(rng: Random) -> dict[str, Any]:
    return dict(zip(NAMES, rng.choice(((0, 1), (1, 0))), strict=True))


def _written(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content) if file.suffix == ".json" else yaml.safe_dump(content, sort_keys=False))


def _valid(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    content = _mapping(rng)
    if file.suffix == ".txt" and flag == "--classes":
        lines = [f"{name}{rng.choice(('', ' '))}\n" for name in sorted(content, key=content.__getitem__)]
        file.write_text("".join(lines))
    else:
        _written(file, content)
    return f"{content}", Expected.READ


def _tree(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    altered, what = altered_tree(rng, rng.choice((_mapping(rng), list(NAMES), {str(n): NAMES[n] for n in range(2)})))
    if file.suffix == ".json":
        content, how = json_text(rng, altered)
        file.write_bytes(content)
        return f"{what} {how}", Expected.ANY
    try:
        text = yaml.safe_dump(altered, sort_keys=False, allow_unicode=rng.random() < 0.5)
    except (yaml.YAMLError, ValueError, RecursionError):
        text = f"class0: 0\nclass1: {what!r}\n"
    file.write_bytes(text.encode(errors="surrogatepass"))
    return what, Expected.ANY


def _twice(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    """A name that is there twice."""
    if file.suffix == ".json":
        file.write_text('{"class0": 0, "class1": 1, "class0": 2}')
    else:
        file.write_text("class0: 0\nclass1: 1\nclass0: 2\n")
    return "a class twice", Expected.REFUSED


def _value(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    """A label that is none."""
    value = rng.choice((*(n for n in NUMBERS if n != 10**400), "9" * 5000, "0x1", "1_0", "١", "1e3", "01", "", None))
    text = json.dumps(value) if not isinstance(value, str) or file.suffix == ".json" else value
    file.write_text(f'{{"class0": 0, "class1": {text}}}' if file.suffix == ".json" else f"class0: 0\nclass1: {text}\n")
    whole = text.strip('"').isdecimal() and len(text) < 8 and text.isascii()
    odd = not (whole or text in ("", "null")) or isinstance(value, bool | float)
    return f"label {text[:40]!a}", Expected.REFUSED if odd and flag == "--label-map" else Expected.ANY


def _lines(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    """Names, one a line, with odd ones among them."""
    names = [*NAMES, *rng.sample((*TEXTS, LONG * 100, "class2: 2", "caf\udce9"), rng.choice((1, 2)))]
    rng.shuffle(names)
    end = rng.choice(("\n", "\n", "\r\n", "\r", "\u2028", "\v"))
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    file.write_bytes(end.join(names).encode(encoding, "replace" if encoding == "utf-16" else "surrogatepass"))
    return f"lines {names!a:.60} {end!r} {encoding}", Expected.ANY


def _yaml(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
    )
    more = rng.choice((
        bomb, "x: &a [*a]\n", f"x: !!python/object/apply:os.system ['touch {CANARY}']\n", f"x: {'[' * 3000}\n",
        f"{'[' * 100_000}", f"x: {'9' * 100_000}\n", f"x: |\n  a\n  {FORGED}\n", "%YAML 9.9\n---\n", "? [a]\n: 1\n",
        "<<: {class0: 1}\n", "\tx: 1\n", "\"\\e[31m\\a\": 1\n", f"{LONG}: 1\n", "---\nx: 1\n---\n", "null: 1\n",
        "x: !!set {a}\n", "- a\n", "true: 1\n", "class0 : 0\n", "#" * 10**6, "x: 1\n" * 200_000,
        "".join(f"c{n}: {n + 2}\n" for n in range(100_000)),
    ))  # fmt: skip
    file.write_text("".join(f"{name}: {label}\n" for name, label in _mapping(rng).items()) + more)
    return f"with {more[:60]!a}", Expected.ANY


def _damaged(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    _valid(rng, file, flag)
    return damage(rng, file), Expected.ANY


def _other(rng: Random, file: Path, flag: str) -> tuple[str, Expected]:
    file.write_bytes(b"")
    return replaced_by_other(rng, file), Expected.REFUSED


_ALTERATIONS: tuple[Alteration, ...] = (
    _valid, _tree, _tree, _tree, _twice, _value, _lines, _lines, _yaml, _yaml, _damaged, _other,
)  # fmt: skip

CLASSES = Kind("files of classes and labels", build_folders, play_classes)
