"""Settings as flags: a command has the fields of a pydantic model, and is given them checked."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from pipeline.settings import checked


def flags_of(model: type[BaseModel]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of `model` as flags, and `--config`; it is called with the checked settings, and with
    what it has as flags of its own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command).parameters.values())[1:]

        def wrapper(config: str | None = None, **given: Any) -> None:
            beside = {parameter.name: given.pop(parameter.name) for parameter in own}
            values = {name: value for name, value in given.items() if value is not None}
            command(checked(model, values, config), **beside)

        config = typer.Option(help="YAML file of these settings; flags override it.", show_default=False)
        parameters = [_parameter("config", str, config)]
        for name, field in model.model_fields.items():
            owner = next(c for c in reversed(model.__mro__) if name in inspect.get_annotations(c))
            known = "Required." if field.is_required() else f"Default: {field.default}."
            silent = not field.is_required() and field.default in (None, [])
            option = typer.Option(
                help=field.description if silent else f"{field.description} {known}",
                show_default=False,
                rich_help_panel=(inspect.getdoc(owner) or "Options").splitlines()[0],
            )
            parameters.append(_parameter(name, _flag_type(field.annotation), option))
        parameters += [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__doc__ = command.__doc__
        return wrapper

    return decorate


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    annotation = Annotated[Optional[kind], option]  # noqa: UP045 -- `kind` is only known at run time
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag_type(annotation: Any) -> Any:
    """What a flag's text is read as: the field's own type, text for lists."""
    if get_origin(annotation) in (Union, type(int | None)):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation if annotation in (int, float, bool, str) else str
