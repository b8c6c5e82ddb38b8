"""Results are read and written in the same way on disks and in object stores."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples import examples
from google_store import google_served
from hypothesis import given
from hypothesis import strategies as st
from object_store import Server

from raysmooth.common.errors import RaysmoothError
from raysmooth.storage.location import Location, located


@pytest.fixture(scope="module")
def google() -> Iterator[str]:
    with google_served() as (options, _):
        yield options


def bucket(server: Server, folder: str) -> Location:
    return located(f"s3://results/{folder}?endpoint_override={server.address}")


NAMES = ["a", "b.bin", "_c", "d/a", "d/.hidden", "d/e/f", "g h=1/é"]
steps = st.lists(
    st.tuples(st.sampled_from(["write", "unlink", "read"]), st.sampled_from(NAMES), st.binary(max_size=20)), max_size=12
)


def at(home: Location, name: str) -> Location:
    for part in name.split("/"):
        home = home / part
    return home


def done(home: Location, sequence: list[tuple[str, str, bytes]]) -> list[object]:
    """Everything that can be observed in a folder while it is written to."""
    seen: list[object] = []
    for what, name, content in sequence:
        file = at(home, name)
        if what == "write":
            file.parent.make_folder()
            file.write_atomic(content)
        elif what == "unlink":
            file.unlink()
        else:
            try:
                seen.append(file.read_bytes())
            except FileNotFoundError:
                seen.append(None)
        seen += [(file.exists(), file.is_folder(), file.name)]
    for folder in (home, home / "d"):
        for found in (folder.files(), folder.files(recursive=True)):
            seen.append([(file.below(home), file.read_bytes()) for file in found])
    return seen


@examples(25)
@given(steps)
def test_a_folder_and_buckets_behave_alike(server: Server, google: str, sequence: list[tuple[str, str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        seen = done(located(folder), sequence)
        assert done(bucket(server, f"alike/{uuid.uuid4().hex}/x"), sequence) == seen
        assert done(located(f"gs://results/{uuid.uuid4().hex}/x?{google}"), sequence) == seen


def test_names_of_folders(server: Server, google: str, tmp_path: Path) -> None:
    for home in (located(tmp_path), bucket(server, "folders"), located(f"gs://results/folders?{google}")):
        for name in ("runs/2/manifest.json", "runs/1/manifest.json", "runs/file"):
            file = at(home, name)
            file.parent.make_folder()
            file.write_atomic(b"{}")
        assert [folder.name for folder in (home / "runs").folders()] == ["1", "2"]
        assert (home / "none").folders() == (home / "none").files() == []
        assert (home / "runs").is_folder()
        assert not (home / "none").exists()


def test_a_url_is_printed_as_written_and_keeps_its_options(server: Server) -> None:
    home = bucket(server, "printed")
    assert str(home / "runs" / "1") == f"s3://results/printed/runs/1?endpoint_override={server.address}"
    (home / "runs" / "1").write_atomic(b"whole")
    assert server.contents("printed") == {"printed/runs/1": b"whole"}
    assert located(str(home / "runs" / "1")).read_text() == "whole"
    assert located(home) is home
    assert str(located("results") / "runs") == "results/runs"
    assert located("results").outward == Path("results")


def test_large_objects_come_whole(server: Server) -> None:
    content = os.urandom(25 * 2**20)  # a multipart upload
    (bucket(server, "large") / "x").write_atomic(content)
    assert (bucket(server, "large") / "x").read_bytes() == content


def test_a_bucket_that_is_not_there(server: Server, google: str) -> None:
    for url in (f"s3://nowhere/x?endpoint_override={server.address}", f"gs://nowhere/x?{google}"):
        with pytest.raises(
            RaysmoothError, match=r"^..://nowhere: there is no such bucket: create it, or write another"
        ):
            (located(url) / "y").write_atomic(b"content")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = located(tmp_path) / "taken"
    taken.make_folder()
    with pytest.raises(OSError, match="directory"):
        taken.write_atomic(b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("s4://bucket/x", r"s4://bucket/x: write a folder, or a URL such as s3://bucket/folder"),
        ("http://[", r"^http://\[ is no URL \(Invalid IPv6 URL\): write s3://bucket/folder"),
        ("s3:///x", r"s3:///x names no bucket: write s3://bucket/folder"),
        (
            "s3://KEY:hidden@bucket/x",
            r"^s3://\.\.\.: credentials in a URL would appear in manifests",
        ),
        ("s3://bucket/x?endpont_override=h", r"unknown option 'endpont_override': did you mean 'endpoint_override'"),
    ],
)
def test_urls_that_are_refused(url: str, refusal: str) -> None:
    with pytest.raises(RaysmoothError, match=refusal) as refused:
        located(url)
    assert "hidden" not in str(refused.value)


def test_what_this_user_may_not_list_does_not_count_as_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list everything, so the system's answer to others is given by hand."""
    closed = tmp_path / "closed"
    closed.mkdir()

    def denied(path: object = ".") -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", denied)
    monkeypatch.setattr(os, "scandir", denied)
    for ask in (Location.files, Location.folders, lambda location: location.files(recursive=True)):
        with pytest.raises(RaysmoothError, match=f"^{closed} cannot be read \\(permission denied\\): "):
            ask(Location(str(closed)))


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/run_id=a").mkdir(parents=True)
    (tmp_path / "elsewhere/run_id=a/part-0.parquet").write_text("a")
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates/run_id=a").symlink_to(tmp_path / "elsewhere/run_id=a")
    found = located(tmp_path / "certificates").files(recursive=True)
    assert [file.path for file in found] == [str(tmp_path / "certificates/run_id=a/part-0.parquet")]
