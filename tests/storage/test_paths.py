"""What no file can be called is refused in one line; "~" is the home folder."""

from pathlib import Path
from typing import Any

import pytest
from command import command, refused

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.storage.location import located
from raysmooth.storage.paths import problem_with_path, refuse_no_path

IMPOSSIBLE = {
    "": "an empty path",
    " ": "an empty path",
    "a\0b": "control characters",
    "a\nb": "control characters",
    "a\x1b[31mb": "control characters",
    "a\x7fb": "control characters",
    "a\ud800": "characters that no file name can have",
    "~nosuchuser/x": "no home folder of that user",
    "x" * 256: "too long for a path",
    "é" * 128: "too long for a path",
    "x/" * 2048: "too long for a path",
    "s3://bucket/" + "x" * 4096: "too long for a path",
}
FLAGS = "--dataset folder --classifier lenet --sigma 0.25"


@pytest.mark.parametrize("path", IMPOSSIBLE)
def test_no_file_has_such_a_path(path: str) -> None:
    assert problem_with_path(path).startswith(IMPOSSIBLE[path])
    for refuse in (refuse_no_path, located):
        with pytest.raises(RaysmoothError) as refusal:
            refuse(path)
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    "path",
    ["x" * 255, "é" * 127, "x/" * 2047, "~", "a b", "caf\udce9", "s3://bucket/" + "x" * 1000, "{sigma}/w.pt#key"],
)
def test_files_have_such_paths(path: str) -> None:
    assert problem_with_path(path) is None


def test_arrow_opens_no_names_that_are_not_utf8() -> None:
    assert problem_with_path("caf\udce9", for_arrow=True).startswith("bytes that are not UTF-8")
    with pytest.raises(RaysmoothError, match=r"^'caf\\xe9': bytes that are not UTF-8, which Arrow needs"):
        located("caf\udce9")


@pytest.mark.parametrize("flag", ["--data-root", "--out", "--classifier-weights", "--denoiser-weights"])
@pytest.mark.parametrize("path", ["", "a\nb", "a\x1b[31mb", "x" * 5000, "a\ud800"])
def test_a_flag_is_named(capsys: pytest.CaptureFixture[str], flag: str, path: str) -> None:
    line = refused(capsys, "certify", *FLAGS.split(), flag, path)
    assert line.startswith(f"{flag} ")
    assert f": {IMPOSSIBLE['x' * 256 if len(path) > 9 else path]}" in line
    assert line.isprintable()
    assert len(line) < 400


@pytest.mark.parametrize(
    "arguments", [["report"], ["status"], ["recertify", "--alpha", "0.01"], ["show", "0"], ["run"]]
)
@pytest.mark.parametrize("path", ["", "a\nb", "x" * 300])
def test_arguments_too(capsys: pytest.CaptureFixture[str], arguments: list[str], path: str) -> None:
    name, *more = arguments
    line = refused(capsys, name, path, *more)
    assert f": {IMPOSSIBLE['x' * 256 if len(path) > 9 else path]}" in line
    assert line.isprintable()


def test_a_folder_that_may_not_be_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied", "/proc/1/cwd")

    monkeypatch.setattr("os.scandir", denied)
    monkeypatch.setattr(Path, "iterdir", denied)
    line = refused(capsys, "certify", *FLAGS.split(), "--data-root", "/proc")
    assert line == "folder: /proc/1/cwd cannot be read (permission denied): make it readable"


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("out: ~/results\ndataset: digits\nclassifier: digits_cnn\nsigma: 0.25\n")
    settings = user_settings(CertifySettings, {}, tmp_path / "c.yaml")
    assert settings.out == str(tmp_path / "results")
    assert located("~/results").local == tmp_path / "results"
    assert PROCEDURES["certify"].settings is CertifySettings


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "-1", "1e300"])
def test_seconds_to_watch(capsys: pytest.CaptureFixture[str], tmp_path: Path, seconds: str) -> None:
    line = refused(capsys, "status", str(tmp_path), "--watch", seconds)
    assert line == f"--watch {float(seconds):g}: write seconds, 0.1 to 86400"


def test_a_refusal_is_one_line_whatever_it_quotes() -> None:
    assert str(RaysmoothError("a\nb\x1b[2J\udce9 \u202e\N{LATIN SMALL LETTER E WITH ACUTE}")) == (
        "a\\nb\\x1b[2J\\xe9 \\u202e\N{LATIN SMALL LETTER E WITH ACUTE}"
    )


def test_a_command_with_a_home_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    log = tmp_path / "log.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\n0\t1\t1\t0.1\t1\n")
    flags = "--dataset cifar10 --classifier c --sigma 0.25 --out ~/results"
    assert command(capsys, "import", str(log), *flags.split())[0] == 0
    assert (tmp_path / "results/runs").is_dir()
    assert command(capsys, "report", "~/results", "--out", "~/report")[0] == 0
    assert (tmp_path / "report/table.md").is_file()
