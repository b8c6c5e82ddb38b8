"""What is refused before any work, and in which order it is tried."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import opened

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs import preflight as preflight_module
from raysmooth.pipeline.runs.preflight import preflight
from raysmooth.pipeline.runs.prepare import RunData
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import SamplingSettings

CERTIFY = PROCEDURES["certify"]


def settings(out: Path | str, **changes: Any) -> SamplingSettings:
    values = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 2, "out": str(out)}
    return user_settings(CERTIFY.settings, values | changes)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The steps taken, each with its `out`."""
    taken: list[tuple[str, str]] = []
    prepare = preflight_module.prepare

    def prepared(procedure: Any, settings: SamplingSettings, data: RunData | None = None) -> Any:
        taken.append(("prepare", settings.out))
        return prepare(procedure, settings)

    monkeypatch.setattr(preflight_module, "prepare", prepared)
    monkeypatch.setattr(preflight_module, "refuse_unwritable", lambda out: taken.append(("write", out)))
    monkeypatch.setattr(preflight_module, "refuse_foreign_parts", lambda out, folder: taken.append(("read", out)))
    return taken


def test_stores_are_tried_first_and_folders_last(steps: list[tuple[str, str]]) -> None:
    preflight(CERTIFY, [settings("here"), settings("s3://there/away"), settings("here")])
    assert steps == [
        ("write", "s3://there/away"),
        ("prepare", "here"),
        ("prepare", "s3://there/away"),
        ("prepare", "here"),
        ("write", "here"),
        ("read", "here"),
        ("read", "s3://there/away"),
    ]


def test_a_dry_run_only_reads(steps: list[tuple[str, str]]) -> None:
    preflight(CERTIFY, [settings("here"), settings("s3://there/away")], dry=True)
    assert [step for step, _ in steps] == ["prepare", "prepare", "read", "read"]


def test_one_run_for_each_sigma_of_each_job_in_their_order(tmp_path: Path) -> None:
    runs = preflight(CERTIFY, [settings(tmp_path / "a", sigma="0.5,0.25"), settings(tmp_path / "b", sigma=1.0)])
    assert [run.noise.scale for run in runs] == [0.5, 0.25, 1.0]
    assert [Path(run.settings.out).name for run in runs] == ["a", "a", "b"]


def test_a_job_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    all_settings = [settings(tmp_path / "a"), settings(tmp_path / "b", classifier="base_classifiers:OneLogit")]
    with pytest.raises(RaysmoothError):
        preflight(CERTIFY, all_settings)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_another_driver_writes_is_refused(tmp_path: Path) -> None:
    values = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 2}
    with opened(tmp_path, **values) as (ledger, _):
        with pytest.raises(RaysmoothError, match=rf"^run {ledger.run_id} in .* is being written by process"):
            preflight(CERTIFY, [settings(tmp_path, sigma="0.5,0.25", replicas=2)])
        preflight(CERTIFY, [settings(tmp_path)], dry=True)
        preflight(CERTIFY, [settings(tmp_path, seed=1), settings(tmp_path, sigma=0.5), settings(tmp_path / "other")])
    preflight(CERTIFY, [settings(tmp_path)])


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RaysmoothError, match="name a writable folder"):
        preflight(CERTIFY, [settings(tmp_path / "file" / "out")])
    preflight(CERTIFY, [settings(tmp_path / "file" / "out")], dry=True)
