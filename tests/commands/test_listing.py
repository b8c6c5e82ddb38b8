"""Lists of names on terminals of any width, and in pipes."""

import pytest
from command import command, refused
from rich.console import Console

from raysmooth.commands import listing

ROWS = [
    {"recipe": "short", "phases": "90 epochs adam", "batch": 256, "source": "a paper, its appendix A"},
    {
        "recipe": "a-name-of-some-length",
        "phases": "50 epochs adam, then 550 epochs sgd, more slowly",
        "batch": 64,
        "source": "another paper, its appendix B",
    },
]


def on_terminal(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    def terminal(**_: object) -> Console:
        return Console(width=width, force_terminal=True, color_system=None)

    monkeypatch.setattr(listing, "Console", terminal)
    listing.print_list(ROWS, "raysmooth list recipes NAME")
    return capsys.readouterr().out


def test_a_wide_terminal_shows_every_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = on_terminal(130, capsys, monkeypatch)
    assert out.split()[:4] == ["recipe", "phases", "batch", "source"]
    assert "raysmooth list" not in out


def test_a_narrow_one_leaves_columns_out_and_says_how_to_see_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = on_terminal(64, capsys, monkeypatch).splitlines()
    assert lines[0].split() == ["recipe", "phases"]
    assert lines[-1] == "with batch, source: raysmooth list recipes NAME"
    assert max(map(len, lines)) <= 64
    assert len(lines) == 2 + 3 + 2  # one name needs two lines


def test_a_very_narrow_one_has_each_name_above_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_terminal(46, capsys, monkeypatch).splitlines()[:5] == [
        "short",
        "  90 epochs adam",
        "a-name-of-some-length",
        "  50 epochs adam, then 550 epochs sgd, more",
        "  slowly",
    ]


def test_a_pipe_gets_one_line_for_each_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = command(capsys, "list", "recipes")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("salman2020-cifar10-stab-1 "))
    assert line.rstrip().endswith("Salman et al. 2020, appendix A, table 4 and list below it")


def test_one_name_with_all_that_is_known_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capsys, "list", "recipes", "jeong2020-mnist")
    assert code == 0
    assert [line.split("  ", 1)[0] for line in out.splitlines()] == [
        "recipe", "phases", "batch", "decay", "momentum", "augment", "source",
    ]  # fmt: skip
    assert "did you mean 'jeong2020-mnist'?" in refused(capsys, "list", "recipes", "jeong2020-mnst")
