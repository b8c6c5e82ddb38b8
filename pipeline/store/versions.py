"""Versions for a run's manifest and identity: of installed packages, and raysmooth's own commit."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def package_version(package: str) -> str | None:
    """The installed version; None if the package is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of raysmooth itself; None if it does not run from a checkout, or git is missing."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def source_sha256(package: Path, rooms: Iterable[str]) -> str:
    """SHA-256, in hex, over the names and bytes of all modules below `rooms` of a package's folder."""
    digest = hashlib.sha256()
    for room in rooms:
        for folder, folders, files in os.walk(package / room):
            folders.sort()
            for name in sorted(file for file in files if file.endswith(".py")):
                path = os.path.join(folder, name)
                content = Path(path).read_bytes()
                digest.update(f"{os.path.relpath(path, package)};{len(content)};".encode())
                digest.update(content)
    return digest.hexdigest()
