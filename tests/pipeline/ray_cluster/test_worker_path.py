"""The import path that Ray's workers get. (tests/commands/test_killed.py has workers look for modules.)"""

import os
from pathlib import Path

import pytest
from conftest import REPOSITORY

from raysmooth.pipeline.ray_cluster.worker_path import WorkersOwnPath


def path_of_workers(folders: list[str]) -> list[str]:
    """The folders that Ray's workers add, where Ray has chosen `folders`."""
    config = WorkersOwnPath()
    config._py_driver_sys_path.extend(folders)
    return list(config._get_proto_job_config().py_driver_sys_path) if config._serialize() else []


def test_the_working_directory_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_of_workers([str(tmp_path)]) == []
    assert path_of_workers(["/scripts", str(tmp_path)]) == ["/scripts"]
    assert path_of_workers([str(tmp_path), str(tmp_path)]) == [str(tmp_path)]  # a script that lies there
    assert path_of_workers(["/scripts"]) == ["/scripts"]


def test_a_checkout_that_may_not_be_installed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    assert path_of_workers([str(REPOSITORY)]) == [str(REPOSITORY)]
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    assert path_of_workers([str(REPOSITORY)]) == []
