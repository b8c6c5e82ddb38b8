"""Help texts, some of them composed at run time, avoid the words of docs/words.txt; `make lint` checks the files."""

import re
from collections.abc import Iterator

import pytest
import typer
from conftest import REPOSITORY
from typer.core import TyperGroup

from raysmooth.commands.app import app
from raysmooth.commands.catalogue import CATALOGUE

ENTRIES = [line.split("->") for line in (REPOSITORY / "docs/words.txt").read_text().splitlines()]
WORDS = {word for word, _ in ENTRIES}


def words(text: str) -> set[str]:
    """Lower-case words, an identifier split at underscores: as `regex` in pyproject.toml has it for codespell."""
    return set(re.findall("[a-z]+", text.lower()))


def leaves(name: str, command: typer.core.TyperCommand | TyperGroup) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    yield name, command
    if isinstance(command, TyperGroup):
        for below, one in command.commands.items():
            yield from leaves(f"{name} {below}", one)


COMMANDS = dict(leaves("raysmooth", typer.main.get_command(app)))


def help_texts(command: typer.core.TyperCommand) -> list[str]:
    """The description of a command and, of each parameter, its name, help and metavar."""
    texts = [command.help or "", command.short_help or ""]
    for parameter in command.get_params(typer.Context(command)):
        own = (getattr(parameter, "help", None), getattr(parameter, "rich_help_panel", None), parameter.metavar)
        texts += [parameter.name or "", *parameter.opts, *(text for text in own if text)]
    return texts


def test_the_dictionary_is_sorted_and_offers_allowed_words() -> None:
    assert [word for word, _ in ENTRIES] == sorted(WORDS)
    for word, instead in ENTRIES:
        assert words(instead), word
        assert not words(instead) & WORDS, word


def test_words_are_found_in_identifiers() -> None:
    first, *_, last = sorted(WORDS)
    assert words(f"_is_{first.title()}({last})") & WORDS == {first, last}


def test_all_commands_are_checked() -> None:
    assert {"raysmooth certify", "raysmooth train denoiser", "raysmooth list", "raysmooth status"} <= set(COMMANDS)
    assert any("--sigma" in text for text in help_texts(COMMANDS["raysmooth certify"]))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_uses_no_word_of_the_dictionary(name: str) -> None:
    texts = help_texts(COMMANDS[name])
    assert texts[0], "no description"
    assert not {text: found for text in texts if (found := words(text) & WORDS)}


@pytest.mark.parametrize("name", CATALOGUE)
def test_lists_use_no_word_of_the_dictionary(name: str) -> None:
    texts = {str(cell) for row in CATALOGUE[name]() for cell in row.values()}
    assert texts
    assert not {text: found for text in texts if (found := words(text) & WORDS)}
