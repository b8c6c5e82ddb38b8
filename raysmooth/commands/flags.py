"""Settings as flags: each field of a pydantic model is a flag of the command, which receives the checked settings."""

import inspect
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, Optional, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.numbers import number


def to_number(text: Any) -> float:
    """The parser of a flag that takes a number, 0.25 or 64/255: `typer.Option(parser=to_number)`."""
    return number(str(text))


to_number.__name__ = "float"  # what the help calls the value


TRUST_CODE = typer.Option(
    "--trust-code", help="Import classifiers of your own (MODULE:CALLABLE) that a file names.", show_default=False
)
"""The flag that allows files to name code."""

RESULTS = typer.Argument(metavar="RESULTS", help="Folder of results (--out of certify).")
"""The argument of commands that read results."""


def settings_command(
    app: typer.Typer, name: str, settings: str, panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as the command `name` of `app`, with the fields of a model as flags, and `--config`.

    `settings` is the model, as MODULE:CLASS. It is imported when the command runs or prints its help, not when all
    commands are listed, since most models import torch. The function receives the checked settings, and its own flags
    as keywords. `panel` is the heading of the command in the list of commands.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        class Flagged(TyperCommand):
            @cached_property
            def whole(self) -> Any:
                alone = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
                module, _, model = settings.partition(":")
                alone.command(name)(_with_flags(function, getattr(import_module(module), model)))
                return typer.main.get_command(alone)

            def get_params(self, ctx: Any) -> list[Any]:
                return self.whole.get_params(ctx)

            def invoke(self, ctx: Any) -> Any:
                return self.whole.invoke(ctx)

        app.command(name, cls=Flagged, help=inspect.getdoc(function), rich_help_panel=panel)(lambda: None)
        return function

    return register


def _with_flags(command: Callable[..., None], model: type[Any]) -> Callable[..., None]:
    from raysmooth.common.settings import user_settings

    own = list(inspect.signature(command).parameters.values())[1:]

    def wrapper(config: str | None = None, **flags: Any) -> None:
        beside = {parameter.name: flags.pop(parameter.name) for parameter in own}
        values = {name: value for name, value in flags.items() if value is not None}
        command(user_settings(model, values, config), **beside)

    file = typer.Option(help="YAML file of these settings; flags override it.", show_default=False)
    parameters = [_parameter("config", str, file)]
    for name, field in model.model_fields.items():
        owner = next(c for c in reversed(model.__mro__) if name in inspect.get_annotations(c))
        option = typer.Option(
            help=_help(field),
            show_default=False,
            rich_help_panel=(inspect.getdoc(owner) or "Options").splitlines()[0],
        )
        parameters.append(_parameter(name, _flag_type(field.annotation), option))
    parameters += [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__doc__ = command.__doc__
    return wrapper


def _help(field: Any) -> str:
    """The field's description with its default, or that it is required unless the description says when it is."""
    if field.is_required():
        return field.description if "Required" in field.description else f"{field.description} Required."
    return field.description if field.default in (None, []) else f"{field.description} Default: {field.default}."


def renamed(old: str, new: str) -> Any:
    """A hidden option for a flag's former name, which refuses it and names the new one: a parameter annotated
    `Annotated[str | None, renamed("--folder", "--out")]`, with the default None.
    """

    def refuse(value: str | None) -> None:
        if value is not None:
            raise RaysmoothError(f"{old} is now {new}: write {new} {value}")

    return typer.Option(old, hidden=True, callback=refuse)


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    if kind is float:
        option.parser = to_number
    annotation = Annotated[Optional[kind], option]  # noqa: UP045 -- `kind` is only known at run time
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag_type(annotation: Any) -> Any:
    """The type that Typer parses a flag into: the field's own, or text for lists."""
    if get_origin(annotation) in (Union, type(int | None)):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation if annotation in (int, float, bool, str) else str
