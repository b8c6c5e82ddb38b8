"""Settings as flags: each field of a pydantic model is a flag of the command, which receives the checked settings."""

import inspect
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any, Optional, Union, get_args, get_origin

import typer

from raysmooth.commands.usage import COMMON, HELP_ALL, METAVARS, OTHER, REQUIRED, TEXT, CommandWithExamples, shown
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.numbers import number
from raysmooth.common.spelling import keys_of


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


_LAST = ("Replicas and results", OTHER)
"""Headings that come after those of what a command computes."""

_ORDER = (
    "dataset", "data_root", "split", "classifier", "classifier_weights", "preprocess", "denoiser", "denoiser_weights",
    "objective", "sigma", "images", "n", "skip", "max", "epochs", "init_weights", "out",
)  # fmt: skip
"""The order of required and common flags in every help. One that is here and not required is common, if it decides
what is computed, and not how.
"""

_UNCOMMON = ("split", "preprocess")
"""Flags of the order that stay in their groups unless they are required."""


def settings_command(
    app: typer.Typer, name: str, settings: str, panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as the command `name` of `app`, with the fields of a model as flags, and `--config`.

    `settings` is the model, as MODULE:CLASS. It is imported when the command runs or prints its help, not when all
    commands are listed, since most models import torch. The function receives the checked settings, and its own flags
    as keywords. `panel` is the heading of the command in the list of commands.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        class Flagged(CommandWithExamples):
            @cached_property
            def whole(self) -> Any:
                alone = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
                module, _, model = settings.partition(":")
                alone.command(name)(_with_flags(function, getattr(import_module(module), model)))
                return typer.main.get_command(alone)

            def get_params(self, ctx: Any) -> list[Any]:
                return shown(self.whole.get_params(ctx))

            def invoke(self, ctx: Any) -> Any:
                return self.whole.invoke(ctx)

        app.command(name, cls=Flagged, help=inspect.getdoc(function), rich_help_panel=panel)(lambda: None)
        return function

    return register


def _with_flags(command: Callable[..., None], model: type[Any]) -> Callable[..., None]:
    from raysmooth.common.settings import user_settings
    from raysmooth.common.settings_file import read_yaml

    own = list(inspect.signature(command).parameters.values())[1:]
    switches = [name for name, field in model.model_fields.items() if _flag_type(field.annotation) is bool]

    def wrapper(config: str | None = None, **flags: Any) -> None:
        beside = {parameter.name: flags.pop(parameter.name) for parameter in own}
        for name in switches:
            if flags.pop(f"no_{name}", None):
                flags[name] = False
        values = {name: value for name, value in flags.items() if value is not None}
        settings = user_settings(model, values, config)
        with keys_of(config, values, read_yaml(config) if config is not None else {}):
            command(settings, **beside)

    groups: dict[str, list[inspect.Parameter]] = {REQUIRED: [], COMMON: []}
    for name in sorted(model.model_fields, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)):
        groups.setdefault(_panel(model, name), []).extend(_field_parameters(model, name))
    for parameter in own:
        panel = getattr(parameter.annotation.__metadata__[0], "rich_help_panel", None) or REQUIRED
        groups.setdefault(panel, []).append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    file = typer.Option(
        metavar="FILE",
        help="YAML file of these settings; flags override it.",
        show_default=False,
        rich_help_panel=OTHER,
    )
    groups[OTHER] = [_parameter("config", str, file), _parameter("help_all", bool, HELP_ALL)]
    headings = sorted(groups, key=lambda heading: heading in _LAST)
    parameters = [parameter for heading in headings for parameter in groups[heading]]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__doc__ = command.__doc__
    return wrapper


def _field_parameters(model: type[Any], name: str) -> list[inspect.Parameter]:
    """The flag of a setting. A value is text, which `checked` converts, so that a refusal has it as it was written; a
    switch has a second flag, which no help shows, to say no where the file of settings says yes.
    """
    field, flag = model.model_fields[name], f"--{name.replace('_', '-')}"
    how: dict[str, Any] = {"help": _help(field), "show_default": False, "rich_help_panel": _panel(model, name)}
    kind = _flag_type(field.annotation)
    if kind is not bool:
        return [_parameter(name, str, typer.Option(flag, metavar=METAVARS.get(kind.__name__, TEXT), **how))]
    off = typer.Option(flag.replace("--", "--no-", 1), hidden=True)
    return [
        _parameter(name, bool, typer.Option(flag, **how)), _parameter(f"no_{name}", bool, off)
    ]  # fmt: skip


def _panel(model: type[Any], name: str) -> str:
    """The heading of a setting's flag: its own, or the first line of the docstring of the class that defines it."""
    field = model.model_fields[name]
    if field.is_required() or "Required" in (field.description or ""):
        return REQUIRED
    if (name in _ORDER and name not in _UNCOMMON) or name in model.COMMON:
        return COMMON
    owner = next(c for c in reversed(model.__mro__) if name in inspect.get_annotations(c))
    return (inspect.getdoc(owner) or "Options").splitlines()[0]


def _help(field: Any) -> str:
    """The field's description with its default, unless that is an empty one."""
    if field.is_required() or field.default is None or field.default is False or field.default == []:
        return str(field.description)
    return f"{field.description} Default: {field.default}."


def renamed(old: str, new: str) -> Any:
    """A hidden option for a flag's former name, which refuses it and names the new one: a parameter annotated
    `Annotated[str | None, renamed("--folder", "--out")]`, with the default None.
    """

    def refuse(value: str | None) -> None:
        if value is not None:
            raise RaysmoothError(f"{old} is now {new}: write {new} {value}")

    return typer.Option(old, hidden=True, callback=refuse)


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    annotation = Annotated[Optional[kind], option]  # noqa: UP045 -- `kind` is only known at run time
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag_type(annotation: Any) -> Any:
    """The type of a flag's value: the field's own, or text for lists."""
    if get_origin(annotation) in (Union, type(int | None)):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation if annotation in (int, float, bool, str) else str
