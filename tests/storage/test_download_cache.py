"""Weights and data given as URLs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from object_store import Server

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.weights import read_weights, save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.datasets import open_dataset
from raysmooth.storage.download_cache import local_copy
from raysmooth.storage.object_store import ObjectStore
from raysmooth.storage.store_urls import bucket_of


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "raysmooth" / "fetched"


def url(server: Server, path: str) -> str:
    return f"s3://results/{path}?endpoint_override={server.address}"


def files(folder: Path) -> list[str]:
    return sorted(
        str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file() and file.name != ".lock"
    )


def test_paths_are_left_as_they_are() -> None:
    assert local_copy("some/where") == Path("some/where")


def test_a_file_is_downloaded_once_and_again_when_it_changes(
    server: Server, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("w/x.bin", b"first")
    first = local_copy(url(server, "w/x.bin"))
    assert (first.name, first.read_bytes()) == ("x.bin", b"first")
    assert "downloading s3://results/w/x.bin" in capsys.readouterr().err
    assert local_copy(url(server, "w/x.bin")) == first
    assert capsys.readouterr().err == ""
    server.put("w/x.bin", b"second")
    second = local_copy(url(server, "w/x.bin"))
    assert second.read_bytes() == b"second"
    assert first.read_bytes() == b"first"
    assert len(files(cache)) == 2


def test_a_folder_is_downloaded_whole_and_resumes_where_it_was_killed(
    server: Server, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.txt", "b/c.txt", "b/d/e.txt"):
        server.put(f"tree/{name}", name.encode())
    server.put("treeless/x", b"of another")
    folder = local_copy(url(server, "tree"))
    assert files(folder) == ["a.txt", "b/c.txt", "b/d/e.txt"]
    assert (folder / "b/d/e.txt").read_bytes() == b"b/d/e.txt"
    (folder / "b/c.txt").unlink()
    capsys.readouterr()
    assert local_copy(url(server, "tree")) == folder
    assert "downloading" in capsys.readouterr().err
    assert files(folder) == ["a.txt", "b/c.txt", "b/d/e.txt"]


def test_only_the_owner_can_read_the_cache(server: Server, cache: Path) -> None:
    server.put("private/x.bin", b"secret")
    file = local_copy(url(server, "private/x.bin"))
    assert (cache.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    file.chmod(0o644)  # as earlier versions left it
    assert local_copy(url(server, "private/x.bin")) == file
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"some byt", b"some bytes, and more", b""])
def test_a_file_of_another_size_is_downloaded_again(server: Server, content: bytes) -> None:
    server.put("whole/x.bin", b"some bytes")
    server.put("whole/y.bin", b"others")
    folder = local_copy(url(server, "whole"))
    (folder / "x.bin").write_bytes(content)
    before = (folder / "y.bin").stat()
    assert local_copy(url(server, "whole")) == folder
    assert (folder / "x.bin").read_bytes() == b"some bytes"
    assert (folder / "y.bin").stat() == before


def test_an_object_that_became_shorter_is_not_kept(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("shrinks", b"0123456789")
    files_of = ObjectStore.files
    longer = [(name, size + 5, when) for name, size, when in files_of(*bucket_of(url(server, "shrinks")))]
    monkeypatch.setattr(ObjectStore, "files", lambda store, where: longer)
    with pytest.raises(RaysmoothError, match="changed during the download"):
        local_copy(url(server, "shrinks"))
    assert files(cache) == []


def test_many_processes_download_a_file_once(server: Server, cache: Path) -> None:
    server.put("shared", os.urandom(3 * 2**20))
    program = "import sys; from raysmooth.storage.download_cache import local_copy; print(local_copy(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, url(server, "shared")],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [process.communicate() for process in processes]
    assert len({out for out, _ in said}) == 1
    assert sum("downloading" in errors for _, errors in said) == 1
    assert files(cache)[0].endswith("/shared")


def test_missing_and_corrupt_files_are_refused(server: Server) -> None:
    with pytest.raises(RaysmoothError, match=r"weights s3://results/none\.pt.*there is no file of this name"):
        read_weights(url(server, "none.pt"))
    server.put("corrupt.safetensors", b"\x08\0\0\0\0\0\0\0garbage")
    with pytest.raises(RaysmoothError, match=r"weights s3://results/corrupt\.safetensors.*is corrupt"):
        read_weights(url(server, "corrupt.safetensors"))


def test_a_full_or_forbidden_cache_is_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("x", b"x")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RaysmoothError, match=r"cannot be cached in .* free space, or set XDG_CACHE_HOME"):
        local_copy(url(server, "x"))


def test_a_classifier_from_a_url_is_that_of_the_file(server: Server, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "digits.safetensors"
    save_weights(file, build_classifier(Variant.parse("digits_cnn")), {})
    server.put("weights/digits.safetensors", file.read_bytes())
    there = url(server, "weights/digits.safetensors")
    loaded = [
        load_base_classifier(
            BaseClassifierSpec("digits_cnn", str(path)), torch.device("cpu")
        ).spec.classifier_fingerprint
        for path in (file, there)
    ]
    assert loaded[0] == loaded[1]


def test_a_data_set_from_a_url(server: Server, picture_file, tmp_path: Path) -> None:
    file = Path(picture_file([(0.25, 1), (0.5, 0)], "test.parquet"))
    server.put("data/test.parquet", file.read_bytes())
    for root in ("data", "data/test.parquet"):
        dataset = open_dataset("parquet", url(server, root), "test")
        assert [dataset.read(index).label for index in range(2)] == [1, 0]
