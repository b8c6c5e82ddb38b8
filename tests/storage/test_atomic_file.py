"""Local files are replaced as a whole, or stay as they were."""

import os
from pathlib import Path

import pytest

from raysmooth.storage.atomic_file import atomic_file, leftovers


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(b"old")
    with atomic_file(file) as partial:
        partial.write_bytes(b"new")
        assert file.read_bytes() == b"old"
        assert names(tmp_path) == [f".x.bin.{os.getpid()}.part", "x.bin"]
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["x.bin"]


def test_a_writer_that_fails_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(b"old")

    def fail(partial: Path) -> None:
        partial.write_bytes(b"half")
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"), atomic_file(file) as partial:
        fail(partial)
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("durable", [False, True])
def test_durable_content_is_on_the_disk_before_it_is_visible(
    durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (steps.append("fsync"), sync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
    with atomic_file(tmp_path / "x.bin", durable=durable) as partial:
        partial.write_bytes(b"new")
    assert steps == ["fsync"] * durable + ["replace"]


def test_the_first_error_is_the_one_that_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as error, atomic_file(tmp_path / "file" / "x.bin") as partial:
        partial.write_bytes(b"new")
    assert error.value.__context__ is None


def test_leftovers_are_the_temporary_files_of_a_name(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "part-1.parquet") as partial:
        partial.write_bytes(b"whole")
        killed = tmp_path / partial.name.replace(str(os.getpid()), "77")
        killed.write_bytes(b"half")
    for other in (".x.bin.77.part", ".part-1.parquet", "part-2.parquet", ".keep"):
        (tmp_path / other).write_bytes(b"")
    assert leftovers(tmp_path, "part-*") == [killed]
    assert leftovers(tmp_path) == [killed, tmp_path / ".x.bin.77.part"]
    assert leftovers(tmp_path / "none") == []
