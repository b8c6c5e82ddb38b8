"""YAML: files of settings, sweeps, experiments."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import yaml

from fuzz.case import Expected, Kind, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.kinds.weights_files import CLASSIFIER, DENOISER, build_weights
from fuzz.sandbox import CANARY
from fuzz.values import OWN, altered_tree

FILE = Path("settings.yaml")
CERTIFY: Mapping[str, Any] = {
    "dataset": "digits", "classifier": CLASSIFIER, "classifier_weights": "w.safetensors", "sigma": [0.25, 0.5],
    "max": 2,
    "n0": 10, "n": 40, "alpha": 0.1, "seed": 0, "out": "out", "sampling": "fixed", "precision": "float32",
    "compile": "off",
}  # fmt: skip
TRAIN: Mapping[str, Any] = {
    "dataset": "digits", "classifier": CLASSIFIER, "epochs": 1, "out": "t.safetensors", "sigma": 0.25, "device": "cpu",
    "objective": "gaussian", "recipe": "digits-classifier", "augment": "none", "threads": 1, "learning_rate": 0.1,
}  # fmt: skip
SWEEP: Mapping[str, Any] = {
    "train": "classifier", "metric": "acr", "out": "sweep", "search_algorithm": "random", "num_trials": 2,
    "settings": {"dataset": "digits", "classifier": CLASSIFIER, "sigma": 0.25, "objective": "gaussian", "epochs": 2},
    "search": {"learning_rate": {"loguniform": [1e-4, 1e-2]}, "batch_size": [32, 64], "gamma": {"choice": [0.1, 0.5]}},
    "seeds": [0, 1], "validation": {"every": 1, "images": 5, "n0": 10, "n": 40}, "scheduler": "asha:grace=1,factor=2",
    "plateau": {"results": 4, "std": 0.01}, "certify": {"n": 40, "n0": 10, "alpha": 0.1, "skip": 100}, "retries": 1,
    "time_budget_hours": 0.1, "max_concurrent_trials": 1,
}  # fmt: skip
EXPERIMENT: Mapping[str, Any] = {
    "title": "t", "differences": ["all"], "data": {"dataset": "digits"}, "out": "out",
    "paper": {
        "source": "s", "table": 2, "claim": "c",
        "numbers": {"layout": "radii", "radii": [0.0, 0.25],
        "rows": [{"row": "a", "ours": ["certify"], "sigma": 0.25, "values": [1.0, None]}]},
    },
    "stages": {
        "net": {"train classifier": {"classifier": CLASSIFIER, "epochs": 1, "sigma": 0.25,
        "recipe": "digits-classifier"}},
        "certify": {
            "matrix": {"sigma": [0.25, 0.5], "case": [{"name": "plain", "denoiser": "none"}]},
            "certify": {
                "classifier": CLASSIFIER, "classifier_weights": "@net", "sigma": "{sigma}", "denoiser": "{denoiser}",
                "n": 40,
                "n0": 10, "alpha": 0.1, "skip": 200,
            },
        },
        "report": {"report": {"radii": [0.0, 0.25]}},
    },
}  # fmt: skip
FILES: Mapping[str, tuple[Mapping[str, Any], list[str]]] = {
    "certify": (CERTIFY, ["certify", "--config", str(FILE)]),
    "train": (TRAIN, ["train", "classifier", "--config", str(FILE)]),
    "sweep": (SWEEP, ["sweep", str(FILE)]),
    "experiment": (EXPERIMENT, ["run", str(FILE)]),
    "predict": ({k: v for k, v in CERTIFY.items() if k not in ("n0", "sampling")}, ["predict", "--config", str(FILE)]),
    "gallery": (
        {"dataset": "digits", "sigma": 0.25, "denoiser_weights": "d.safetensors", "denoiser": DENOISER, "max": 1},
        ["gallery", "--config", str(FILE)],
    ),
}  # fmt: skip
_WEIGHTED = (
    "certify",
    "train",
    "sweep",
    "sweep",
    "sweep",
    "experiment",
    "experiment",
    "experiment",
    "predict",
    "gallery",
)


def play_settings(rng: Random) -> Play:
    name = rng.choice(_WEIGHTED)
    values, request = FILES[name]
    text, altered, expected = rng.choice(_ALTERATIONS)(rng, values)
    # Users may name any folder for their results; only those in the case's folder are watched.
    FILE.write_bytes(re.sub(rb"^(\s*out: )['\"]?(\.\.|/).*$", rb"\1new", text, flags=re.MULTILINE))
    if altered == "damaged":
        altered = damage(rng, FILE)
    elif altered == "another":
        altered = replaced_by_other(rng, FILE)
    return Play(f"{name}: {altered}", request, expected)


Alteration = Callable[[Random, Mapping[str, Any]], tuple[bytes, str, Expected]]


def _dumped(values: Any) -> str:
    return str(yaml.dump(values, sort_keys=False, allow_unicode=True, Dumper=_Dumper))


class _Dumper(yaml.SafeDumper):
    """Writes what JSON allows and PyYAML does not write: lone surrogates as escapes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _tree(rng: Random, values: Mapping[str, Any]) -> tuple[bytes, str, Expected]:
    altered, what = altered_tree(rng, dict(values))
    try:
        text = _dumped(altered)
    except (yaml.YAMLError, ValueError, RecursionError):
        text = f"{_dumped(dict(values))}\nodd: {what!r}"
    return text.encode(errors="surrogatepass"), what, Expected.ANY


