"""Refusals name settings as they were written: flags, keys of a file, keywords of Python."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import refused

import raysmooth
from raysmooth.common.errors import Interrupted, RaysmoothError
from raysmooth.common.spelling import as_keys, as_keywords, in_keywords, keys_of
from raysmooth.pipeline.progress.progress_bars import Display


@pytest.mark.parametrize(
    ("message", "keywords", "keys"),
    [
        ("--data-root x does not exist", "data_root x does not exist", "data_root x does not exist"),
        ("write --sigma 64/255 (0.251)", "write sigma=64/255 (0.251)", "write sigma: 64/255 (0.251)"),
        ("write --norm l2 or linf, say", 'write norm="l2" or linf, say', "write norm: l2 or linf, say"),
        (
            "write --n 5, --norm l2 or --address NAME:PORT",
            'write n=5, norm="l2" or address=NAME:PORT',
            "write n: 5, norm: l2 or address: NAME:PORT",
        ),
        (
            "write --rejector network:depth=10,threshold=0.5, --n 5 or leave it",
            'write rejector="network:depth=10,threshold=0.5", n=5 or leave it',
            "write rejector: network:depth=10,threshold=0.5, n: 5 or leave it",
        ),
        (
            "for that one (finished), write --denoiser none --sigma 0.25 --n 5",
            'for that one (finished), write denoiser="none", sigma=0.25, n=5',
            "for that one (finished), write denoiser: none, sigma: 0.25, n: 5",
        ),
        ("another --out, or --overwrite", "another out, or overwrite=True", "another out, or overwrite: true"),
        ("write --split, or --data-root", "write split, or data_root", "write split, or data_root"),
        ("write --recipe with one of a, b", "write recipe with one of a, b", "write recipe with one of a, b"),
        ("use 'raysmooth recertify --n 5'", "use 'raysmooth recertify --n 5'", "use 'raysmooth recertify --n 5'"),
        ("3 more -- they do not fit a--b", "3 more -- they do not fit a--b", "3 more -- they do not fit a--b"),
    ],
)
def test_flags_become_what_was_written(message: str, keywords: str, keys: str) -> None:
    assert as_keywords(message) == keywords
    assert as_keys(message) == keys


def test_a_setting_of_the_file_is_named_with_the_file_and_one_of_the_command_line_by_its_flag() -> None:
    def raised(message: str) -> str:
        with pytest.raises(RaysmoothError) as refusal, keys_of("a.yaml", ["n"], {"n": 5, "data_root": "gone"}):
            raise RaysmoothError(message)
        return str(refusal.value)

    assert raised("--data-root gone: no") == "a.yaml: data_root gone: no"
    assert raised("--n 5: no") == "--n 5: no"
    assert raised("a.yaml: --data-root gone: no") == "a.yaml: data_root gone: no"
    assert raised("nothing is at gone") == "a.yaml: data_root: nothing is at gone"
    assert raised("--skip 3: no") == "--skip 3: no"


def test_commands_name_the_keys_of_their_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("dataset: mnist\ndata_root: gone\nclassifier: lenet\nclassifier_weights: w.pt\nsigma: 0.25\n")
    line = refused(capsys, "certify", "--config", str(file))
    assert line.startswith(f"{file}: mnist: data_root gone does not exist")
    assert refused(capsys, "certify", "--config", str(file), "--data-root", "away").startswith(
        "mnist: --data-root away"
    )
    file.write_text("train: denoiser\nsettings: {dataset: digits, denoiser: dncnn, objective: stab+mse, sigma: 0.5}\n")
    assert refused(capsys, "sweep", str(file)).startswith(f"{file}: objective 'stab+mse' needs classifier and cl")


def test_functions_name_their_keywords(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=r"^sigma is missing: Noise level"):
        raysmooth.certify(dataset="digits", classifier="digits_cnn")
    file = tmp_path / "run.yaml"
    file.write_text("dataset: mnist\ndata_root: gone\nclassifier: lenet\nclassifier_weights: w.pt\nsigma: 0.25\n")
    with pytest.raises(RaysmoothError, match=r"^.*run\.yaml: mnist: data_root gone does not exist"):
        raysmooth.certify(file)
    with pytest.raises(RaysmoothError, match=r"^n 0: input"):
        raysmooth.certify(file, n=0)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (
            lambda: raysmooth.session(adress=3),  # type: ignore[call-arg]
            "unknown setting 'adress': did you mean 'address'? (known: address, ",
        ),
        (
            lambda: raysmooth.recertify("results", alhpa=0.1),  # type: ignore[call-arg]
            "unknown setting 'alhpa': did you mean 'alpha'? (known: ",
        ),
        (lambda: raysmooth.report("results", tabel="runs"), "unknown setting 'tabel': did you mean 'table'? (known: "),
    ],
)
def test_functions_refuse_an_unknown_keyword_in_one_line(call: Callable[[], object], line: str) -> None:
    with pytest.raises(RaysmoothError, match="^" + re.escape(line)):
        call()


@pytest.mark.parametrize("name", [name for name in raysmooth.__all__ if name.startswith("train_")])
def test_interrupted_trainings_say_that_the_same_call_resumes(name: str) -> None:
    def training() -> None:
        raise KeyboardInterrupt

    training.__name__ = name
    with pytest.raises(Interrupted, match="the same call resumes"):
        in_keywords(training)()


def test_notes_of_a_call_from_python_name_keywords(capsys: pytest.CaptureFixture[str]) -> None:
    @in_keywords
    def call() -> None:
        Display(True).note("chosen: --batch-size 250; see raysmooth certify --help")

    call()
    Display(True).note("chosen: --batch-size 250")
    assert capsys.readouterr().err.splitlines() == [
        "chosen: batch_size 250; see raysmooth certify --help",
        "chosen: --batch-size 250",
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"sigma": None}, "sigma is missing: Noise level: "),
        ({"sigma": "64/0"}, "sigma 64/0: 64 divided by 0 is no number"),
        ({"sigma": [0.25, "64/0"]}, "sigma 64/0: 64 divided by 0 is no number"),
        ({"sigma": 0.25, "noise": np.array([0.25])}, "noise is an object of type numpy.ndarray of shape (1,): write"),
        ({"sigma": np.array([[0.25]])}, "sigma is an object of type numpy.ndarray of shape (1,): write"),
    ],
)
def test_values_that_are_none_or_no_numbers(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        raysmooth.certify(dataset="digits", classifier="digits_cnn", **settings)
    assert str(refusal.value).startswith(expected)


def test_a_list_of_numbers_may_be_an_array() -> None:
    with pytest.raises(RaysmoothError, match=r"^sigma names a level twice: 0\.25, 0\.25$"):
        raysmooth.certify(dataset="digits", classifier="digits_cnn", sigma=np.array([0.25, 0.25]))
