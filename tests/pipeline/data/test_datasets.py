"""Data sets: hand-checked pixels and labels, damaged files, memory, and what is refused."""

import os
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from image_files import encoded, flat_colour, sixteen_bit_png, write, write_parquet
from PIL import Image

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import DATASETS, UnreadableImage, fingerprint, listing_fingerprint, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet

SHARED = REPOSITORY.parent / "shared/data"

# Two rows of two RGB pixels: red, green; blue, and one whose channels differ.
FOUR_PIXELS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [51, 102, 153]]], np.uint8)
FOUR_PIXELS_READ = np.array([[[1, 0], [0, 51 / 255]], [[0, 1], [0, 102 / 255]], [[0, 0], [1, 153 / 255]]], np.float32)


def refused(*arguments, **options):
    """The one line with which `open_dataset` refuses."""
    with pytest.raises(RaysmoothError) as refusal:
        open_dataset(*arguments, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def unreadable(dataset, index):
    """Where an image is that cannot be read, and the reason, on one line."""
    with pytest.raises(UnreadableImage) as error:
        dataset.read(index)
    assert error.value.index == index
    assert "\n" not in error.value.reason
    assert "0x7" not in error.value.reason
    return f"{error.value.place}: {error.value.reason}"


# Bundled with scikit-learn


def test_digits_are_scikit_learns_scaled_by_a_sixteenth():
    from sklearn.datasets import load_digits

    digits = load_digits()
    train, test = open_dataset("digits", None, "train"), open_dataset("digits", None, "test")
    assert (len(train), len(test), train.num_classes, train.name) == (1397, 400, 10, "digits")
    first = train.read(0)
    assert (first.image.shape, first.image.dtype, first.label) == ((1, 8, 8), np.float32, 0)
    assert first.image.sum() == 294 / 16  # the first image's values add up to 294
    for index in (0, 1, 399):
        example = test.read(index)
        assert (example.image[0] * 16 == digits.images[1397 + index]).all()
        assert example.label == digits.target[1397 + index]


def test_digits_can_be_resized_and_reading_one_does_not_change_the_data():
    dataset = open_dataset("digits", None, "test", resize=16, crop=12)
    image = dataset.read(0).image
    assert (image.shape, image.dtype) == ((1, 12, 12), np.float32)
    assert 0 <= image.min() < image.max() <= 1
    plain = open_dataset("digits", None, "test")
    before = fingerprint(plain, range(3))
    plain.read(0).image[:] = 0
    assert fingerprint(plain, range(3)) == before


# torchvision's readers


def test_missing_files_are_refused_with_the_layout(tmp_path):
    assert "MNIST/raw" in refused("mnist", tmp_path, "test")
    assert "cifar-10-batches-py" in refused("cifar10", tmp_path, "test")
    assert "--data-root" in refused("mnist", None, "test")
    assert "does not exist" in refused("mnist", tmp_path / "nowhere", "test")


def test_mnist_with_fewer_labels_than_images_is_refused(tmp_path):
    import struct

    def labelled(labels: bytes, images: int = 10) -> Path:
        raw = tmp_path / "MNIST/raw"
        for split in ("train", "t10k"):
            write(raw / f"{split}-images-idx3-ubyte", struct.pack(">IIII", 2051, images, 28, 28) + bytes(784 * images))
            write(raw / f"{split}-labels-idx1-ubyte", struct.pack(">II", 2049, len(labels)) + labels)
        return tmp_path

    assert "has 10 images and 9 labels of split 'test'" in refused("mnist", labelled(bytes(9)), "test")
    assert "a label of split 'test' is 10, not one of 0 to 9" in refused(
        "mnist", labelled(bytes([*range(9), 10])), "test"
    )
    assert open_dataset("mnist", labelled(bytes(range(10)))).labels() == list(range(10))


def test_mnist_is_read_from_regular_files_of_bytes_alone(tmp_path):
    import struct

    images, labels = (tmp_path / f"MNIST/raw/t10k-{name}-ubyte" for name in ("images-idx3", "labels-idx1"))
    for name in ("images-idx3", "labels-idx1"):
        write(tmp_path / f"MNIST/raw/train-{name}-ubyte", b"unread")
    write(labels, struct.pack(">II", 2049, 1) + bytes(1))
    write(images, bytes((0, 0, 13, 3)) + struct.pack(">III", 1, 28, 28) + bytes(4 * 784))  # of float32
    assert "uint8" in refused("mnist", tmp_path, "test")
    write(images, bytes((0, 0, 10, 3)) + struct.pack(">III", 1, 28, 28) + bytes(784))  # of no type
    assert refused("mnist", tmp_path, "test").startswith(f"mnist in {tmp_path}: ")
    images.unlink()
    os.mkfifo(images)
    assert "t10k-images-idx3-ubyte: no regular file; --data-root needs" in refused("mnist", tmp_path, "test")
    images.unlink()
    images.symlink_to("/dev/zero")
    assert "t10k-images-idx3-ubyte: no regular file; --data-root needs" in refused("mnist", tmp_path, "test")


def test_corrupt_mnist_files_are_refused(tmp_path):
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            write(tmp_path / f"MNIST/raw/{part}-{kind}-ubyte", b"\0\0\x08\x03\0\0")
    assert "mnist in" in refused("mnist", tmp_path, "test")


class WritesAFile:
    """Unpickled, it writes a file: what a forged CIFAR-10 batch could do, and worse."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_forged_cifar10_batches_are_never_unpickled(tmp_path):
    forged = pickle.dumps(WritesAFile(tmp_path / "ran"))
    for batch in ("test_batch", "batches.meta", *(f"data_batch_{i}" for i in range(1, 6))):
        write(tmp_path / "cifar-10-batches-py" / batch, forged)
    assert "corrupted" in refused("cifar10", tmp_path, "test")
    assert not (tmp_path / "ran").exists()


def test_cifar10_planes_become_channels(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    planes = np.repeat(np.array([[255, 51, 0]], np.uint8), 1024, axis=1)  # red 255, green 51, blue 0
    write(folder / "test_batch", pickle.dumps({"data": planes, "labels": [7]}))
    write(folder / "batches.meta", pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(CIFAR10, "train_list", [])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", None]])  # no sum to check: a batch of our own
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    dataset = open_dataset("cifar10", tmp_path, "test")
    example = dataset.read(0)
    assert (len(dataset), example.label, example.image.shape) == (1, 7, (3, 32, 32))
    assert [set(channel.ravel()) for channel in example.image] == [{1}, {np.float32(51) / 255}, {0}]
    assert "smaller --crop" in refused("cifar10", tmp_path, "test", crop=40)


# Folders


def test_class_folders_are_labels_in_sorted_order(tmp_path):
    write(tmp_path / "dog/a.png", encoded(flat_colour(10)))
    write(tmp_path / "cat/b.png", encoded(FOUR_PIXELS))
    write(tmp_path / "cat/a.JPG", encoded(flat_colour(30), "JPEG"))
    write(tmp_path / "cat/notes.txt", b"not an image")
    write(tmp_path / ".cache/x.png", b"")
    dataset = open_dataset("folder", tmp_path)
    assert (len(dataset), dataset.num_classes, dataset.split) == (3, 2, "all")
    assert [dataset.read(i).label for i in range(3)] == [0, 0, 1]
    assert (dataset.read(1).image == FOUR_PIXELS_READ).all()
    assert dataset.read(1).image.dtype == np.float32


def test_a_flat_folder_is_unlabelled_sorted_and_rgb(tmp_path):
    write(tmp_path / "b.png", encoded(FOUR_PIXELS))
    write(tmp_path / "a.png", encoded(np.array([[0, 128]], np.uint8)))
    write(tmp_path / "readme.md", b"")
    dataset = open_dataset("folder", tmp_path, "validation")
    assert (len(dataset), dataset.num_classes, dataset.split) == (2, None, "validation")
    grey, colour = dataset.read(0), dataset.read(1)
    assert (grey.label, colour.label) == (None, None)
    assert (grey.image == np.array([[[0, 128 / 255]]] * 3, np.float32)).all()
    assert (colour.image == FOUR_PIXELS_READ).all()


def test_pixels_are_their_byte_over_255_correctly_rounded(tmp_path):
    write(tmp_path / "ramp.png", encoded(np.arange(256, dtype=np.uint8).reshape(16, 16)))
    read = open_dataset("folder", tmp_path).read(0).image[0].ravel()
    for byte, value in enumerate(read):
        error = abs(Fraction(float(value)) - Fraction(byte, 255))
        assert error <= Fraction(float(np.spacing(value))) / 2


def test_opening_a_folder_decodes_nothing(tmp_path, monkeypatch):
    write(tmp_path / "cat/damaged.png", b"\x89PNG")
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was decoded"))
    dataset = open_dataset("folder", tmp_path)
    fingerprint(dataset, range(1))


def test_damaged_images_are_unreadable_and_their_neighbours_are_not(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = encoded(noise, "JPEG")
    write(tmp_path / "0.jpg", whole)
    write(tmp_path / "1.jpg", whole[: len(whole) // 2])
    write(tmp_path / "2.jpg", b"<html>404</html>")
    write(tmp_path / "3.jpg", b"")
    write(tmp_path / "4.png", encoded(Image.new("I;16", (2, 2), 40_000)))
    write(tmp_path / "5.png", encoded(noise)[:200])
    write(tmp_path / "6.png", encoded(noise))
    write(tmp_path / "7.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    dataset = open_dataset("folder", tmp_path)
    assert "truncated" in unreadable(dataset, 1).lower()
    assert unreadable(dataset, 2) == "2.jpg: not an image of a known format (16 bytes)"
    assert unreadable(dataset, 3) == "3.jpg: not an image of a known format (no bytes at all)"
    assert "8 bits" in unreadable(dataset, 4)
    assert unreadable(dataset, 5)
    assert "known format" in unreadable(dataset, 7)  # never handed to Ghostscript
    assert [unreadable(dataset, i) for i in (1, 2, 5)] == [unreadable(dataset, i) for i in (1, 2, 5)]
    (tmp_path / "0.jpg").unlink()
    assert unreadable(dataset, 0) == "0.jpg: No such file or directory"
    assert (dataset.read(6).image == noise.transpose(2, 0, 1).astype(np.float32) / np.float32(255)).all()


@examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 900), byte=st.integers(0, 255), kind=st.sampled_from(["JPEG", "PNG", "TIFF", "BMP"]))
@pytest.mark.filterwarnings("ignore")
def test_whatever_the_damage_there_are_pixels_or_a_reason(tmp_path, place, byte, kind):
    content = bytearray(encoded(flat_colour(77, 16, 16), kind))
    content[place % len(content)] = byte
    write(tmp_path / "image.png", bytes(content))
    try:
        image = open_dataset("folder", tmp_path).read(0).image
    except UnreadableImage as error:
        lines = error.reason.splitlines()
        image = np.zeros((3, 1, 1)) if len(lines) == 1 else pytest.fail(str(lines))
    assert image.shape[0] == 3
    assert 0 <= image.min() <= image.max() <= 1


def test_unreadable_images_survive_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImage(3, "damaged")))
    assert (error.index, error.reason, str(error)) == (3, "damaged", "image 3: damaged")


def test_images_of_differing_size_are_framed_as_torchvision_does(tmp_path):
    from torchvision import transforms

    rng = np.random.default_rng(0)
    reference = transforms.Compose(
        [transforms.Resize(40), transforms.CenterCrop(33), transforms.ToTensor()]  # antialiased bilinear
    )
    for i, size in enumerate([(50, 91), (120, 61), (20, 33)]):
        write(tmp_path / f"{i}.png", encoded(rng.integers(0, 256, (*size, 3), np.uint8)))
    dataset = open_dataset("folder", tmp_path, resize=40, crop=33)
    for i in range(3):
        image = dataset.read(i).image
        assert image.shape == (3, 33, 33)
        assert (image == reference(Image.open(tmp_path / f"{i}.png")).numpy()).all()


def test_a_crop_larger_than_the_image(tmp_path):
    write(tmp_path / "a.png", encoded(flat_colour(0, 10, 20)))
    dataset = open_dataset("folder", tmp_path, crop=11)
    assert unreadable(dataset, 0) == "a.png: crop 11 is larger than the image (20 x 10 pixels)"
    assert "--crop 11 exceeds --resize 10" in refused("folder", tmp_path, resize=10, crop=11)
    assert "--resize 0" in refused("folder", tmp_path, resize=0)
    assert "--crop -1" in refused("folder", tmp_path, crop=-1)
    assert "smaller --crop" in refused("digits", None, "test", crop=9)


def test_what_systems_leave_behind_is_neither_class_nor_image(tmp_path):
    for name in ("a/0.png", "b/1.png", "b/deep/2.png"):
        write(tmp_path / name, encoded(FOUR_PIXELS))
    for name in ("__MACOSX/._0.png", "@eaDir/0.png", "lost+found/0.png", ".cache/0.png", "a/._0.png", "b/@eaDir/1.png"):
        write(tmp_path / name, b"resource fork")
    dataset = open_dataset("folder", tmp_path)
    assert (dataset.num_classes, dataset.labels()) == (2, [0, 1, 1])
    assert all(dataset.read(index).image.shape == (3, 2, 2) for index in range(3))
    flat = tmp_path / "flat"
    write(flat / "0.png", encoded(FOUR_PIXELS))
    write(flat / "._0.png", b"resource fork")
    assert len(open_dataset("folder", flat)) == 1


def test_folders_are_searched_in_torchvisions_order(tmp_path):
    from torchvision.datasets.folder import make_dataset

    for name in ("a/2.png", "a-b/1.png", "a/b/0.png", "a/b-c/1.jpg", "a/b/c/3.png", "a/10.png"):
        write(tmp_path / name, encoded(FOUR_PIXELS))
    expected = make_dataset(tmp_path, {"a": 0, "a-b": 1}, (".png", ".jpg"))
    dataset = open_dataset("folder", tmp_path)
    assert [str(dataset._path(index)) for index in range(6)] == [path for path, _ in expected]
    assert dataset.labels() == [label for _, label in expected]


def test_links_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path / "set/a/0.png", encoded(FOUR_PIXELS))
    write(tmp_path / "elsewhere/1.png", encoded(FOUR_PIXELS))
    (tmp_path / "set/a/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/a/again").symlink_to(tmp_path / "set/a")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "set")
    (tmp_path / "set/a/self.png").symlink_to("self.png")
    (tmp_path / "set/a/open files").symlink_to("/proc/self/fd")  # which change while they are listed
    dataset = open_dataset("folder", tmp_path / "set")
    assert len(dataset) == 2
    assert dataset.facts.skipped["links that lead to themselves"] == 1


@pytest.mark.parametrize("splits", [("train", "test"), ("Train", "Val"), ("training", "testing"), ("train", "valid")])
def test_splits_are_no_classes(tmp_path, splits):
    for split in splits:
        write(tmp_path / split / "a/0.png", encoded(FOUR_PIXELS))
    with pytest.raises(RaysmoothError, match=f"holds splits, not classes: write --data-root {tmp_path}/{min(splits)}"):
        open_dataset("folder", tmp_path)


def test_large_images_are_read_without_a_warning_of_pillow(tmp_path, monkeypatch, recwarn):
    write(tmp_path / "0.png", encoded(FOUR_PIXELS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    assert open_dataset("folder", tmp_path).read(0).image.shape == (3, 2, 2)
    assert not list(recwarn)


@pytest.mark.parametrize("root", ["a" * 300, "a\0b", "\ud800", "~nosuchuser/data", "x\ny"])
def test_a_root_that_is_no_path_is_refused(root: str) -> None:
    for name in ("folder", "mnist", "cifar10", "parquet", "numpy"):
        line = refused(name, root)
        assert "write" in line or "too long for a path" in line
        assert line.isprintable()


def test_only_regular_files_of_sane_size_are_read(tmp_path):
    write(tmp_path / "0.png", encoded(FOUR_PIXELS))
    os.mkfifo(tmp_path / "1.png")
    with open(tmp_path / "2.png", "wb") as sparse:
        sparse.truncate(60 * 2**30)
    (tmp_path / "3.png").mkdir()
    (tmp_path / "4.png").symlink_to("/dev/zero")
    (tmp_path / "dataset").mkdir()
    for file in tmp_path.glob("*.png"):
        file.rename(tmp_path / "dataset" / file.name)
    (tmp_path / "dataset/3.png").rmdir()
    dataset = open_dataset("folder", tmp_path / "dataset")
    assert unreadable(dataset, 1) == "1.png: no regular file"
    assert unreadable(dataset, 2) == "2.png: larger than 1024 MiB"
    assert unreadable(dataset, 3) == "4.png: no regular file"
    assert fingerprint(dataset, range(4))


def test_names_that_are_not_utf8(tmp_path):
    whole = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(whole, "wb") as file:
        file.write(encoded(FOUR_PIXELS))
    write(tmp_path / "new\nline.png", b"damaged")
    dataset = open_dataset("folder", tmp_path)
    assert dataset.read(0).image.shape == (3, 2, 2)
    assert len({fingerprint(dataset, range(2)), listing_fingerprint(dataset, range(2))}) == 2
    assert unreadable(dataset, 1) == "new\\nline.png: not an image of a known format (7 bytes)"
    os.unlink(whole)
    assert unreadable(dataset, 0) == "caf\\xe9.png: No such file or directory"


@pytest.mark.parametrize(
    ("ending", "kind"),
    [("gif", "GIF"), ("jfif", "JPEG"), ("jpe", "JPEG"), ("avif", "AVIF"), ("jp2", "JPEG2000"), ("webp", "WEBP")],
)
def test_formats(tmp_path, ending, kind):
    write(tmp_path / f"a.{ending}", encoded(flat_colour(100, 16, 16), kind))
    image = open_dataset("folder", tmp_path).read(0).image
    assert image.shape == (3, 16, 16)
    assert abs(image - 100 / 255).max() < 0.03


def test_an_animations_first_frame(tmp_path):
    frames = [Image.fromarray(flat_colour(value)) for value in (0, 255)]
    write(tmp_path / "a.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (open_dataset("folder", tmp_path).read(0).image == 0).all()


def test_sixteen_bits_a_channel_are_not_reduced_silently(tmp_path):
    write(tmp_path / "a.png", sixteen_bit_png())
    assert unreadable(open_dataset("folder", tmp_path), 0) == (
        "a.png: more than 8 bits a channel (mode RGB): store it with 8 bits"
    )


def test_an_image_that_resizing_would_blow_up_is_not_resized(tmp_path):
    write(tmp_path / "a.png", encoded(np.zeros((1, 20_000), np.uint8)))
    dataset = open_dataset("folder", tmp_path, resize=256)
    assert unreadable(dataset, 0) == "a.png: 20000 x 1 pixels would become 5120000 x 256 by resizing"


def test_a_folder_that_this_user_may_not_read(tmp_path, monkeypatch):
    """Root may read everything, so the system's answer to others is given by hand."""

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", denied)
    with pytest.raises(RaysmoothError, match=rf"^folder: {tmp_path} cannot be read \(permission denied\)"):
        open_dataset("folder", tmp_path)


def test_folders_without_what_is_needed_are_refused(tmp_path):
    assert "no images" in refused("folder", tmp_path)
    file = write(tmp_path / "train/cat/a.png", encoded(FOUR_PIXELS))
    write(tmp_path / "test/cat/a.png", encoded(FOUR_PIXELS))
    assert f"--data-root {tmp_path / 'test'}" in refused("folder", tmp_path)
    assert "is a file" in refused("folder", file)
    (tmp_path / "empty/cat").mkdir(parents=True)
    assert "no images" in refused("folder", tmp_path / "empty")
    write(tmp_path / "empty/dog/a.png", encoded(FOUR_PIXELS))
    assert "in 1 of the 2 class folders of" in refused("folder", tmp_path / "empty")
    assert "(cat): every folder there is a class, move those away" in refused("folder", tmp_path / "empty")


def test_imagenet_wants_all_its_folders(tmp_path):
    wnids = [f"n{i:08d}" for i in range(1000)]
    for wnid in wnids[:-1]:
        (tmp_path / "val" / wnid).mkdir(parents=True)
    write(tmp_path / "val/n00000017/b.png", encoded(flat_colour(9, 300, 400)))
    assert "999 class folders" in refused("imagenet", tmp_path, "val")
    (tmp_path / "val" / wnids[-1]).mkdir()
    for root in (tmp_path, tmp_path / "val"):
        dataset = open_dataset("imagenet", root, "val")
        assert (len(dataset), dataset.num_classes, dataset.read(0).label) == (1, 1000, 17)
        assert dataset.read(0).image.shape == (3, 224, 224)
    assert "<root>/train for --split train" in refused("imagenet", tmp_path, "train")
    assert "write --split val" in refused("imagenet", tmp_path / "val", "train")
    (tmp_path / "val").rename(tmp_path / "train")
    assert open_dataset("imagenet", tmp_path, "train").labels() == [17]
    assert "write --split train" in refused("imagenet", tmp_path / "train")
    (tmp_path / "train").rename(tmp_path / "val")
    assert open_dataset("imagenet", tmp_path, "val", crop=64).read(0).image.shape == (3, 64, 64)
    assert "known: train, val" in refused("imagenet", tmp_path, "test")


# Parquet


@pytest.mark.parametrize("image", ["image", "img"])
def test_parquet_rows_grey_and_colour(tmp_path, image):
    contents = [encoded(FOUR_PIXELS), encoded(np.array([[0, 51]], np.uint8)), None]
    write_parquet(tmp_path / "test.parquet", contents, [4, 1, 2], image)
    dataset = open_dataset("parquet", tmp_path, "test")
    assert (len(dataset), dataset.num_classes) == (3, 5)
    assert (dataset.read(0).image == FOUR_PIXELS_READ).all()
    assert dataset.channels == 3
    assert (dataset.read(1).image == np.array([[[0, 51 / 255]]] * 3, np.float32)).all()  # as the others
    assert [dataset.read(i).label for i in (1, 0)] == [1, 4]
    assert unreadable(dataset, 2) == "2.png: no image bytes"  # its name, as the file keeps it
    with pytest.raises(IndexError):
        dataset.read(3)


def test_parquet_files_of_a_split_follow_each_other(tmp_path):
    for part in range(3):
        contents = [encoded(flat_colour(10 * part + i)) for i in range(5)]
        write_parquet(tmp_path / f"data/test-0000{part}-of-00003.parquet", contents, [part] * 5, rows_a_group=2)
    write_parquet(tmp_path / "data/test_matched.parquet", [b""], [9])
    dataset = open_dataset("parquet", tmp_path, "test")
    expected = [10 * part + i for part in range(3) for i in range(5)]
    for order in (range(15), reversed(range(15)), [7, 0, 14, 7]):
        for i in order:
            example = dataset.read(i)
            assert round(float(example.image[0, 0, 0]) * 255) == expected[i]
            assert example.label == i // 5
    listing = refused("parquet", tmp_path / "data", "train")
    assert "no train*.parquet" in listing
    assert "test_matched.parquet" in listing


def test_parts_that_are_missing_or_strange_are_refused(tmp_path):
    def folder(*names):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name in names:
            write_parquet(root / name, [encoded(FOUR_PIXELS)], [0])
        return root

    whole = folder("test-00000-of-00002.parquet", "test-00001-of-00002.parquet")
    assert len(open_dataset("parquet", whole, "test")) == 2
    refusal = refused("parquet", folder("test-00000-of-00003.parquet", "test-00002-of-00003.parquet"), "test")
    assert "lacks 1 of 3 parts, first number 00001: fetch what is missing" in refusal
    for more in ("test-00000-of-00001.parquet", "test-0.parquet"):
        mixed = folder(more, "test-00000-of-00002.parquet", "test-00001-of-00002.parquet")
        assert "parts of more than one set of files" in refused("parquet", mixed, "test")


def test_a_column_twice_and_metadata_without_end(tmp_path):
    images = pa.array([{"bytes": encoded(FOUR_PIXELS)}], pa.struct([("bytes", pa.binary())]))
    twice = pa.Table.from_arrays([images, pa.array([0]), pa.array([1])], names=["image", "label", "label"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    assert "has two columns 'label'" in refused("parquet", tmp_path / "twice.parquet", "test")
    deep = b"[" * 100_000 + b"]" * 100_000
    once = pa.table({"image": images, "label": [3]}).replace_schema_metadata({b"huggingface": deep})
    pq.write_table(once, tmp_path / "deep.parquet")
    assert open_dataset("parquet", tmp_path / "deep.parquet", "test").num_classes == 4


def test_number_of_classes_in_parquet(tmp_path):
    one = [encoded(FOUR_PIXELS)] * 2
    cases = {
        "named": ({"labels": [0, 1], "names": ["a", "b", "c"]}, 3),
        "largest": ({"labels": [0, 6]}, 7),
        "no_statistics": ({"labels": [0, 6], "write_statistics": False}, 7),
        "unlabelled": ({}, None),
        "hidden": ({"labels": [-1, -1]}, None),
        "null": ({"labels": pa.array([None, 3])}, 4),
    }
    for name, (options, expected) in cases.items():
        dataset = open_dataset("parquet", write_parquet(tmp_path / f"{name}.parquet", one, **options), "test")
        assert dataset.num_classes == expected, name
    assert open_dataset("parquet", tmp_path / "hidden.parquet", "test").read(0).label is None
    assert open_dataset("parquet", tmp_path / "null.parquet", "test").read(0).label is None


def test_labels_that_the_footer_does_not_have_are_refused(tmp_path):
    """The file's pages say another label than its footer, as damage or a forger may leave it."""
    import struct

    images, labels = [encoded(FOUR_PIXELS)] * 5, [0, 1, 2, 1, 0]
    for names in (["a", "b", "c"], None):
        options = {} if names is None else {"names": names}
        path = write_parquet(
            tmp_path / "damaged.parquet",
            images,
            labels,
            rows_a_group=5,
            use_dictionary=False,
            compression="none",
            **options,
        )
        whole = path.read_bytes()
        assert whole.count(struct.pack("<5q", *labels)) == 1
        path.write_bytes(whole.replace(struct.pack("<5q", *labels), struct.pack("<5q", 0, 1, 9, 1, 0)))
        dataset = open_dataset("parquet", path, "test")
        assert dataset.num_classes == 3
        assert unreadable(dataset, 2).endswith("label 9 of 3 classes")
        with pytest.raises(RaysmoothError, match="a label in the column label is 9, but there are 3 classes"):
            dataset.labels()


def test_a_footer_whose_types_differ_does_not_end_the_process(tmp_path):
    """Arrow aborts where it is asked for the statistics of a column chunk of another type than the schema's."""
    path = write_parquet(tmp_path / "test.parquet", [encoded(FOUR_PIXELS)] * 2, [0, 1])
    whole = path.read_bytes()
    length = int.from_bytes(whole[-8:-4], "little")
    footer = bytearray(whole[-8 - length : -8])
    footer[footer.rindex(b"\x15\x04", 0, footer.rindex(b"\x18\x05label")) + 1] = 0  # Thrift: from INT64 to BOOLEAN
    path.write_bytes(whole[: -8 - length] + footer + whole[-8:])
    with pytest.raises(RaysmoothError, match=r"column label of .* is damaged \(its footer says INT64 and BOOLEAN\)"):
        _ = open_dataset("parquet", path, "test").num_classes


def test_damaged_generated_batches_are_refused_wherever_the_damage_is(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write(folder / "generated.json", b"{}")
    with (folder / "test_batch").open("wb") as file:
        np.savez_compressed(file, data=np.zeros((1, 3072), np.uint8), labels=np.arange(1))
    whole, refusals = (folder / "test_batch").read_bytes(), []
    for at in range(len(whole)):  # among them other methods of compression, encryption, and ends that are missing
        write(folder / "test_batch", whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            assert len(open_dataset("cifar10", tmp_path, "test")) == 1
        except RaysmoothError as refusal:
            refusals.append(str(refusal))
    assert len(refusals) > 100
    assert all(line.startswith("cifar10 in ") for line in refusals)


def test_a_pipe_is_no_parquet_file(tmp_path):
    os.mkfifo(tmp_path / "test.parquet")
    assert "no regular file" in refused("parquet", tmp_path, "test")


def test_memory_holds_few_row_groups_and_each_is_read_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    contents = [encoded(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(400)]  # 12 KB each
    path = write_parquet(tmp_path / "test.parquet", contents, [0] * 400, rows_a_group=10)
    a_group = sum(map(len, contents[:10]))
    reads = []
    original = pq.ParquetFile.read_row_group

    def counted(self, group, **options):
        reads.append(group)
        return original(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    dataset = open_dataset("parquet", path, "test")
    assert reads == []
    del contents
    before = held = pa.total_allocated_bytes()
    for i in range(400):
        dataset.raw(i)
        held = max(held, pa.total_allocated_bytes())
    assert reads == list(range(40))
    assert held - before < 10 * a_group  # of 40
    for i in (399, 389, 398, 388):  # stepping back and forth over a border costs nothing
        dataset.raw(i)
    assert reads == list(range(40))
    fingerprint(dataset, IndexSet(400, skip=100))
    assert reads[40:] == [0, 10, 20, 30]


def test_corrupt_and_foreign_files_are_refused_by_name(tmp_path):
    whole = write_parquet(tmp_path / "test.parquet", [encoded(FOUR_PIXELS)] * 9, list(range(9))).read_bytes()
    corrupt = write(tmp_path / "corrupt/test.parquet", whole[: len(whole) // 2])
    assert f"{corrupt} is corrupt or not a Parquet file" in refused("parquet", corrupt.parent, "test")
    assert "corrupt or not" in refused("parquet", write(tmp_path / "page.parquet", b"<html>"), "test")
    pq.write_table(pa.table({"pixels": [1], "label": [2]}), tmp_path / "wrong.parquet")
    assert "it has pixels: int64, label: int64" in refused("parquet", tmp_path / "wrong.parquet", "test")
    pq.write_table(pa.table({"image": [b""], "label": [2]}), tmp_path / "bare.parquet")
    assert "image: binary" in refused("parquet", tmp_path / "bare.parquet", "test")
    parts = write_parquet(tmp_path / "parts.parquet", [b""], [0.5])
    assert "the column label of" in refused("parquet", parts, "test")
    assert "--split train" in refused("parquet", write_parquet(tmp_path / "train.parquet", [b""]), "test")
    assert "no rows" in refused("parquet", write_parquet(tmp_path / "none.parquet", [], pa.array([], "int64")), "test")


def test_a_file_damaged_or_gone_after_opening(tmp_path):
    contents = [encoded(flat_colour(i, 40, 40)) for i in range(8)]
    path = write_parquet(tmp_path / "test.parquet", contents, list(range(8)), use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    damaged = bytearray(path.read_bytes())
    damaged[start : start + 40] = b"\xff" * 40  # the second row group's first page header
    path.write_bytes(damaged)
    dataset = open_dataset("parquet", path, "test")
    assert dataset.read(3).label == 3
    assert unreadable(dataset, 5).startswith("test.parquet, row 5: row group 1: ")
    assert dataset.raw(5) == b"missing;None;"
    path.unlink()
    assert dataset.read(3).label == 3  # still held
    assert unreadable(dataset, 4) == "test.parquet, row 4: row group 1: the file is gone"


# Without decoding


def test_labels_are_those_of_the_images_and_cost_no_decoding(tmp_path, monkeypatch):
    for name in ("cat/a.png", "cat/b.png", "dog/a.png", "emu/a.png"):
        write(tmp_path / "classes" / name, encoded(FOUR_PIXELS))
    write(tmp_path / "flat/a.png", encoded(FOUR_PIXELS))
    contents, labels = [encoded(FOUR_PIXELS)] * 9, pa.array([4, 1, None, -1, 0, 2, 2, 8, 5])
    write_parquet(tmp_path / "rows/test-0.parquet", contents, labels, rows_a_group=2)
    write_parquet(tmp_path / "rows/test-1.parquet", contents, labels, rows_a_group=4)
    write_parquet(tmp_path / "unlabelled.parquet", contents)
    roots = {"digits": None, "folder": tmp_path / "classes", "parquet": tmp_path / "rows"}
    datasets = [open_dataset(name, root, "test") for name, root in roots.items()]
    datasets += [open_dataset("folder", tmp_path / "flat"), open_dataset("parquet", tmp_path / "unlabelled.parquet")]
    expected = [[dataset.read(i).label for i in range(len(dataset))] for dataset in datasets]
    assert expected[1:3] == [[0, 0, 1, 2], [4, 1, None, None, 0, 2, 2, 8, 5] * 2]
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was decoded"))
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *_, **__: pytest.fail("images were read"))
    assert [dataset.labels() for dataset in datasets] == expected


class LeftColumn:
    def apply(self, index, image):
        return image.crop((0, 0, 1, image.height))


def test_values_are_the_pixels_before_they_are_scaled(tmp_path):
    write(tmp_path / "a.png", encoded(FOUR_PIXELS))
    path = write_parquet(tmp_path / "test.parquet", [encoded(FOUR_PIXELS[..., 0])])
    for name, root, planes in (("folder", tmp_path, FOUR_PIXELS), ("parquet", path, FOUR_PIXELS[..., :1])):
        dataset = open_dataset(name, root, "test", crop=2)
        values = dataset.values(0)
        assert values.dtype == np.uint8
        assert (values == planes.transpose(2, 0, 1)).all()
        assert (dataset.values(0, LeftColumn()) == values[:, :, :1]).all()  # in place of the crop, not after it
    digits = open_dataset("digits", None, "test", resize=4)
    assert (digits.values(3) == digits.read(3).image).all()
    assert (digits.values(3, LeftColumn()) == open_dataset("digits", None, "test").read(3).image[:, :, :1]).all()


# Fingerprints


def test_fingerprint_sees_content_label_id_and_framing(tmp_path):
    contents = [encoded(flat_colour(i)) for i in range(6)]

    def of(contents=contents, labels=(0, 1, 2, 3, 4, 5), ids=range(6), **framing):
        path = write_parquet(tmp_path / "test.parquet", contents, list(labels))
        return fingerprint(open_dataset("parquet", path, "test", **framing), ids)

    same = {of(), of(), of(ids=IndexSet(6))}
    others = [
        of(contents=[*contents[:5], encoded(flat_colour(7))]),
        of(labels=(0, 1, 2, 3, 4, 0)),
        of(ids=IndexSet(6, skip=2)),
        of(ids=IndexSet(6, max=5)),
        of(resize=4),
        of(crop=4),
    ]
    assert len(same) == 1
    assert len(same.union(others)) == 7
    assert all(len(digest) == 64 for digest in others)


def test_fingerprint_marks_missing_files_and_reads_damaged_ones(tmp_path):
    first = write(tmp_path / "a.png", b"damaged")
    write(tmp_path / "b.png", encoded(FOUR_PIXELS))
    dataset = open_dataset("folder", tmp_path)
    before = fingerprint(dataset, range(2))
    first.unlink()
    gone = fingerprint(dataset, range(2))
    first.write_bytes(b"")
    assert len({before, gone, fingerprint(dataset, range(2))}) == 3


def test_listings_see_place_size_and_label_but_read_nothing(tmp_path, monkeypatch):
    content = encoded(FOUR_PIXELS)
    files = [write(tmp_path / "set" / name, content) for name in ("cat/a.png", "cat/b.png", "dog/c.png")]

    def of(root=tmp_path / "set", **framing):
        dataset = open_dataset("folder", root, **framing)
        return listing_fingerprint(dataset, range(len(dataset)))

    monkeypatch.setattr(Path, "read_bytes", lambda *_: pytest.fail("a file was read"))
    seen = [of(), of(crop=2)]
    files[1].write_bytes(bytes(len(content)))
    assert of() == seen[0]
    (tmp_path / "set").rename(tmp_path / "elsewhere")
    assert of(tmp_path / "elsewhere") == seen[0]
    (tmp_path / "elsewhere").rename(tmp_path / "set")
    files[1].write_bytes(b"shorter")
    seen.append(of())
    files[1].rename(tmp_path / "set/cat/z.png")
    seen.append(of())
    (tmp_path / "set/cat/z.png").rename(tmp_path / "set/dog/b.png")
    seen.append(of())
    assert len(set(seen)) == 5


def test_listings_of_parquet_files(tmp_path):
    def of(contents, labels, name="test.parquet"):
        dataset = open_dataset("parquet", write_parquet(tmp_path / name, contents, labels), "test")
        return listing_fingerprint(dataset, range(len(dataset)))

    small, large = encoded(FOUR_PIXELS), encoded(flat_colour(7, 30, 30))
    assert of([small] * 3, [0, 1, 2]) == of([small] * 3, [0, 1, 2])
    assert len({of([small] * 3, [0, 1, 2]), of([small] * 3, [0, 1, 1]), of([small, small, large], [0, 1, 2])}) == 3


# The registry


def test_unknown_names_and_splits_are_refused_with_the_known_ones():
    assert "did you mean 'digits'" in refused("digit", None)
    assert "known: test, train" in refused("digits", None, "val")


def test_every_entry_that_needs_a_folder_says_which():
    for name, entry in DATASETS.items():
        if entry.layout is not None:
            assert entry.layout in refused(name, None, entry.splits[0])
    assert DATASETS["digits"].layout is None


# Real data


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="no folder shared/data beside the checkout")
class TestSharedData:
    def test_mnist(self):
        dataset = open_dataset("mnist", SHARED / "mnist", "test")
        first = dataset.read(0)
        assert (len(dataset), dataset.num_classes) == (10_000, 10)
        assert (first.label, first.image.shape, first.image.dtype) == (7, (1, 28, 28), np.float32)
        labels = np.bincount([dataset.read(i).label for i in range(10_000)])
        assert labels.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        raw = (SHARED / "mnist/MNIST/raw/t10k-images-idx3-ubyte").read_bytes()[16 : 16 + 784]
        assert (first.image.ravel() == np.frombuffer(raw, np.uint8) / np.float32(255)).all()
        assert open_dataset("mnist", SHARED / "mnist", "train").read(0).label == 5

    def test_cifar10_jpeg(self):
        dataset = open_dataset("cifar10-jpeg", SHARED / "cifar10-jpeg", "test")
        assert (dataset.name, len(dataset), dataset.num_classes) == ("cifar10-jpeg", 10_000, 10)
        assert dataset.read(0).image.shape == (3, 32, 32)
        labels = dataset.labels()
        assert [dataset.read(i).label for i in range(100)] == labels[:100]
        assert np.bincount(labels).tolist() == [1000] * 10
        assert labels[:6] == [9, 3, 7, 0, 9, 7]  # seen: truck, cat, horse, plane, truck, horse

    def test_imagenet_images_without_labels(self):
        dataset = open_dataset("folder", SHARED / "imagenet-val-100", "val")
        assert (len(dataset), dataset.num_classes) == (100, None)
        assert {dataset.read(i).image.shape for i in range(100)} == {(3, 224, 224)}  # grey ones too
        assert "1000" in refused("imagenet", SHARED / "imagenet-val-100", "val")
