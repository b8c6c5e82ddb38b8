"""Files that options of vision APIs name: requests of black boxes, lists of labels, prompts."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import yaml

from fuzz.case import Defect, Expected, Kind, Outcome, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.values import FORGED, LONG, TEXTS, altered_tree
from raysmooth.actors.apis.apis import read_api

REQUEST, LABELS, PROMPT = Path("request.yaml"), Path("labels.txt"), Path("prompt.txt")
ENDPOINT = "https://example.org/classify"
KEYS: dict[str, Any] = {
    "method": "POST", "body": {"image": "{image_base64}"}, "headers": {"Accept": "application/json"},
    "query": {"v": "1"}, "labels": "labels[*].name", "scores": "labels[*].score", "version": "model",
    "classes": ["cat", "dog"], "throttled": [429], "refused": [422],
}  # fmt: skip
NAMES = ("cat", "dog", "bird")


def build_api_files() -> None:
    REQUEST.write_text(yaml.safe_dump(KEYS))
    LABELS.write_text("".join(f"{name}\n" for name in NAMES))
    PROMPT.write_text("Which is it?\n{labels}\n")


def play_api_files(rng: Random) -> Play:
    api, file = rng.choice((
        (f"http:request={REQUEST}", REQUEST),
        (f"http:request={REQUEST}", REQUEST),
        (f"openai:model=m,keyless=true,labels={LABELS}", LABELS),
        (f"oip:model=m,labels={LABELS}", LABELS),
        (f"openai:model=m,keyless=true,labels={LABELS},prompt={PROMPT}", PROMPT),
    ))  # fmt: skip
    altered, expected = rng.choice(_OF_REQUESTS if file == REQUEST else _OF_TEXTS)(rng, file)
    return Play(f"{api}: {altered}", _read(api), expected)


def _read(api: str) -> Callable[[], object]:
    def request() -> object:
        _, entry, options = read_api(api)
        entry.check(options, ENDPOINT)
        labels = entry.closed_labels(options)
        if labels is not None and len(set(labels)) < len(labels):
            raise Defect(Outcome.SILENT, f"a label twice: {labels}")
        return entry.describe(options, ENDPOINT), entry.make(options, ENDPOINT)

    request.__doc__ = f"read {api}"
    return request


def _valid(rng: Random, file: Path) -> tuple[str, Expected]:
    return "nothing", Expected.READ


def _tree(rng: Random, file: Path) -> tuple[str, Expected]:
    altered, what = altered_tree(rng, KEYS)
    try:
        text = yaml.safe_dump(altered, sort_keys=False)
    except (yaml.YAMLError, ValueError, RecursionError):
        text = f"labels: {what!r}\n"
    file.write_bytes(text.encode(errors="surrogatepass"))
    return what, Expected.ANY


def _path(rng: Random, file: Path) -> tuple[str, Expected]:
    """A path that is no JMESPath, or a very long one."""
    path = rng.choice(("[", "labels[", "a.", "@@", "[" * 5000, "a" + ".a" * 5000, LONG, "(" * 5000, "'", "`{`", ""))
    file.write_text(yaml.safe_dump({**KEYS, "labels": path}))
    return f"labels: {path[:40]!a}", Expected.ANY


def _key(rng: Random, file: Path) -> tuple[str, Expected]:
    name, value = rng.choice((
        ("headers", {"Key": "${NOT_SET_ANYWHERE}"}), ("body", {"image": "{picture}"}), ("classes", ["a", "a"]),
        ("classes", ["(other)", "b"]), ("method", "GET"), ("label_scores", "m"), ("lables", "m"), ("throttled", ["x"]),
    ))  # fmt: skip
    file.write_text(yaml.safe_dump({**KEYS, name: value}))
    return f"{name}: {value}", Expected.REFUSED


def _lines(rng: Random, file: Path) -> tuple[str, Expected]:
    names = [*NAMES, *rng.sample((*TEXTS, FORGED, LONG * 100, "(other)", "Cat", "caf\udce9", ""), rng.choice((1, 2)))]
    rng.shuffle(names)
    end = rng.choice(("\n", "\r\n", "\r", "\u2028"))
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    file.write_bytes(end.join(names).encode(encoding, "replace" if encoding == "utf-16" else "surrogatepass"))
    return f"lines {names!a:.60} {end!r} {encoding}", Expected.ANY


def _damaged(rng: Random, file: Path) -> tuple[str, Expected]:
    return damage(rng, file), Expected.ANY


def _other(rng: Random, file: Path) -> tuple[str, Expected]:
    file.write_bytes(b"")
    return replaced_by_other(rng, file), Expected.REFUSED


_OF_REQUESTS = (_valid, _tree, _tree, _tree, _path, _key, _damaged, _other)
_OF_TEXTS = (_valid, _lines, _lines, _damaged, _other)

API_FILES = Kind("files that options of vision APIs name", build_api_files, play_api_files)
