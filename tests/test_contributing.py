"""CONTRIBUTING.md names what the code has: the registries of its table of variants, and the order of wings."""

import re
from importlib import import_module

import pytest
from conftest import REPOSITORY
from test_rooms import ORDER, registries

from raysmooth.common.registry import Registry

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text()
VARIANTS = TEXT.partition("\n## A new variant")[2].partition("\n## ")[0]
NAMED = re.findall(r"`([A-Z_]+)` in `([\w/]+)\.py`", VARIANTS)
NO_REGISTRY = {("METRICS", "pipeline/pool/metrics")}
"""Not a choice that a user names."""


def test_the_table_names_registries() -> None:
    assert len(NAMED) > 20
    assert {("CLASSIFIERS", "actors/models/classifiers"), *NO_REGISTRY} <= set(NAMED)


@pytest.mark.parametrize(("name", "path"), NAMED)
def test_each_registry_is_in_its_module(name: str, path: str) -> None:
    module = f"raysmooth.{path.removeprefix('raysmooth/').replace('/', '.')}"
    registry = getattr(import_module(module), name)
    assert len(registry)
    assert isinstance(registry, Registry) or (name, path) in NO_REGISTRY


def test_each_registry_of_the_code_is_in_the_table() -> None:
    missing = {(name, module) for _, name, module in registries()} - set(NAMED)
    assert not missing, "add them to the table of variants, or to NO_VARIANT of test_rooms with the reason"


@pytest.mark.parametrize("folder", sorted(set(re.findall(r"`([a-z_/]+/)`", VARIANTS))))
def test_each_folder_exists(folder: str) -> None:
    assert (REPOSITORY / folder).is_dir()


def test_the_order_of_wings_is_that_of_the_tests() -> None:
    assert "\n".join(["```", *("  ".join(wings) for wings in ORDER), "```"]) in TEXT
