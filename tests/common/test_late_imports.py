"""Imports that wait for their first use."""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import partial

import pytest
from conftest import REPOSITORY, ROOMS

from raysmooth.common.late_imports import LateCallable, LateModule
from raysmooth.common.registry import Registry


def test_a_module_is_imported_when_an_attribute_is_asked_for() -> None:
    module = LateModule("colorsys")
    sys.modules.pop("colorsys", None)
    assert "colorsys" not in sys.modules
    assert module.rgb_to_hsv(1.0, 0.0, 0.0) == (0.0, 1.0, 1.0)
    assert "colorsys" in sys.modules
    with pytest.raises(AttributeError):
        _ = module.nothing


def test_a_callable_has_the_signature_and_the_answers_of_what_it_names() -> None:
    late = LateCallable("colorsys:rgb_to_hsv")
    assert list(inspect.signature(late).parameters) == ["r", "g", "b"]
    assert list(inspect.signature(partial(late, b=1.0)).parameters) == ["r", "g", "b"]
    assert late(1.0, 0.0, b=0.0) == (0.0, 1.0, 1.0)


def late_callables(value: object) -> Iterator[LateCallable]:
    """Those of a module's global: itself, or in the entries of a registry."""
    if isinstance(value, LateCallable):
        yield value
    elif isinstance(value, partial):
        for part in (value.func, *value.args):
            yield from late_callables(part)
    elif isinstance(value, Registry):
        for entry in value.values():
            for part in vars(entry).values() if is_dataclass(entry) else ():
                yield from late_callables(part)


def test_all_that_is_named_for_later_can_be_imported() -> None:
    late: list[LateCallable] = []
    for room in ROOMS:
        for file in sorted((REPOSITORY / room).rglob("*.py")):
            calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
            for call in calls:
                if ast.unparse(call.func) == "LateModule":
                    importlib.import_module(ast.literal_eval(call.args[0]))
            if any(ast.unparse(call.func) == "LateCallable" for call in calls):
                parts = file.relative_to(REPOSITORY).with_suffix("").parts
                module = importlib.import_module(f"raysmooth.{'.'.join(parts)}")
                found = [one for value in vars(module).values() for one in late_callables(value)]
                assert found, f"{file}: holds its LateCallables where this test does not look"
                late += found
    assert len(late) > 20
    for one in late:
        assert callable(one.__wrapped__), one.path
