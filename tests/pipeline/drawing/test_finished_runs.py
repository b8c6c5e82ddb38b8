"""A finished run is recognised without Ray, by the same identity and with the same checks as with it."""

from pathlib import Path
from typing import Any

import pytest
from digits_runs import run, same, settings_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.drawing import driver
from raysmooth.pipeline.runs.procedures import PROCEDURES

pytestmark = pytest.mark.usefixtures("one_pool")


class Started(Exception):
    pass


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of its own, which would start a local Ray."""

    def start(*_: Any, **__: Any) -> None:
        raise Started

    monkeypatch.setattr(driver, "connected", start)
    monkeypatch.setattr(driver, "will_be_local", lambda address: True)


FINISHED = {"max": 5, "n": 100, "sigma": "0.25,0.5"}


def test_a_finished_run_gives_its_rows_without_ray(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path, **FINISHED)
    files = {file: file.read_bytes() for file in tmp_path.rglob("*.parquet")}
    request.getfixturevalue("alone")
    same(run(tmp_path, **FINISHED), first)
    driver.run_procedure(PROCEDURES["certify"], [settings_of(tmp_path, **FINISHED)])
    said = capsys.readouterr().err
    assert "are finished: all 10 images have their rows" in said
    assert "nothing to draw, so Ray was not started" in said
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.parquet")} == files


@pytest.mark.parametrize(
    "changes", [{"max": 6}, {"n": 200}, {"seed": 1}, {"sigma": "0.25,1.0"}, {"batch_size": 50}, {"gpus_per_replica": 1}]
)
def test_whatever_is_not_finished_goes_to_ray(
    tmp_path: Path, request: pytest.FixtureRequest, changes: dict[str, Any]
) -> None:
    run(tmp_path, **FINISHED)
    request.getfixturevalue("alone")
    with pytest.raises(Started):
        run(tmp_path, **{**FINISHED, **changes})


def test_so_does_a_run_that_lacks_a_row(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run(tmp_path, **FINISHED)
    next(tmp_path.glob("certificates/*/*.parquet")).unlink()
    request.getfixturevalue("alone")
    with pytest.raises(Started):
        run(tmp_path, **FINISHED)


def test_a_corrupt_part_is_refused_as_ever(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run(tmp_path, **FINISHED)
    part = next(tmp_path.glob("runs/*/counts/*.parquet"))
    part.write_bytes(b"no Parquet")
    request.getfixturevalue("alone")
    with pytest.raises(RaysmoothError, match=part.name):
        run(tmp_path, **FINISHED)
