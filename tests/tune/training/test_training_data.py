"""What training sees: the same images however they are held, read and shared between workers."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import raysmooth.tune.training.training_data
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import open_dataset
from raysmooth.tune.data.loader_images import LoaderImages
from raysmooth.tune.data.memory_images import MemoryImages
from raysmooth.tune.data.training_images import Source, to_pixels
from raysmooth.tune.recipes.settings import TrainingDataSettings
from raysmooth.tune.training.training_data import NO_LABEL, Images, Step, TrainingData, read_training_data

CPU = torch.device("cpu")
WNIDS = [f"n{number:08d}" for number in range(1000)]
STEPS = [
    Step(torch.tensor([3, 17, 0, 21, 8, 3]), slice(0, 6), 5),
    Step(torch.tensor([9, 2, 20, 26]), slice(0, 4), 2**63),
    Step(torch.tensor([1]), slice(0, 1), 0),
]


def read(dataset: str, augment: str = "none", workers: int | None = 0, **values: Any) -> TrainingData:
    settings = {"dataset": dataset, "data_root": None, **values}
    if settings["data_root"] is not None:
        settings["data_root"] = str(settings["data_root"])
    return read_training_data(TrainingDataSettings(**settings), augment, CPU, workers)


def batches(images: Images, steps: list[Step] = STEPS) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(images.batches(steps))


def same(left: list[tuple[torch.Tensor, torch.Tensor]], right: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b) and torch.equal(m, n) for (a, m), (b, n) in zip(left, right, strict=True)
    )


def in_order(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    parts = list(images.in_order(4))
    assert {len(pixels) for pixels, _ in parts[:-1]} <= {4}
    return torch.cat([pixels for pixels, _ in parts]), torch.cat([labels for _, labels in parts])


@pytest.fixture
def never_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raysmooth.tune.training.training_data, "IN_MEMORY", 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirty noisy pictures of 12 x 10 pixels in three class folders."""
    random = np.random.default_rng(0)
    for number in range(30):
        folder = tmp_path / "pictures" / "abc"[number // 10]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (10, 12, 3), np.uint8)).save(folder / f"{number:02d}.png")
    return tmp_path / "pictures"


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """Thirty real image files of many sizes and modes in `train` and ten in `val`, each with all 1000 folders."""
    random = np.random.default_rng(0)
    for split, count in (("train", 30), ("val", 10)):
        for wnid in WNIDS:
            (tmp_path / split / wnid).mkdir(parents=True)
        for number in range(count):
            height, width = random.integers(20, 60, 2)
            picture = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
            picture = picture.convert(("RGB", "L", "CMYK")[number % 3])
            picture.save(tmp_path / split / WNIDS[33 * number] / f"{number}.JPEG", "JPEG", quality=90)
    return tmp_path


# Held in memory, or read as training goes


@pytest.mark.parametrize("augment", ["none", "shift", "crop-flip", "resized-crop-flip"])
@pytest.mark.parametrize("held", ["memory", "loader"])
def test_workers_of_a_step_see_what_one_alone_would(
    pictures: Path, augment: str, held: str, request: pytest.FixtureRequest
) -> None:
    if held == "loader":
        request.getfixturevalue("never_in_memory")
    images = read("folder", augment, data_root=pictures, crop=8).train
    in_memory = held == "memory" and augment != "resized-crop-flip"
    assert isinstance(images, MemoryImages if in_memory else LoaderImages)
    whole = batches(images)
    for cut in (0, 1, 3, 5):
        left, right = (
            batches(images, [Step(step.positions, part, step.seed) for step in STEPS])
            for part in (slice(0, cut), slice(cut, 6))
        )
        joined = [(torch.cat([a, b]), torch.cat([m, n])) for (a, m), (b, n) in zip(left, right, strict=True)]
        assert same(joined, whole)
    first, second = whole[0][0][0], whole[0][0][5]  # position 3, twice in a batch
    assert torch.equal(first, second) == (augment == "none")


@pytest.mark.parametrize("augment", ["none", "shift", "crop-flip"])
def test_memory_and_loader_give_the_same(pictures: Path, augment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = read("folder", augment, data_root=pictures)
    monkeypatch.setattr(raysmooth.tune.training.training_data, "IN_MEMORY", 30 * 3 * 10 * 12 * 4 - 1)
    loaded = read("folder", augment, data_root=pictures)
    assert isinstance(kept.train, MemoryImages)
    assert isinstance(loaded.train, LoaderImages)
    assert same(batches(kept.train), batches(loaded.train))
    for a, b in ((kept.train, loaded.train), (kept.held_out, loaded.held_out)):
        assert len(a) == len(b)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.first(), b.first())
        assert same([in_order(a)], [in_order(b)])


@pytest.mark.processes
@pytest.mark.parametrize("augment", ["crop-flip", "resized-crop-flip"])
def test_any_number_of_processes_reads_the_same(pictures: Path, augment: str, never_in_memory: None) -> None:
    alone, shared = (read("folder", augment, workers, data_root=pictures, crop=8).train for workers in (0, 2))
    assert same(batches(alone, STEPS * 5), batches(shared, STEPS * 5))
    assert same(batches(alone, STEPS[1:]), batches(shared)[1:])  # a step's images depend on the step alone
    assert same([in_order(alone)], [in_order(shared)])


def test_batches_are_what_networks_want(pictures: Path, never_in_memory: None) -> None:
    data = read("folder", "crop-flip", data_root=pictures)
    for images in (data.train, read("digits").train):
        pixels, labels = batches(images)[0]
        assert (pixels.dtype, labels.dtype, images.labels.dtype) == (torch.float32, torch.int64, torch.int64)
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= pixels.min() < pixels.max() <= 1
        assert torch.equal(labels, images.labels[STEPS[0].positions])
        assert images.first().shape == (1, *pixels.shape[1:])


def test_pixels_are_those_that_are_certified(pictures: Path) -> None:
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(
        to_pixels(values).flatten(), torch.from_numpy(np.arange(256, dtype=np.float32) / np.float32(255))
    )
    for name, root in (("folder", pictures), ("digits", None)):
        data, dataset = read(name, data_root=root), open_dataset(name, root, "train")
        pixels, labels = in_order(data.train)
        kept = [index for index in range(len(dataset)) if index % 10 != 9]
        assert len(kept) == len(pixels)
        for place in (0, 8, 9, len(kept) - 1):
            example = dataset.read(kept[place])
            assert (pixels[place].numpy() == example.image).all()
            assert labels[place] == example.label


@pytest.mark.processes
def test_steps_are_taken_as_they_are_needed(pictures: Path, never_in_memory: None) -> None:
    taken = []

    def endless() -> Iterator[Step]:
        while True:
            taken.append(len(taken))
            yield STEPS[0]

    stream = read("folder", data_root=pictures, workers=2).train.batches(endless())
    for _ in range(3):
        next(stream)
    assert len(taken) <= 3 + 2 * 2
    stream.close()


def test_reading_leaves_torchs_generator_alone(pictures: Path, never_in_memory: None) -> None:
    state = torch.random.get_rng_state()
    images = read("folder", "crop-flip", data_root=pictures).train
    batches(images)
    in_order(images)
    assert torch.equal(torch.random.get_rng_state(), state)


# ImageNet


@pytest.mark.processes
def test_imagenets_training_split_in_random_pieces(imagenet: Path) -> None:
    data = read("imagenet", "resized-crop-flip", 2, data_root=imagenet, crop=16, resize=18)
    assert isinstance(data.train, LoaderImages)
    assert (len(data.train), len(data.held_out)) == (27, 3)
    assert data.held_out.labels.tolist() == [33 * number for number in (9, 19, 29)]
    pixels, labels = batches(data.train)[0]
    assert pixels.shape == (6, 3, 16, 16)
    assert labels.tolist() == [33 * number for number in (3, 18, 0, 23, 8, 3)]  # 9 and 19 are held out
    again = batches(data.train, [Step(STEPS[0].positions, slice(0, 6), 6)])[0][0]
    assert (pixels != again).flatten(1).any(1).all()
    dataset = open_dataset("imagenet", imagenet, "train", crop=16, resize=18)
    for number, image in zip((9, 19, 29), in_order(data.held_out)[0], strict=True):
        assert (image.numpy() == dataset.read(number).image).all()


def test_imagenets_splits_are_not_confused(imagenet: Path) -> None:
    assert len(open_dataset("imagenet", imagenet / "train", "train")) == 30
    with pytest.raises(RaysmoothError, match="val is not of split 'train': write --split val"):
        read("imagenet", data_root=imagenet / "val")


# What is read, and what is held out


def test_held_out_images_are_no_training_images_and_never_change(pictures: Path) -> None:
    plain, changed = (read("folder", augment, data_root=pictures) for augment in ("none", "crop-flip"))
    assert same([in_order(plain.held_out)], [in_order(changed.held_out)])
    every = torch.cat([in_order(plain.train)[0], in_order(plain.held_out)[0]])
    assert len({image.numpy().tobytes() for image in every}) == 30
    assert not same(batches(plain.train), batches(changed.train))


@pytest.mark.parametrize(
    ("count", "held_out", "first"),
    [(10, 1, 9), (19, 1, 9), (20, 2, 9), (100_000, 10_000, 9), (100_001, 9091, 10), (1_281_167, 9931, 128)],
)
def test_a_tenth_is_held_out_and_ten_thousand_at_most(count: int, held_out: int, first: int) -> None:
    train, held = raysmooth.tune.training.training_data._places(count)
    assert (len(held), int(held[0])) == (held_out, first)
    assert len(set(held.diff().tolist())) <= 1
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(count))


