"""The commands that made runs, from their manifests."""

import shlex
from collections.abc import Mapping
from typing import Any

from raysmooth.common.errors import printable


def run_command(manifest: Mapping[str, Any]) -> str | None:
    """The command that made the run, with all its settings, defaults too; None where its manifest does not have them,
    as that of an imported log.
    """
    identity, settings = manifest.get("identity"), manifest.get("settings")
    if not isinstance(identity, Mapping) or not isinstance(settings, Mapping):
        return None
    recertify = f"raysmooth recertify {_quoted(settings.get('out', 'results'))}"
    if identity.get("procedure") == "envelope":
        return " ".join([recertify, *_flags(_joining(identity, manifest.get("recertified")))])
    if (source := identity.get("source_run")) is not None:
        changes = {"memory": True} if identity.get("procedure") == "memory" else _changes(identity)
        return " ".join([recertify, "--run", _quoted(source), *_flags(changes)])
    if identity.get("procedure") not in ("certify", "predict"):
        return None
    return " ".join([f"raysmooth {identity['procedure']}", *_flags(settings)])


def _joining(identity: Mapping[str, Any], asked: Any) -> dict[str, Any]:
    """The flags that join runs: as envelope, whose bound is not chosen, or by the worst level."""
    worst, sources = str(identity.get("sigma_rule")).startswith("worst"), identity.get("sources")
    joined = {"worst_sigma" if worst else "envelope": sources if isinstance(sources, list) else None}
    own = {
        name: value for name, value in _changes(identity).items() if worst or name not in ("noise_bound", "alpha_share")
    }
    # The identity has the draws of all levels together.
    return joined | own | {"n": asked.get("n") if isinstance(asked, Mapping) else None}


def _changes(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of recertify: `--familywise` takes the place of `--alpha`, and only linf is another norm."""
    level = "alpha" if identity.get("familywise") is None else "familywise"
    norm = {"norm": "linf"} if identity.get("norm") == "linf" else {}
    bound = {name: identity.get(name) for name in ("n", "noise_bound", "alpha_share")}
    others = {name: identity.get(name) for name in ("rejection", "top_k")}
    return {level: identity.get(level), **bound, **norm, **others}


def _flags(settings: Mapping[str, Any]) -> list[str]:
    flags = []
    for name, value in settings.items():
        flag = _quoted(f"--{str(name).replace('_', '-')}")
        if value is True:
            flags.append(flag)
        elif isinstance(value, list):
            flags.append(f"{flag} {_quoted(','.join(map(str, value)))}")
        elif isinstance(value, str | int | float) and value is not False:
            flags.append(f"{flag} {_quoted(value)}")
    return flags


def _quoted(value: object) -> str:
    return shlex.quote(printable(str(value)))
