"""The files of `ray up`, as read and as Ray completes them."""

import copy
from typing import Any

import yaml
from conftest import REPOSITORY

LAUNCHED = {name: REPOSITORY / path for name, path in
            (("aws", "cluster.yaml"), ("gcp", "clusters/gcp.yaml"), ("local", "clusters/local.yaml"))}  # fmt: skip

Config = dict[str, Any]


def read(name: str) -> Config:
    return yaml.safe_load(LAUNCHED[name].read_text())


def pinned() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def valid_for_ray(config: Config) -> Config:
    """The configuration as Ray completes it. Raises what Ray raises."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared
