"""What certify says of levels that are found first: in its help, and in a dry run."""

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from rich.console import Console

import raysmooth
from raysmooth.commands.estimate_table import print_estimates
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.analysis.sigmas.limits import PER_IMAGE
from raysmooth.pipeline.dry_run import searched_run
from raysmooth.pipeline.dry_run.estimate import Estimate
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import CertifySettings

SETTINGS: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": [0.25, 0.5], "max": 3, "n": 200,
    "search": "ddrs:steps=300",
}  # fmt: skip


def test_help_and_readme_say_what_rows_do_not_say() -> None:
    described = CertifySettings.model_fields["sigmas"].description
    for text in ((REPOSITORY / "README.md").read_text(), described or ""):
        assert PER_IMAGE[:-1].lower() in re.sub(r"\s+", " ", text).lower()


def one(seconds: float) -> Estimate:
    """The estimate of a run that takes two replicas these seconds each."""
    procedure = PROCEDURES["certify"]
    (run,) = prepare(procedure, user_settings(procedure.settings, {**SETTINGS, "sigma": 0.25, "search": None}))
    return Estimate(run, 20, 2_000_000.0 if seconds else 0.0, 2_000_000, None, 2 * seconds, 2)


def test_a_dry_run_has_the_search_as_its_own_line_and_as_a_share(capsys: pytest.CaptureFixture[str]) -> None:
    print_estimates([one(200), one(20), one(0)], None, Console(stderr=True), [one(5.4), one(40), one(2)])
    printed, _ = capsys.readouterr()
    rows = {line[:26].strip(): re.split(" {2,}", line[26:].strip()) for line in printed.splitlines()}
    assert rows["time, 2 replicas"] == ["3.3 min", "20 s", "0 s"]
    assert rows["search before it, 2 replicas"[:26].strip()][-3:] == ["5 s", "40 s", "2 s"]
    assert rows["search, share of that time"] == ["2.7 %", "200 %", "-"]
    assert printed.splitlines()[-1] == "total 4.5 min"
    print_estimates([one(200)], None, Console(stderr=True))
    assert "search" not in capsys.readouterr().out


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The names and settings of what was estimated; each takes 20 s, a search 5."""
    calls: list[tuple[str, Any]] = []

    def estimate(procedure: Any, settings: Any, show: bool) -> list[Estimate]:
        calls.append((procedure.name, settings))
        return [one(20 if procedure.name == "certify" else 5) for _ in settings.sigma]

    monkeypatch.setattr(searched_run, "estimate", estimate)
    return calls


def test_an_estimate_has_the_search_that_comes_first(asked: list[tuple[str, Any]], tmp_path: Path) -> None:
    rows = raysmooth.estimate(**SETTINGS, out=str(tmp_path), progress=False)
    assert rows["seconds"].tolist() == [20.0, 20.0]
    assert rows["search_seconds"].tolist() == [5.0, 5.0]
    assert [name for name, _ in asked] == ["optimize-sigma", "certify"]
    assert (asked[0][1].search, asked[0][1].sigma) == ("ddrs:steps=300", [0.25, 0.5])
    plain = raysmooth.estimate(**{**SETTINGS, "search": None}, out=str(tmp_path), progress=False)
    assert "search_seconds" not in plain
    assert [name for name, _ in asked[2:]] == ["certify"]


def test_a_finished_search_is_not_estimated(
    asked: list[tuple[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"sigmas": ["ab", "cd"], "search": None}
    monkeypatch.setattr(searched_run, "with_known_levels", lambda settings: settings.model_copy(update=found))
    rows = raysmooth.estimate(**SETTINGS, out=str(tmp_path), progress=False)
    assert rows["search_seconds"].tolist() == [0.0, 0.0]
    assert [(name, settings.sigmas) for name, settings in asked] == [("certify", ["ab", "cd"])]
