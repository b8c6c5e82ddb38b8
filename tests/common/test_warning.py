"""Warnings of the Python API, from code that the package holds and code that it does not."""

from types import FunctionType

import pytest

from raysmooth.common import warning


def of_module(name: str, code: str) -> FunctionType:
    """The function `f` of `code`, as if a module of this name held it."""
    module = {"__name__": name, "warn_caller": warning.warn_caller}
    exec(compile(code, f"/{name}.py", "exec"), module)
    return module["f"]


@pytest.mark.parametrize("outside", ["contextlib", "raysmoothly"])
def test_they_name_the_line_that_called_raysmooth(outside: str) -> None:
    """However many calls there are inside, also through another package."""
    inner = of_module("raysmooth.pipeline.runs.deep", "def f(): warn_caller('look')")
    between = of_module(outside, "def f(call): call()")
    entry = of_module("raysmooth", "def f(between, inner): between(inner)")
    with pytest.warns(UserWarning, match="look") as caught:
        entry(between, inner)
    assert [each.filename for each in caught] == [__file__]
