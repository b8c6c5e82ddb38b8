"""The weights files that an experiment's settings name."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from raysmooth.actors.models.weight_paths import has_sigma, path_at, whole_file
from raysmooth.common.model_files import split_model_file, with_weights_named
from raysmooth.common.settings import split_list
from raysmooth.tune.experiments.references import Reference

WEIGHT_SETTINGS = ("classifier_weights", "denoiser_weights", "rejector_weights", "init_weights", "surrogates")
"""Settings that name weights, or folders of weights."""


def with_home(values: Any, key: str = "") -> Any:
    """`values`, however deep, with the home folder in place of ~ in settings that name files."""
    if isinstance(values, Mapping):
        return {inner_key: with_home(inner, inner_key) for inner_key, inner in values.items()}
    if isinstance(values, list):
        return [with_home(inner, key) for inner in values]
    if isinstance(values, str) and key in (*WEIGHT_SETTINGS, "data_root"):
        parts = split_list(values)
        if any(part.startswith("~") for part in parts):
            return ",".join(str(Path(part).expanduser()) if part.startswith("~") else part for part in parts)
    return values


def with_weights(values: Any) -> Any:
    """`values`, however deep, with hf:FOLDER and onnx:FILE split into a name and weights (`with_weights_named`)."""
    if isinstance(values, Mapping):
        texts = {key: inner for key, inner in values.items() if isinstance(inner, str)}  # a list is a choice of several
        return {**{key: with_weights(inner) for key, inner in values.items()}, **with_weights_named(texts)}
    return [with_weights(inner) for inner in values] if isinstance(values, list) else values


def files_of(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The settings in `values`, however deep, that name weights, each with a path; without references."""
    if isinstance(values, Mapping):
        levels = values.get("sigma")
        for inner_key, inner in values.items():
            for named, path in files_of(inner, inner_key):
                if levels is None or not has_sigma(path):
                    yield named, path
                    continue
                for level in levels if isinstance(levels, list) else [levels]:
                    yield named, path_at(path, float(level))
    elif isinstance(values, list):
        for inner in values:
            yield from files_of(inner, key)
    elif key in WEIGHT_SETTINGS and isinstance(values, str) and Reference.read(values) is None:
        for part in split_list(values):
            file = split_model_file(part)
            path = file[1] if file is not None else part if Path(part).exists() else part.rpartition("@")[2]
            path = whole_file(path)
            folder, _, count = path.rpartition(":")
            yield key, folder if key == "surrogates" and folder and count.isdigit() else path
