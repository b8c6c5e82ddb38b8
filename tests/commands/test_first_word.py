"""What prints text alone imports no library that takes long to load: its first word comes at once."""

import pytest
from bare_command import outcomes
from command import command

import raysmooth
from raysmooth.commands.app import app, train
from raysmooth.commands.catalogue import CATALOGUE
from raysmooth.commands.experiments import LISTS

COMMANDS = (
    "certify", "predict", "list", "run", "demo", "show", "gallery", "recertify", "report", "import", "status", "submit",
    "sweep", "train classifier", "train denoiser", "train rejector", "optimize-sigma", "export",
)  # fmt: skip
CERTIFY = "certify --dataset digits --classifier digits_cnn --sigma 0.25"


@pytest.mark.processes
def test_help_is_printed_without_large_imports() -> None:
    commands = ["--help", "train denoiser --help-all", *(f"{name} --help" for name in COMMANDS)]
    for line, (code, out, _) in zip(commands, outcomes(commands), strict=True):
        assert code == 0, line
        assert "Usage: " in out, line


@pytest.mark.processes
def test_refusals_of_flags_need_no_large_imports() -> None:
    reasons = {
        "certify --dataset digits --sigma x": "--sigma x: input should be a valid number",
        "certify --dataset digits --classifier digits_cnn": "--sigma is missing",
        "certify --dataset digits --classifier digits_cnn --noise nope:1": "unknown noise family 'nope'",
        "certify --dataset nope --classifier digits_cnn --sigma 0.25": "unknown data set 'nope'",
        "certify --dataset folder --data-root /nowhere --classifier digits_cnn --sigma 0.25": "does not exist",
        "optimize-sigma --dataset digits --classifier digits_cnn --sigma 0.25 --search nwton": "unknown search 'nwton'",
        f"{CERTIFY} --preprocess 0.5/0": "preprocess '0.5/0' needs finite means and standard deviations above 0",
        f"{CERTIFY} --classifier-weights nope.pt": "weights file nope.pt does not exist",
        f"{CERTIFY} --classifier-weights nope.pt --dry-run": "weights file nope.pt does not exist",
        f"{CERTIFY} --out {__file__}": "File exists: name a writable folder",
        f"{CERTIFY} --out {__file__}/below": "Not a directory: name a writable folder",
        "run digit": "there is no experiment digit: did you mean 'digits'?",
        "sweep nope.yaml": "nope.yaml: there is no such file",
        "train denoiser --dataset digits --epochs 0": "--epochs 0: input should be greater than or equal to 1",
    }
    for (line, reason), (code, out, err) in zip(reasons.items(), outcomes([*reasons]), strict=True):
        assert (code, out) == (2, ""), line
        assert err.startswith("raysmooth: "), line
        assert reason in err, line


@pytest.mark.processes
def test_commands_that_take_longer_say_at_once_what_for() -> None:
    """Before the first large import, on standard error."""
    starts = {
        "certify --dataset digits --classifier digits_cnn --sigma 0.25": "torch",
        "certify --dataset digits --classifier digits_cnn --sigma 0.25 --dry-run": "torch",
        "predict --dataset digits --classifier digits_cnn --sigma 0.25": "torch",
        "train classifier --dataset digits --classifier digits_cnn --out x.safetensors": "torch",
        "train denoiser --dataset digits --denoiser dncnn --objective mse --sigma 0.25 --out x.safetensors": "torch",
        "sweep experiments/digits-sweep.yaml": "torch",
        "run digits": "torch",
        "demo": "torch",
        "show results 1": "pandas",
        "gallery --dataset digits --sigma 0.25 --denoiser-weights x.safetensors": "torch",
        "recertify results": "pandas",
        "report results": "pandas",
    }
    for (line, library), (code, out, err) in zip(starts.items(), outcomes([*starts]), strict=True):
        assert isinstance(code, str), (line, err)  # it went on to import something
        assert out == "", line
        assert err.startswith(f"raysmooth: loading {library}, then "), line
        assert err.endswith(" ...\n"), line


@pytest.mark.processes
def test_lists_need_no_large_imports() -> None:
    commands = ["list", *(f"list {name}" for name in LISTS)]
    for line, (code, out, err) in zip(commands, outcomes(commands), strict=True):
        assert (code, err) == (0, ""), line
        assert len(out.splitlines()) > 4, line


def test_list_alone_names_what_there_is_to_list(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, "list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:]] == [*LISTS] == [*CATALOGUE]


@pytest.mark.parametrize("words", ["-h", "certify -h", "train denoiser -h", "list -h"])
def test_h_is_help(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, *words.split()) == command(capsys, *words.split()[:-1], "--help")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "--version") == (0, f"raysmooth {raysmooth.__version__}\n", "")


def test_help_is_tried_for_every_command() -> None:
    names = {one.name for one in app.registered_commands}
    names |= {f"train {one.name}" for one in train.registered_commands}
    assert names == set(COMMANDS)
