"""In what two runs differ, in the user's words: flags where there are any, otherwise the thing itself."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysmooth.common.errors import printable
from raysmooth.pipeline.certification.certificate import COMPLEMENT

COMPUTE = {"precision": "precision", "compiled": "compile", "batch_size": "batch_size"}
"""Keys of the identity that say how draws are computed, and their settings. They may be left to timing."""

_FLAGS = {
    "dataset": "dataset",
    "split": "split",
    "classifier": "classifier",
    "preprocess": "preprocess",
    "denoiser": "denoiser",
    "rejector": "rejector",
    "noise": "noise",
    "norm": "norm",
    "sigma": "sigma",
    "n0": "n0",
    "n": "n",
    "alpha": "alpha",
    "noise_bound": "noise_bound",
    "alpha_share": "alpha_share",
    "top_k": "top_k",
    "sigmas_run": "sigmas",
    "search": "search",
    "seed": "seed",
    "block_size": "block_size",
    "threads": "cpus_per_replica",
    **COMPUTE,
}
"""Keys of the identity that are settings, which may be left to their default."""

_SEVERAL = {
    "index_set": ("skip", "start", "max"),
    "input_size": ("input_size", "interpolation"),
    "sampling": ("sampling", "tolerance", "pilot", "radius"),
    "sigma_rule": ("steps",),
}
"""Keys of the identity that follow from several settings, and from other keys."""

_CONTENTS = {
    "query_identity": ["endpoint", "encoding", "upscale", "seed"],
    "reference_identity": ["endpoint", "encoding", "upscale"],
    "label_rule": ["label_rule"],
    "accepted": ["accepted"],
    "data_fingerprint": [
        "data_root",
        "resize",
        "crop",
        "channels",
        "label_column",
        "class_order",
        "classes",
        "label_map",
    ],
    "classifier_fingerprint": ["classifier_weights"],
    "denoiser_fingerprint": ["denoiser_weights"],
    "rejector_fingerprint": ["rejector_weights"],
}
"""Keys of the identity that are hashes of what these settings name and decide about it."""

_FILES = {
    "label_rule": "file of labels",
    "accepted": "file of accepted labels",
    "query_identity": "files of pictures",
    "reference_identity": "files of pictures",
}
"""What the contents of these keys are called."""

_LIBRARIES = ("torch", "numpy", "pillow", "torchvision", "scipy", "transformers", "onnxruntime")

_QUERIES = ("query_identity", "reference_identity")

_FOLLOWING = {
    "dataset": ("split", "index_set", "images", "data_fingerprint"),
    "split": ("index_set", "images", "data_fingerprint"),
    "index_set": ("images", "data_fingerprint"),
    "data_fingerprint": ("images",),
    "classifier": ("preprocess", "input_size", "classifier_fingerprint", *_QUERIES),
    "classifier_fingerprint": _QUERIES,
    "denoiser": ("denoiser_fingerprint", *_QUERIES),
    "denoiser_fingerprint": _QUERIES,
    "query_identity": ("reference_identity",),
    "sigma": _QUERIES,
    "seed": _QUERIES,
    "accepted": ("reference", "reference_identity"),
    "rejector": ("rejector_fingerprint", "noise_bound", "alpha_share"),
    "noise_bound": ("alpha_share",),
    "noise": ("norm", *_QUERIES),
    "sampling": ("scipy",),
    "search": ("scipy",),
}
"""What need not be said about a key's followers where the key itself differs."""


@dataclass(frozen=True)
class RunFacts:
    """What decides a run's rows: its identity, and the settings that led to it."""

    run_id: str
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """`what` differs: a flag, or "the data", say. `there` and `here` are its values in the other run and in this one;
    None where it has no value that says anything. `as_there` completes "to continue the other run, ...": arguments
    to write where `what` is a flag, otherwise a clause.
    """

    what: str
    there: str | None
    here: str | None
    as_there: str

    @property
    def is_flag(self) -> bool:
        return self.what.startswith("--")

    def __str__(self) -> str:
        return self.what if self.there is None else f"{self.what} ({self.there} there, {self.here} here)"


