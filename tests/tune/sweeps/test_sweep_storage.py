"""A sweep whose checkpoints are in an object store: S3's protocol, spoken by a server of moto's on this machine."""

import pickle
from pathlib import Path

import pandas as pd
import pytest
from object_store import BUCKET, Server
from sweeps import CLASSIFIER, swept

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.sweeps.atomic_storage import AtomicFileSystem, storage_files

pytestmark = pytest.mark.timeout(1800)  # on a busy machine Ray alone takes minutes to start a process


def test_local_files_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    files = storage_files(str(tmp_path))
    assert files is not None
    file = tmp_path / "state.json"
    with files.open_output_stream(str(file)) as stream:
        stream.write(b"first")
        assert not file.exists()
    assert file.read_bytes() == b"first"
    with pickle.loads(pickle.dumps(files)).open_output_stream(str(file)) as stream:  # as trials get it
        stream.write(b"second")
        assert file.read_bytes() == b"first"
    assert file.read_bytes() == b"second"
    # An empty copy, of a file that is being rewritten, replaces nothing.
    files.open_output_stream(str(file)).close()
    assert file.read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert storage_files("s3://bucket/sweeps") is None


def test_a_file_that_could_not_be_written_is_not_there(tmp_path: Path) -> None:
    full = AtomicFileSystem().open(str(tmp_path / "state.json"), "wb")
    with pytest.raises(TypeError):
        full.write(object())
    full.close()
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_in_an_object_store(ray_cluster: dict[str, str], tmp_path: Path, server: Server) -> None:
    storage = f"s3://test:test@{BUCKET}/mine?endpoint_override={server.address}"
    changes = {"search": {"learning_rate": [1e-2, 1e-3]}, "settings": {**CLASSIFIER, "epochs": 1}}
    one = swept(tmp_path / "one", storage=storage, **changes)
    assert set(one.trials["status"]) == {"finished"}
    assert not (tmp_path / "one" / "tune").exists()
    again = swept(tmp_path / "one", storage=storage, **changes)
    pd.testing.assert_frame_equal(again.trials, one.trials)
    other = swept(tmp_path / "other", **changes)
    assert list(other.trials["weights_fingerprint"]) == list(one.trials["weights_fingerprint"])


def test_a_store_that_cannot_be_written_is_refused(ray_cluster: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(
        RaysmoothError, match=r"storage: nowhere://x cannot be used: .*: write a folder or a URL such as s3://"
    ):
        swept(tmp_path / "out", storage="nowhere://x")
