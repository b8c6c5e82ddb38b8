"""A run with results in an object store: a lost connection, another writer, corrupt objects."""

import io
import json
import time
import uuid
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from manifests import manifest_of
from object_store import Line, Server, rows_in
from small_runs import certified

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.derived.import_settings import ImportSettings
from raysmooth.pipeline.derived.log_import import import_logs
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.report.report import read_certificates, write_report
from raysmooth.pipeline.store import part_store as store
from raysmooth.pipeline.store import run_lock
from raysmooth.pipeline.store.part_store import refuse_unwritable
from raysmooth.pipeline.store.parts import read_rows, refuse_foreign_parts
from raysmooth.pipeline.store.run_store import RunStore
from raysmooth.storage import object_store
from raysmooth.storage.object_store import Unreachable

SCHEMA = pa.schema([("image_id", pa.int64()), ("radius", pa.float64())])
MANIFEST = manifest_of()
DIGITS = {"dataset": "digits", "max": 6, "sigma": 0.25, "n0": 20, "n": 200, "classifier": "base_classifiers:Slow"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(run_lock, "SETTLE_SECONDS", 0.1)


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


def by_way_of(line: Line, folder: str) -> str:
    return f"s3://results/{folder}?endpoint_override=http://127.0.0.1:{line.port}"


def opened(out: str) -> RunStore:
    return RunStore(out, "certificates", SCHEMA, MANIFEST)


def parts(server: Server, folder: str) -> list[str]:
    return [name for name in server.contents(folder) if name.endswith(".parquet")]


def test_a_run_in_a_bucket_equals_that_in_a_folder(server: Server, folder: str, tmp_path: Path) -> None:
    there = f"s3://results/{folder}?endpoint_override={server.address}"
    run = certified(str(tmp_path), **DIGITS)
    assert certified(there, **DIGITS) == run
    whole = read_rows(tmp_path, "certificates", run)
    pd.testing.assert_frame_equal(
        read_rows(there, "certificates", run).drop(columns="seconds"), whole.drop(columns="seconds")
    )
    pd.testing.assert_frame_equal(
        read_certificates(there).drop(columns="seconds"), read_certificates(tmp_path).drop(columns="seconds")
    )
    recertified = [recertify(out, alpha=0.01).drop(columns="seconds") for out in (there, tmp_path)]
    pd.testing.assert_frame_equal(*recertified)
    files = [str(file) for file in write_report(there)]
    assert f"s3://results/{folder}/report/report.html?endpoint_override={server.address}" in files
    reported = server.contents(f"{folder}/report")
    assert sorted(name.rpartition("/")[2] for name in reported) == sorted(
        file.name for file in write_report(tmp_path, out=tmp_path / "elsewhere")
    )
    assert b"not the run's" not in reported[f"{folder}/report/report.html"]
    assert reported[f"{folder}/report/curves.pdf"].startswith(b"%PDF")
    refuse_foreign_parts(there, "certificates")
    assert not [name for name in server.contents(folder) if name.endswith(".lock")]


def test_a_log_is_imported_into_a_bucket(server: Server, folder: str, tmp_path: Path) -> None:
    out = f"s3://results/{folder}?endpoint_override={server.address}"
    log = tmp_path / "sigma_0.5.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.75\t1\t0:00:01\n1\t4\t-1\t0.0\t0\t0:00:01\n")
    settings = checked(ImportSettings, {"dataset": "cifar10", "classifier": "resnet", "out": out})
    for new in (True, False):
        (imported,) = import_logs([log], settings)
        assert imported.new == new
    assert read_certificates(out).radius.tolist() == [0.75, 0.0]


def test_rows_wait_for_an_unreachable_store_and_none_is_lost_or_doubled(
    server: Server, line: Line, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0.0)
    run = opened(by_way_of(line, folder))
    run.add_row({"image_id": 1, "radius": 0.25})
    run.flush_when_due()
    assert rows_in(server, folder).image_id.tolist() == [1]
    line.cut()
    for image in (2, 3):
        run.add_row({"image_id": image, "radius": 0.5})
        run.flush_when_due()  # does not wait
    assert rows_in(server, folder).image_id.tolist() == [1]
    line.connect()
    run.close()
    assert rows_in(server, folder).image_id.tolist() == [1, 2, 3]
    assert len(parts(server, folder)) == 2


def test_a_store_that_stays_unreachable_stops_the_run_once(
    server: Server, line: Line, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(by_way_of(line, folder))
    run.add_row({"image_id": 1, "radius": 0.25})
    run.flush()
    monkeypatch.setattr(object_store, "PATIENCE", 0.5)
    monkeypatch.setattr(store, "FLUSH_SECONDS", 0.0)
    run._due = 0.0
    line.cut()
    run.add_row({"image_id": 2, "radius": 0.25})
    deadline = time.monotonic() + 60
    with pytest.raises(RaysmoothError, match="stopped: s3://results could not be reached"):  # noqa: PT012 -- in some attempt
        while time.monotonic() < deadline:
            run.flush_when_due()
    with pytest.raises(RaysmoothError, match="stopped"):
        run.close()
    line.connect()
    with opened(by_way_of(line, folder)) as again:
        assert again.finished == {1}


def test_a_part_written_twice_has_one_name(server: Server, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = f"s3://results/{folder}?endpoint_override={server.address}"
    run = opened(out)
    run.add_row({"image_id": 1, "radius": 0.25})
    location = type(run.counts_folder)
    put = location._put

    def put_unheard(self: object, content: bytes) -> None:
        """Put the object, then lose the store's answer."""
        put(self, content)
        monkeypatch.undo()
        raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation: lost")

    monkeypatch.setattr(location, "_put", put_unheard)
    with pytest.raises(Unreachable):
        run.flush(patiently=False)
    run.close()
    assert rows_in(server, folder).image_id.tolist() == [1]


def test_a_writer_that_lost_the_run_writes_nothing_more(server: Server, folder: str) -> None:
    out = f"s3://results/{folder}?endpoint_override={server.address}"
    run = opened(out)
    run.add_row({"image_id": 1, "radius": 0.25})
    run.flush()
    other = {"id": "f" * 32, "writer": {"host": "elsewhere", "pid": 7}}
    server.put(f"{folder}/runs/{MANIFEST['run_id']}/.lock", json.dumps(other).encode())
    run.add_row({"image_id": 2, "radius": 0.25})
    before = server.contents(folder)
    for write in (run.flush, lambda: run.amend(micro_batch=8), run.close):
        with pytest.raises(RaysmoothError, match="is being written by process 7 on elsewhere"):
            write()
    assert server.contents(folder) == before


def test_one_writer_at_a_time(server: Server, folder: str) -> None:
    out = f"s3://results/{folder}?endpoint_override={server.address}"
    with opened(out), pytest.raises(RaysmoothError, match=r"is being written by process \d+ on"):
        opened(out)
    opened(out).close()


@pytest.mark.parametrize("kind", ["counts", "certificates"])
def test_corrupt_and_foreign_objects_are_refused(server: Server, folder: str, kind: str) -> None:
    out = f"s3://results/{folder}?endpoint_override={server.address}"
    certified(out, **DIGITS)
    name, whole = next((n, c) for n, c in server.contents(folder).items() if kind in n and n.endswith(".parquet"))
    buffer = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(whole)).replace_schema_metadata(), buffer)
    half, foreign = whole[: len(whole) // 2], buffer.getvalue()
    for content, refusal in ((half, r"is corrupt or not a Parquet file"), (foreign, "was not written by")):
        server.put(name, content)
        with pytest.raises(RaysmoothError, match=rf"s3://results/{name}.* {refusal}"):
            certified(out, **DIGITS)
        if kind == "certificates":
            with pytest.raises(RaysmoothError, match=rf"s3://results/{name}.* {refusal}"):
                refuse_foreign_parts(out, "certificates")
    server.put(name, whole[:100])
    if kind == "certificates":
        with pytest.raises(RaysmoothError, match=rf"s3://results/{name}.* is corrupt or not a Parquet file"):
            read_certificates(out)


def test_a_place_that_is_not_writable_is_refused_first(server: Server, folder: str) -> None:
    refuse_unwritable(f"s3://results/{folder}?endpoint_override={server.address}")
    assert server.contents(folder) == {}
    with pytest.raises(RaysmoothError, match=r"^--out s3://nowhere: there is no such bucket: create it"):
        refuse_unwritable(f"s3://nowhere/{folder}?endpoint_override={server.address}")
