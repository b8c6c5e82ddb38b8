"""How commands show themselves: helps that end with examples, and one line for a mistake in a command line."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from textwrap import wrap
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from raysmooth.common.errors import RaysmoothError, printable

_USAGE_ERROR: Any = typer.BadParameter.__base__
"""Click's class of mistakes in a command line, or that of the copy of Click in newer versions of Typer."""

_LONGEST_NAME = 100
"""Characters of an unknown name that are compared with the known ones."""

_MOST_SUGGESTIONS = 2

_EXAMPLE = "`raysmooth "
"""How an example begins in the docstring of a command. It is a paragraph, with a ` at its end too."""


REQUIRED, COMMON, OTHER = "Required", "Common", "Other"
"""Headings of a help: flags that must be given, those that most people need, and, last, --config and --help. A help
that has others too leaves them to --help-all.
"""

_WHOLE = "whole help"
"""Key in a context's `meta`: whether all flags are to be shown."""

TEXT = "TEXT"
METAVARS = {"int": "INT", "float": "NUMBER", "bool": ""}
"""What a help says beside a flag of that type. Any other is TEXT."""


def _show_whole_help(ctx: typer.Context, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        ctx.meta[_WHOLE] = True
        typer.echo(ctx.get_help(), color=ctx.color)
        raise typer.Exit


HELP_ALL = typer.Option(
    "--help-all",
    is_eager=True,
    expose_value=False,
    callback=_show_whole_help,
    help="Show all flags and exit.",
    show_default=False,
    rich_help_panel=OTHER,
)
"""The flag --help-all, which a command needs whose flags have headings of their own."""


def shown(params: list[Any]) -> list[Any]:
    """`params` as a help shows them: what they take in capitals, --help and --help-all last if there are headings."""
    headings = any(getattr(param, "rich_help_panel", None) for param in params)
    for param in params:
        if param.param_type_name == "option" and param.metavar is None:
            flag = getattr(param, "is_flag", False)
            param.metavar = "" if flag else METAVARS.get(param.bare_type().partition(" ")[0], TEXT)
        if param.name == "help" and headings:
            param.rich_help_panel = OTHER
    return sorted(params, key=lambda param: param.name == "help_all")


def _further(params: list[Any]) -> list[Any]:
    """The flags that --help leaves to --help-all: those below headings of their own."""
    panels = (None, REQUIRED, COMMON, OTHER)
    return [p for p in params if not p.hidden and getattr(p, "rich_help_panel", None) not in panels]


@contextmanager
def _hidden(params: list[Any]) -> Iterator[None]:
    for param in params:
        param.hidden = True
    try:
        yield
    finally:
        for param in params:
            param.hidden = False


class CommandWithExamples(TyperCommand):
    """A command whose help ends with the examples of its docstring, each as lines of shell to copy. --help shows the
    required and the common flags only, if it has others, and says so.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        return shown(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        whole = self.help or ""
        paragraphs = [p for p in whole.split("\n\n") if p not in ("**Example**", "**Examples**")]
        examples = [" ".join(p.strip("`").split()) for p in paragraphs if p.startswith(_EXAMPLE)]
        left_out = [] if ctx.meta.get(_WHOLE) else _further(self.get_params(ctx))
        try:
            self.help = "\n\n".join(p for p in paragraphs if not p.startswith(_EXAMPLE))
            with _hidden(left_out):
                super().format_help(ctx, formatter)
        finally:
            self.help = whole
        width = min(shutil.get_terminal_size().columns, 120)
        if examples:
            typer.echo(f" Example{'s' * (len(examples) > 1)}:\n")
            for example in examples:
                typer.echo("\n".join(f"   {line}" for line in shell_lines(example, width - 3)) + "\n")
        if left_out:
            headings = ", ".join(dict.fromkeys(param.rich_help_panel.partition(" (")[0] for param in left_out))
            more = f"{len(left_out)} more flags ({headings}): {' '.join(['raysmooth', *_command(ctx)])} --help-all"
            typer.echo("\n".join(f" {line}" for line in wrap(more, width - 1, break_on_hyphens=False)))


def shell_lines(command: str, width: int) -> Iterator[str]:
    """A command as lines of at most `width` characters, as far as its words allow, with a backslash at their ends. A
    flag stays beside its value.
    """
    line = ""
    for part in re.findall(r"""(?:--?[\w-]+ )?(?:"[^"]*"|'[^']*'|\S+)""", command):
        if line.strip() and len(line) + 1 + len(part) + 2 > width:
            yield f"{line} \\"
            line = f"    {part}"
        else:
            line = f"{line} {part}" if line else part
    yield line