def _duplicate(rng: Random, values: Mapping[str, Any]) -> tuple[bytes, str, Expected]:
    """A key twice, with two values."""
    key = rng.choice([key for key, value in values.items() if not isinstance(value, dict | list)])
    return (_dumped(dict(values)) + f"\n{key}: 7\n").encode(), f"{key} twice", Expected.REFUSED


def _text(rng: Random, values: Mapping[str, Any]) -> tuple[bytes, str, Expected]:
    text = _dumped(dict(values))
    key = rng.choice(list(values))
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
    )
    shared = "shared:\n" + "".join(f"  {line}\n" for line in bomb.splitlines())
    more = rng.choice(
        (
            f"{key}: !!python/object/apply:os.system ['touch {CANARY}']\n", f"{key}: !!python/name:os.system\n",
            f"{key}: !!python/object/new:exec [\"open('{CANARY}','w')\"]\n", bomb, shared, "a: &a [*a]\n",
            f"{key}: &a {{b: *a}}\n",
            f"{key}: {'[' * 3000}{']' * 3000}\n", f"{key}: {'9' * 5000}\n", f"{key}: 1e99999\n", f"{key}: .inf\n",
            f"{key}: .nan\n",
            f"{key}: 2020-01-01\n", f"{key}: !!binary aGVsbG8=\n", f"{key}: !!set {{a, b}}\n", f"{key}: 1:30\n",
            f"{key}: 0o17\n",
            f"{key}: on\n", f"\t{key}: 1\n", "? [a, b]\n: c\n", f"{key}: |\n  a\n  FORGED\n", "---\n---\n",
            "%YAML 9.9\n---\n", "<<: 3\n",
            f"<<: {{{key}: 1}}\n", f"{key}: \"\\e[31m\\a\\0\"\n", f"{key}: '{'Q' * 5000}'\n", f"{'Q' * 5000}: 1\n",
            "~: 1\n", "1: 2\n",
            "[1, 2]: 3\n", "true: 1\n", "\x1b[31m: 1\n", f"{key}: !unknown x\n",
            f"trust_code: true\nclassifier: {OWN}:make\n",
            f"{key}: {OWN}:make\n", "- a\n- b\n", "just a text", "", "#" * 10**6,
        )
    )  # fmt: skip
    lines = text.splitlines(keepends=True)
    kept = (
        [] if rng.random() < 0.2 else [line for line in lines if not (line.startswith(f"{key}:") and f"{key}:" in more)]
    )
    return ("".join(kept) + more).encode(errors="surrogatepass"), f"with {more[:60]!a}", Expected.ANY


def _encoding(rng: Random, values: Mapping[str, Any]) -> tuple[bytes, str, Expected]:
    text = _dumped(dict(values))
    way = rng.randrange(6)
    if way == 0:
        return text.encode("utf-16"), "UTF-16", Expected.ANY
    if way == 1:
        return b"\xef\xbb\xbf" + text.encode(), "with a BOM", Expected.ANY
    if way == 2:
        return text.replace("\n", "\r\n").encode(), "lines that end with CR LF", Expected.ANY
    if way == 3:
        return text.encode() + "title: café\n".encode("latin-1"), "Latin-1", Expected.ANY
    if way == 4:
        return text.encode() + b"\0", "with a NUL", Expected.REFUSED
    return text.encode("utf-32"), "UTF-32", Expected.ANY


def _damaged(rng: Random, values: Mapping[str, Any]) -> tuple[bytes, str, Expected]:
    return _dumped(dict(values)).encode(), "damaged", Expected.ANY


def _other(rng: Random, values: Mapping[str, Any]) -> tuple[bytes, str, Expected]:
    return b"x: 1", "another", Expected.ANY


_ALTERATIONS: tuple[Alteration, ...] = (
    _tree, _tree, _tree, _tree, _tree, _tree, _duplicate, _text, _text, _text, _encoding, _damaged, _other,
)  # fmt: skip

SETTINGS = Kind("YAML: settings, sweeps, experiments", build_weights, play_settings)
