"""Command lines that cannot be parsed: one printable line, exit code 2."""

import pytest
from command import command, refused

LONG = "x" * 1000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list"], "list: missing argument 'LIST'; see raysmooth list --help"),
        (["trian"], "no such command 'trian': did you mean 'train'? See raysmooth --help"),
        (["--x"], "no such option: --x; see raysmooth --help"),
        (["status", "a", "b"], "status: got unexpected extra argument(s) (b); see raysmooth status --help"),
        (["certify", "--n"], "certify: option '--n' requires an argument; see raysmooth certify --help"),
        (["certify", "--n", "1.5"], "certify: invalid value for '--n': "),
        (
            ["certify", "--dry-run=yes"],
            "certify: option '--dry-run' does not take a value; see raysmooth certify --help",
        ),
        (["train", "classifier", "--sgima", "1"], "train classifier: no such option: --sgima (Possible options: "),
    ],
)
def test_usage_errors_are_refusals_that_name_the_command(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert refused(capsys, *words).startswith(expected)


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
    assert "Train a classifier, or a denoiser for one." in out
