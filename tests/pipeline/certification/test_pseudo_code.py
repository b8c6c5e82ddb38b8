"""The map from the paper's pseudo-code to this code names functions that exist."""

import re
from importlib import import_module

from raysmooth.pipeline.certification import sampling_rule


def test_each_name_of_the_map_exists() -> None:
    text = sampling_rule.__doc__ or ""
    names = re.findall(r"`([A-Za-z_.]+)`", text)
    assert {"Fixed", "FixedPrediction", "certificate.certify_counts", "certificate.lower_bound"} <= set(names)
    for name in names:
        path, _, last = name.rpartition(".")
        if last == "radius":  # a method of a Protocol
            from raysmooth.actors.noise.streams import NoiseFamily

            assert hasattr(NoiseFamily, last)
        elif path in ("", "Fixed", "FixedPrediction"):
            owner = getattr(sampling_rule, path) if path else sampling_rule
            assert hasattr(owner, last), name
        else:
            room = path if path.startswith(("actors", "pipeline")) else f"pipeline.certification.{path}"
            assert hasattr(import_module(f"raysmooth.{room}"), last), name