def test_part_of_the_data(pictures: Path) -> None:
    data = read("folder", data_root=pictures, skip=2, max=12)
    assert (len(data.train), len(data.held_out)) == (11, 1)
    every = in_order(read("folder", data_root=pictures).train)[0]  # 9, 19 and 29 are not among them
    chosen = [0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 22]  # 18, the tenth, is held out
    positions = [number - number // 10 for number in chosen]
    assert torch.equal(in_order(data.train)[0], every[positions])
    with pytest.raises(RaysmoothError, match="folder train has 9 images: training needs 10 or more"):
        read("folder", data_root=pictures, max=9)


def test_images_without_labels(pictures: Path) -> None:
    data = read("folder", data_root=pictures / "a")
    assert set(data.train.labels.tolist()) == {NO_LABEL}
    assert in_order(data.held_out)[1].tolist() == [NO_LABEL]


# Fingerprints


def test_small_sets_are_known_by_content_large_ones_by_a_listing(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[str, str]:
        data = read("folder", data_root=pictures)
        return data.fingerprint, data.fingerprint_of

    file, content = pictures / "a/03.png", (pictures / "a/03.png").read_bytes()
    other = bytearray(content)
    other[-1] ^= 1  # the end marker's checksum: the picture stays readable
    before = found()
    file.write_bytes(other)
    after = found()
    assert (before[1], after[1]) == ("content", "content")
    assert before[0] != after[0]

    monkeypatch.setattr(raysmooth.tune.training.training_data, "IN_MEMORY", 0)
    listed = found()
    file.write_bytes(content)
    assert listed == found()
    assert listed[1] == "listing"
    assert listed[0] not in (before[0], after[0])
    file.write_bytes(content + b"longer")
    assert found() != listed
    file.rename(pictures / "b/03.png")
    assert found()[0] != listed[0]


def test_the_augmentation_does_not_change_the_fingerprint(pictures: Path) -> None:
    every = [read("folder", name, data_root=pictures, crop=8) for name in ("none", "crop-flip", "resized-crop-flip")]
    assert len({(data.fingerprint, data.fingerprint_of) for data in every}) == 1


# Images that are altered


def test_images_that_are_altered_while_they_are_read_are_refused(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_all, file = Source.read_all, pictures / "a/03.png"

    def altering(source: Source, requests: Any) -> torch.Tensor:
        values = read_all(source, requests)
        file.write_bytes((pictures / "a/04.png").read_bytes() + b"!")
        return values

    monkeypatch.setattr(Source, "read_all", altering)
    with pytest.raises(RaysmoothError, match=r"^folder train: images were altered while they were read: run the "):
        read("folder", data_root=pictures)


def test_images_that_are_altered_during_a_training_are_noticed(pictures: Path, never_in_memory: None) -> None:
    data = read("folder", data_root=pictures)
    data.refuse_altered()
    file, before = pictures / "a/03.png", (pictures / "a/03.png").read_bytes()
    file.write_bytes(before + b"!")
    with pytest.raises(RaysmoothError, match=r"^stopped: images of folder train were altered during the training: re"):
        data.refuse_altered()
    file.write_bytes(before)
    data.refuse_altered()


# Refusals


@pytest.mark.processes
@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_file_is_the_same_line_wherever_it_is_met(
    pictures: Path, workers: int, never_in_memory: None
) -> None:
    (pictures / "a/02.png").write_bytes(b"<html>")
    data = read("folder", "crop-flip", workers, data_root=pictures)
    line = (
        "folder train: image 2 (a/02.png): not an image of a known format (6 bytes); "
        "training needs every image: remove or replace it"
    )
    with pytest.raises(RaysmoothError, match=f"^{re.escape(line)}$"):
        batches(data.train)
    with pytest.raises(RaysmoothError, match=f"^{re.escape(line)}$"):
        in_order(data.train)
    in_order(data.held_out)


def test_an_unreadable_file_is_met_before_training_where_images_are_kept(pictures: Path) -> None:
    (pictures / "a/02.png").write_bytes(b"")
    with pytest.raises(RaysmoothError, match=r"^folder train: image 2 \(a/02\.png\): not an image .*; training needs "):
        read("folder", data_root=pictures)


@pytest.mark.parametrize("held", ["memory", "loader"])
def test_unequal_shapes(pictures: Path, held: str, request: pytest.FixtureRequest) -> None:
    if held == "loader":
        request.getfixturevalue("never_in_memory")
    Image.new("RGB", (7, 5)).save(pictures / "a/02.png")
    line = r"image 2 \(a/02.png\) has shape \(3, 5, 7\), earlier ones \(3, 10, 12\): write --resize and --crop$"
    with pytest.raises(RaysmoothError, match=line):
        batches(read("folder", data_root=pictures).train)
    assert len(read("folder", data_root=pictures, resize=10, crop=8).train) == 27


def test_grey_among_coloured(picture_file: Callable[..., str], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "colour.png")
    rows = [(0.5, 0)] * 10 + [((tmp_path / "colour.png").read_bytes(), 0)]
    data = read("parquet", data_root=picture_file(rows, "train.parquet"))
    assert data.train.first().shape == (1, 3, 8, 8)
    assert (data.summary["channels"], data.summary["images"], data.summary["labels_from"]) == (3, 11, "column label")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"augment": "resized-crop"}, "did you mean 'resized-crop-flip'"),
        ({"augment": "resized-crop-flip"}, "'resized-crop-flip' cuts pieces of one size: write --crop with it"),
        ({"split": "val"}, "digits has no split 'val'"),
    ],
)
def test_refusals_before_reading(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RaysmoothError, match=message) as refusal:
        read("digits", **values)
    assert "\n" not in str(refusal.value)


class _Dies(Source):
    def read(self, index: int, cut: Any = None) -> np.ndarray:
        if torch.utils.data.get_worker_info() is not None:
            os._exit(3)
        return super().read(index, cut)


@pytest.mark.processes
def test_a_process_that_dies_is_one_line(pictures: Path) -> None:
    source = _Dies(open_dataset("folder", pictures), "folder train", 0)
    data = read("folder", data_root=pictures, augment="resized-crop-flip", crop=8).train
    assert isinstance(data, LoaderImages)
    images = LoaderImages(source, data._ids, data.labels, data._augmentation, CPU, 1)
    with pytest.raises(RaysmoothError, match=r"a loader worker died \(.*\): give it more memory") as refusal:
        batches(images)
    assert "\n" not in str(refusal.value)
