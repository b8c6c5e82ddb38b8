"""Imports that wait for their first use: only commands that need torch, SciPy or a network's module load them.

Names, defaults and descriptions of all variants are known without them, for help texts, lists and refusals.
"""

from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any


class LateModule(ModuleType):
    """Stands for the module `name`, which is imported when the first of its attributes is asked for. In place of

        import torch

    a module that others need for its names alone has

        if TYPE_CHECKING:
            import torch
        else:
            torch = LateModule("torch")
    """

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self.__name__), attribute)


class LateCallable:
    """The function or class at `path`, "raysmooth.module:name", which is imported when it is called or its signature is
    asked for. A test imports all of them.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @cached_property
    def __wrapped__(self) -> Any:  # where `inspect.signature` looks
        module, _, name = self.path.partition(":")
        return getattr(import_module(module), name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__wrapped__(*arguments, **options)
