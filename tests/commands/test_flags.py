"""Flags that commands share."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from raysmooth.commands.app import app as whole_app
from raysmooth.commands.flags import renamed
from raysmooth.common.errors import RaysmoothError

app = typer.Typer()


def arguments(group: Any) -> Iterator[tuple[str, str]]:
    """The arguments of each command, as its usage names them."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from arguments(one)
        else:
            found = [param for param in one.get_params(typer.Context(one)) if param.param_type_name == "argument"]
            yield from ((name, param.metavar or param.name) for param in found)


def test_usages_name_their_arguments_in_capitals() -> None:
    found = list(arguments(typer.main.get_command(whole_app)))
    assert {("run", "EXPERIMENT"), ("status", "RESULTS"), ("import", "LOG")} <= set(found)
    assert [(name, argument) for name, argument in found if not argument.isupper()] == []


@app.command()
def paint(out: str = "picture.png", to: Annotated[str | None, renamed("--to", "--out")] = None) -> None:
    assert to is None
    print(out)


def test_a_former_name_is_refused_with_the_present_one() -> None:
    with pytest.raises(RaysmoothError, match=r"^--to is now --out: write --out a\.png$"):
        CliRunner().invoke(app, ["--to", "a.png"], catch_exceptions=False)


def test_the_present_name_is_taken_and_the_former_is_not_in_the_help() -> None:
    assert CliRunner().invoke(app, ["--out", "a.png"]).output == "a.png\n"
    help_text = CliRunner().invoke(app, ["--help"]).output
    assert "--out" in help_text
    assert "--to" not in help_text