def differences(there: RunFacts, here: RunFacts, left_open: Collection[str] = ()) -> list[Difference]:
    """What differs between two runs, in the order of the identity. `left_open` are keys of the identity that the run
    here would take over from the other one, so that they are none.
    """
    theirs, ours = there.identity, here.identity
    keys = [name for name in dict.fromkeys((*ours, *theirs)) if name not in left_open]
    differing = [name for name in keys if theirs.get(name) != ours.get(name)]
    found: dict[str, list[Difference]] = {}
    for name in differing:
        said = _of_key(name, there, here)
        if said is not None:
            found[name] = said
    for name in [*found]:
        if name in found:
            for follower in _FOLLOWING.get(name, ()):
                found.pop(follower, None)
    return list(dict.fromkeys(difference for own in found.values() for difference in own))


def what_to_write(found: Sequence[Difference]) -> str:
    """What makes a command that of the other run: "write --n 1000 and restore the data"."""
    flags = [difference.as_there for difference in found if difference.is_flag]
    written = [flag for flag in flags if not flag.startswith("without ")]
    left_out = [flag.removeprefix("without ") for flag in flags if flag.startswith("without ")]
    clauses = [
        *([f"write {' '.join(written)}"] if written else []),
        *([f"leave out {' and '.join(left_out)}"] if left_out else []),
        *dict.fromkeys(difference.as_there for difference in found if not difference.is_flag),
    ]
    return " and ".join(clauses)


def flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _of_key(name: str, there: RunFacts, here: RunFacts) -> list[Difference] | None:
    """The differences behind a key of the identity; None for one that only follows from others."""
    theirs, ours = there.identity.get(name), here.identity.get(name)
    if name in _FLAGS:
        return [_flag_difference(_FLAGS[name], _value(name, theirs), _value(name, ours))]
    if settings := _SEVERAL.get(name, _CONTENTS.get(name)):
        changed = [one for one in settings if there.settings.get(one) != here.settings.get(one)]
        if changed:
            return [_flag_difference(one, there.settings.get(one), here.settings.get(one)) for one in changed]
        if name == "index_set":  # equal settings choose other images of other data
            return _of_key("data_fingerprint", there, here)
        return [_changed_content(name, here)] if name in _CONTENTS else None
    if name == "images":
        return [Difference("the number of images", str(theirs), str(ours), "restore the data")]
    if name == "device":
        return [Difference("the device", _shown(theirs), _shown(ours), f"run it on {_shown(theirs)}")]
    if name in _LIBRARIES:
        return [Difference(f"the version of {name}", _shown(theirs), _shown(ours), f"install {name} {_shown(theirs)}")]
    if name == "scheme":
        return [Difference("the version of raysmooth", None, None, "use the raysmooth that began it")]
    what = f"the {printable(name).replace('_', ' ')}"
    return [Difference(what, _shown(theirs), _shown(ours), "use the raysmooth that began it")]


def _changed_content(name: str, here: RunFacts) -> Difference:
    """Where equal settings name something that is not what it was."""
    part = _FILES.get(name, name.removesuffix("_fingerprint"))
    what = f"the {part}'s weights" if here.settings.get(f"{part}_weights") is not None else f"the {part}"
    return Difference(f"the content of {what}", None, None, f"restore {what}")


def _value(name: str, value: Any) -> Any:
    """The value of a setting that gives `value` in the identity."""
    if name == "noise_bound" and value is None:
        return COMPLEMENT
    return ("on" if value else "off") if name == "compiled" and isinstance(value, bool) else value


def _flag_difference(setting: str, theirs: Any, ours: Any) -> Difference:
    name = flag(setting)
    as_there = f"without {name}" if theirs is None else f"{name} {shlex.quote(_shown(theirs))}"
    return Difference(name, _shown(theirs), _shown(ours), as_there)


def _shown(value: Any) -> str:
    return "none" if value is None else printable(str(value))
