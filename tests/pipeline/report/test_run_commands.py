"""The page's commands make the runs that it shows."""

import shlex
from typing import Any

import pytest
from manifests import manifest_of

from raysmooth.common.settings import checked
from raysmooth.pipeline.report.page.run_commands import run_command
from raysmooth.pipeline.runs.settings import CertifySettings

GIVEN: dict[str, Any] = {
    "dataset": "folder",
    "data_root": "/data/my photos",
    "classifier": "digits_cnn",
    "sigma": [0.25, 0.5],
    "skip": 2,
    "sampling": "adaptive",
    "compile": "off",
    "out": "results of mine",
}


@pytest.mark.parametrize("more", [{}, {"sampling": "fixed"}, {"sampling": "decide", "radius": 0.5}])
def test_the_command_has_the_settings_of_the_run(more: dict[str, Any]) -> None:
    settings = checked(CertifySettings, GIVEN | more)
    command = run_command({**manifest_of(), "settings": settings.model_dump()})
    assert command is not None
    words = shlex.split(command)
    assert words[:2] == ["raysmooth", "certify"]
    assert all(flag.startswith("--") for flag in words[2::2])
    written = {
        flag.removeprefix("--").replace("-", "_"): value for flag, value in zip(words[2::2], words[3::2], strict=True)
    }
    assert checked(CertifySettings, written) == settings


def test_recertified_runs_and_runs_of_unknown_origin() -> None:
    settings = {"out": "results", "n": 1000, "alpha": 0.01}
    source = {"source_run": "ab" * 8, "noise_bound": "runner-up", "familywise": None, "n": 1000, "alpha": 0.01}
    begins = f"raysmooth recertify results --run {'ab' * 8}"
    manifest = {**manifest_of(), "settings": settings}
    manifest["identity"] |= source
    assert run_command(manifest) == f"{begins} --alpha 0.01 --n 1000 --noise-bound runner-up"
    manifest["identity"] |= {"familywise": 0.05, "norm": "linf"}
    assert run_command(manifest) == f"{begins} --familywise 0.05 --n 1000 --noise-bound runner-up --norm linf"
    assert run_command({"identity": {"dataset": "digits"}, "settings": {}}) is None
    assert run_command({"identity": {"procedure": "certify"}}) is None


def test_joined_runs_and_memories() -> None:
    manifest: dict[str, Any] = {**manifest_of(), "settings": {"out": "results"}, "recertified": {"n": 500}}
    manifest["identity"] |= {"procedure": "memory", "source_run": "ab" * 8}
    assert run_command(manifest) == f"raysmooth recertify results --run {'ab' * 8} --memory"
    facts = {"procedure": "envelope", "sources": ["ab" * 8, "cd" * 8], "n": 1000, "alpha": 0.01, "source_run": None}
    manifest["identity"] |= {**facts, "sigma_rule": "envelope of 0.25, 0.5", "noise_bound": "runner-up"}
    runs = f"{'ab' * 8},{'cd' * 8}"
    assert run_command(manifest) == f"raysmooth recertify results --envelope {runs} --alpha 0.01 --n 500"
    manifest["identity"] |= {"sigma_rule": "worst of 0.25, 0.5", "noise_bound": "complement"}
    del manifest["recertified"]
    expected = f"raysmooth recertify results --worst-sigma {runs} --alpha 0.01 --noise-bound complement"
    assert run_command(manifest) == expected


def test_what_a_manifest_says_is_one_line_of_plain_text() -> None:
    hostile = {"x; rm -rf ~": "$(reboot)", "data_root": "a\x1b[31m\nb'", "classifier": "x" * 999, "skip": {"a": 1}}
    command = run_command({**manifest_of(), "settings": hostile})
    assert command is not None
    assert command.isprintable()
    assert len(command) < 500
    assert shlex.split(command)[2:5] == ["--x; rm -rf ~", "$(reboot)", "--data-root"]
