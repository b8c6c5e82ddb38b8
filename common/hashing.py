"""Hashes of settings: the identity of runs, trainings, trials and stages."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def settings_hash(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """SHA-256, in hex, of `values` as canonical JSON: equal settings have equal hashes, whatever their order.

    Raises TypeError for a value that JSON cannot hold.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
