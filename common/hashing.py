"""Hashes of settings, which identify runs, trainings, trials and stages."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def settings_hash(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """SHA-256, in hex, of `values` as JSON with sorted keys: the order of keys does not matter.

    Raises TypeError for a value that JSON cannot represent.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