class OneLineGroup(TyperGroup):
    """The commands, whose mistakes in usage are refusals like all others, without a panel of five lines."""

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _refused():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _refused():  # what follows a command's name is parsed here
            return super().invoke(ctx)


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # it has printed the help
            raise
        raise RaysmoothError(_in_one_line(error)) from None


def _in_one_line(error: Any) -> str:
    """What is wrong with the command line, in which command, and what to write instead."""
    option = getattr(error, "option_name", None)
    if error.ctx is None:
        if option is None:
            return printable(error.format_message())
        return f"{printable(option)} {'takes no' if 'not take' in error.message else 'needs a'} value"
    where = f"{command}: " if (command := " ".join(_command(error.ctx))) else ""
    if unknown := re.match(r"No such command '(.*)'\.", error.message, re.DOTALL):
        return f"{where}no command '{printable(unknown[1])}': {_command_instead(error.ctx, unknown[1])}"
    if option is not None:
        return f"{where}no flag {printable(option)}: {_flag_instead(error.ctx, option)}"
    if (parameter := getattr(error, "param", None)) is not None:
        missing = type(error).__name__ == "MissingParameter"
        what = (
            f" is missing: {getattr(parameter, 'help', None) or _see(error.ctx)}" if missing else f": {_wanted(error)}"
        )
        return f"{where}{_written(parameter)}{what}".rstrip(".")
    if extra := re.search(r"unexpected extra arguments?(?:\(s\))? \((.*)\)$", error.message, re.DOTALL):
        return f"{where}'{printable(extra[1])}' is too much: {_extra_instead(error.ctx)}"
    return f"{where}{printable(error.format_message())} {_see(error.ctx)}"


def _command(ctx: Any) -> list[str]:
    """The words of the command, without the program's name, which begins every refusal."""
    return [] if ctx.parent is None else [*_command(ctx.parent), ctx.info_name]


def _see(ctx: Any) -> str:
    return f"see {' '.join(['raysmooth', *_command(ctx)])} --help"


def _wanted(error: Any) -> str:
    for kind, words in (
        ("valid integer", "write a whole number"),
        ("valid number", "write a number"),
        ("to float", "write a number"),
    ):
        if kind in error.message:
            return words
    return printable(error.message)


def _command_instead(ctx: Any, word: str) -> str:
    if word == "help":
        return f"write {' '.join(['raysmooth', *_command(ctx)])} --help"
    known = list(ctx.command.commands)
    return f"did you mean {near}?" if (near := _near(word, known)) else f"commands are {', '.join(known)}"


def _flag_instead(ctx: Any, flag: str) -> str:
    words = ["raysmooth", *_command(ctx)]
    if (command := flag.lstrip("-")) in getattr(ctx.command, "commands", {}):
        return " ".join(["write", *words, command])
    params = [p for p in ctx.command.get_params(ctx) if p.param_type_name == "option" and not p.hidden]
    near = _near(flag, [name for param in params for name in param.opts])
    listing = "--help-all" if any(param.name == "help_all" for param in params) else "--help"
    return f"did you mean {near}?" if near else f"{' '.join(words)} {listing} lists its flags"


def _extra_instead(ctx: Any) -> str:
    arguments = [p for p in ctx.command.get_params(ctx) if p.param_type_name == "argument"]
    usage = " ".join(["raysmooth", *_command(ctx), *map(_written, arguments)])
    how = f"write {usage}" if arguments else f"{usage} takes flags only"
    return f"{how}; text with blanks needs quotes, lists have commas and no blanks"


def _written(parameter: Any) -> str:
    """A flag or an argument as users write it."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return str(max(parameter.opts, key=len))


def _near(name: str, known: list[str]) -> str:
    return " or ".join(get_close_matches(name.lower()[:_LONGEST_NAME], known, n=_MOST_SUGGESTIONS, cutoff=0.6))
