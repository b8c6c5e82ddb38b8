"""Generated data sets: read by the readers of the real ones, and never a way in for code."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import open_dataset
from raysmooth.tune.experiments.smoke import smoke_data
from raysmooth.tune.experiments.smoke.smoke_data import TEST, TRAIN, generated


def test_each_is_read_as_the_real_one(tmp_path: Path) -> None:
    for name, shape, test in (("mnist", (1, 28, 28), "test"), ("cifar10", (3, 32, 32), "test")):
        root = generated(name, tmp_path)
        train, held_out = (open_dataset(name, root, split) for split in ("train", test))
        assert (len(train), len(held_out)) == (TRAIN, TEST)
        assert train.read(3).image.shape == shape
        assert train.labels()[:12] == [*range(8), 0, 1, 2, 3] if name == "cifar10" else [*range(10), 0, 1]
        # A brighter image is of a later class: the values lie where the reader looks for them.
        assert [held_out.read(index).image.mean() > 0.4 for index in (0, 1, 8, 9)] == [False, False, True, True]
    assert generated("mnist", tmp_path) == tmp_path / "mnist"


def test_imagenet_has_its_thousand_folders(tmp_path: Path) -> None:
    dataset = open_dataset("imagenet", generated("imagenet", tmp_path), "val", resize=32, crop=32)
    assert (len(dataset), dataset.num_classes, dataset.read(1).image.shape) == (TEST, 1000, (3, 32, 32))
    assert dataset.labels()[:3] == [0, 50, 100]


def test_arrays_are_of_any_split_and_of_five_severities(tmp_path: Path) -> None:
    root = generated("numpy", tmp_path)
    for split, count in (("test", TRAIN), ("train", TRAIN), ("fog", TRAIN), ("fog:severity=3", TRAIN // 5)):
        dataset = open_dataset("numpy", root, split)
        assert (len(dataset), dataset.read(1).image.shape) == (count, (3, 32, 32))
        assert dataset.labels()[:8] == list(range(8))
        assert dataset.read(1).image.mean() < 0.4 < dataset.read(7).image.mean()


def test_folders_have_ten_classes(tmp_path: Path) -> None:
    dataset = open_dataset("folder", generated("folder", tmp_path))
    assert (len(dataset), dataset.num_classes, dataset.read(1).image.shape) == (TRAIN, 10, (3, 32, 32))


class Code:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"open({str(self.file)!r}, 'w')",)


@pytest.mark.parametrize("inside", [False, True])
def test_generated_batches_run_no_code_either(inside: bool, tmp_path: Path) -> None:
    root, ran = generated("cifar10", tmp_path), tmp_path / "ran"
    batch = root / "cifar-10-batches-py" / "test_batch"
    if inside:
        with batch.open("wb") as file:
            np.savez(file, data=np.array([Code(ran)], object), labels=np.zeros(1, np.uint8), allow_pickle=True)
    else:
        batch.write_bytes(pickle.dumps(Code(ran)))
    written = pickle.dumps(Code(ran))
    neither = "test_batch is neither of this data set nor a generated batch"
    with pytest.raises(RaysmoothError, match="Object arrays cannot be loaded" if inside else neither):
        open_dataset("cifar10", root, "test")
    # Only what says that it is generated is read so.
    (root / "cifar-10-batches-py" / "generated.json").unlink()
    with pytest.raises(RaysmoothError, match="corrupted"):
        open_dataset("cifar10", root, "test")
    assert not ran.exists()
    pickle.loads(written)
    assert ran.exists()  # it would have


def test_a_data_set_that_was_not_completed_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: Path) -> None:
        root.mkdir()
        (root / "half").touch()
        raise OSError("disk full")

    monkeypatch.setattr(smoke_data, "GENERATORS", {"mnist": fail})
    with pytest.raises(OSError, match="disk full"):
        generated("mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []
