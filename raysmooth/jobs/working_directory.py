"""The working directory of a job: the files that Ray would pack, and whether they are too large to upload."""

import logging
import os
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from raysmooth.common.errors import RaysmoothError, printable

LARGEST_NAMED = 5
"""Number of files that a refusal names."""

MIB = 2**20


@dataclass(frozen=True)
class Packed:
    """The files that Ray packs from a folder, as paths relative to it, each with its size in bytes. `bytes` is the size
    of the zip file, in which nothing is compressed.
    """

    files: dict[str, int]
    bytes: int


def packed(folder: Path) -> Packed:
    """The files that Ray would upload from `folder`, by its own rules: without those in .gitignore and .rayignore at
    any depth, and without .git, .venv, venv and __pycache__. Nothing is written.
    """
    # Ray has no public function for this; its packing uses these.
    from ray._private import ray_constants
    from ray._private.runtime_env import packaging

    files: dict[str, int] = {}
    root = folder.absolute()

    def count(path: Path) -> None:
        if path.is_file():
            files[str(path.relative_to(root))] = path.stat().st_size

    quiet = logging.getLogger("raysmooth-packing")
    quiet.setLevel(logging.WARNING)
    always = packaging._get_excludes(root, ray_constants.get_runtime_env_default_excludes())
    packaging._dir_travel(root, [always], count, include_gitignore=_gitignore_counts(), logger=quiet)
    # A zip file has 30 + 46 bytes and twice the name for each file, and 22 at its end.
    return Packed(files, sum(size + 76 + 2 * len(name.encode()) for name, size in files.items()) + 22)


def refuse_too_large(folder: Path, content: Packed) -> None:
    """Raises RaysmoothError, naming the largest files, if the package is too large for the dashboard."""
    from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE

    if content.bytes <= DASHBOARD_CLIENT_MAX_SIZE:
        return
    largest = sorted(content.files.items(), key=lambda file: -file[1])[:LARGEST_NAMED]
    named = ", ".join(f"{name} ({size / MIB:,.1f} MiB)" for name, size in largest)
    raise RaysmoothError(
        f"--working-dir {folder}: {content.bytes / MIB:,.1f} MiB would be uploaded, Ray takes "
        f"{DASHBOARD_CLIENT_MAX_SIZE / MIB:.0f}: name in .rayignore what the job does not need, and keep data and "
        f"large weights where the nodes reach them; the largest: {named}"
    )


def checked_working_directory(given: str) -> Packed:
    """The files that will be packed. Raises RaysmoothError for a folder that does not exist, lacks raysmooth, is too
    large, or has modules that would hide others.
    """
    folder = Path(given)
    if not folder.is_dir():
        raise RaysmoothError(f"--working-dir {given} is not a folder: name the one that holds raysmooth/")
    content = packed(folder)
    if "raysmooth/__main__.py" not in content.files:
        raise RaysmoothError(
            f"--working-dir {given} has no raysmooth/__main__.py, which the job runs: name a checkout of raysmooth"
        )
    refuse_too_large(folder, content)
    _refuse_hiding(given, content)
    return content


def _refuse_hiding(given: str, content: Packed) -> None:
    """Raises RaysmoothError if the folder has a json.py, say: Ray puts a job's folder first on the import path of all
    its processes.
    """
    hidden = (sys.stdlib_module_names | _libraries()) - {"test"}  # which nothing imports, and many folders have
    for file in sorted(content.files):
        first, _, rest = file.partition("/")
        name = first.removesuffix(".py") if not rest else first if rest == "__init__.py" else ""
        if name in hidden:
            raise RaysmoothError(
                f"--working-dir {given}: {printable(file)} would be imported in the job instead of the real '{name}': "
                "rename it, or name it in .rayignore"
            )


def _libraries() -> set[str]:
    """The modules of the libraries that raysmooth needs, as they are installed here."""
    try:
        needed = {re.split(r"[^\w-]", text)[0].lower() for text in requires("raysmooth") or () if ";" not in text}
    except PackageNotFoundError:  # a checkout that is not installed
        return set()
    found = packages_distributions().items()
    return {module for module, packages in found if needed & {package.lower() for package in packages}} - {"raysmooth"}


def _gitignore_counts() -> bool:
    from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE

    return os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
