"""Flags that commands share."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from raysmooth.commands.flags import renamed
from raysmooth.common.errors import RaysmoothError

app = typer.Typer()


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
