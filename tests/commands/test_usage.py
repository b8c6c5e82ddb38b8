"""Helps, which put first what one has to write, and mistakes in a command line, each of which is one line."""

from pathlib import Path
from typing import Any

import pytest
import typer
from command import command, refused

from raysmooth.commands.app import app
from raysmooth.commands.usage import shell_lines

LONG = "x" * 1000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("certfy", "no command 'certfy': did you mean certify or recertify?"),
        ("--certify", "no flag --certify: write raysmooth certify"),
        ("help", "no command 'help': write raysmooth --help"),
        ("train denoise", "train: no command 'denoise': did you mean denoiser?"),
        ("certify digits", "certify: 'digits' is too much: raysmooth certify takes flags only"),
        ("certify --datset digits", "certify: no flag --datset: did you mean --dataset or --rate?"),
        ("certify --qqqqqq", "certify: no flag --qqqqqq: raysmooth certify --help-all lists its flags"),
        ("status --qqqqqq", "status: no flag --qqqqqq: raysmooth status --help lists its flags"),
        ("certify --sigma", "--sigma needs a value"),
        ("certify --verbose=3", "--verbose takes no value"),
        ("show results", "show: IMAGE is missing: Number of the image in the data set"),
        ("recertify results --n 1.5", "recertify: --n: write a whole number"),
        ("status results --watch fast", "--watch fast: write seconds, as in --watch 5"),
        ("demo extra", "demo: 'extra' is too much"),
        ("show results 1 2", "show: '2' is too much: write raysmooth show RESULTS IMAGE"),
        ("certify --n ten", "--n ten: input should be a valid integer"),
    ],
)
def test_a_mistake_in_usage_is_one_line(capsys: pytest.CaptureFixture[str], words: str, expected: str) -> None:
    assert refused(capsys, *words.split()).startswith(expected)


@pytest.mark.parametrize(
    "odd", ["zero\u200bwidth", "\x1b[31mred", "a\nFORGED", "\u202eback", "\udcff", LONG, "y z" * 2000]
)
@pytest.mark.parametrize(
    "words",
    [["status", "/", "{}"], ["{}"], ["--{}"], ["certify", "--{}"], ["certify", "--n={}"], ["list", "a", "--{}=1"],
     ["certify", "--dry-run={}"], ["train", "{}"], ["report", "x", "--familywise", "{}"]],
)  # fmt: skip
def test_what_was_written_is_printable_and_short(
    capsys: pytest.CaptureFixture[str], words: list[str], odd: str
) -> None:
    line = refused(capsys, *(word.replace("{}", odd) for word in words))
    assert line.isprintable()
    assert len(line) < 600
    assert odd not in line


@pytest.mark.parametrize(
    "name", [f"odd:none:{LONG}", f"odd:a={LONG},{LONG}", f"{LONG}:", f"odd:{LONG}=1,{LONG}=2", LONG]
)
def test_long_names_of_networks_are_cut(capsys: pytest.CaptureFixture[str], name: str) -> None:
    line = refused(capsys, "certify", "--dataset", "digits", "--sigma", "0.25", "--classifier", name)
    assert "x" * 201 not in line
    assert len(line) < 1000


def test_help_without_a_command_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, "train")
    assert (code, err) == (2, "")
    assert "Train a classifier, a denoiser for one, or a rejector." in out


def help_of(capsys: pytest.CaptureFixture[str], *words: str, flag: str = "--help") -> list[str]:
    code, out, _ = command(capsys, *words, flag)
    assert code == 0
    return out.splitlines()


def panels(lines: list[str]) -> dict[str, list[str]]:
    """The flags below each heading of a help."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("╭"):
            heading = found.setdefault(line.strip("╭─╮ "), [])
        elif line.startswith("│ --"):
            heading.append(line.split()[1])
    return found


def test_a_help_has_what_must_be_given_first_then_what_most_people_need(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_of(capsys, "train", "denoiser")
    assert max(map(len, lines)) <= 80
    found = panels(lines)
    assert list(found) == ["Required", "Common", "Other"]
    assert found["Required"] == ["--dataset", "--denoiser", "--objective", "--sigma", "--out"]
    assert found["Common"][:3] == ["--data-root", "--classifier", "--classifier-weights"]
    assert found["Other"] == ["--config", "--help", "--help-all"]
    certify = panels(help_of(capsys, "certify"))
    assert certify["Required"] == ["--dataset", "--classifier", "--sigma"]
    assert certify["Common"][-1] == "--dry-run"


COMMANDS = (
    "certify", "predict", "list", "run", "demo", "show", "gallery", "submit", "recertify", "report", "import",
    "status", "sweep", "train classifier", "train denoiser", "train rejector", "optimize-sigma",
)  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
def test_every_help_fits_a_screen_and_ends_with_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_of(capsys, *words.split())
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    after = "\n".join(lines).rpartition("╯")[2].split()
    assert after[0] in ("Example:", "Examples:")
    assert after[1:3] == ["raysmooth", words.split()[0]]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_flag_is_in_the_help_or_in_the_whole_one_that_it_names(
    capsys: pytest.CaptureFixture[str], words: str
) -> None:
    one: Any = typer.main.get_command(app)
    for word in words.split():
        one = one.commands[word]
    flags = {p.opts[0] for p in one.get_params(typer.Context(one)) if p.param_type_name == "option" and not p.hidden}
    lines = help_of(capsys, *words.split())
    short = {flag for heading in panels(lines).values() for flag in heading}
    if "--help-all" not in short:
        assert short == flags
        return
    whole = panels(help_of(capsys, *words.split(), flag="--help-all"))
    assert {flag for heading in whole.values() for flag in heading} == flags
    assert list(whole)[-1] == "Other"
    end = " ".join("\n".join(lines).split())
    headings = [name.partition(" (")[0] for name in whole if name not in panels(lines)]
    assert end.endswith(
        f" {len(flags - short)} more flags ({', '.join(headings)}): raysmooth {words} --help-all"
    )  # fmt: skip
    assert "more flags" not in command(capsys, *words.split(), "--help-all")[1]


def test_an_example_is_shell_to_copy() -> None:
    written = 'raysmooth gallery --images 0,20 --denoiser-weights "a {sigma}.pt,b.pt" --sigma 0.25 results'
    assert list(shell_lines(written, 45)) == [
        "raysmooth gallery --images 0,20 \\",
        '    --denoiser-weights "a {sigma}.pt,b.pt" \\',
        "    --sigma 0.25 results",
    ]


def test_a_switch_can_be_turned_off_where_the_file_turns_it_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text("verbose: true\nsigma: 0.5\ndataset: digits\nclassifier: digits_cnn\nn: 0\n")
    assert "run.yaml: n 0: " in refused(capsys, "certify", "--config", str(tmp_path / "run.yaml"), "--no-verbose")
    assert not any("--no-" in line for line in help_of(capsys, "certify", flag="--help-all"))
