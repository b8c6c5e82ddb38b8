"""What is decided in reading a data set (labels, channels, EXIF, depth), how it is said, and how it is decided
otherwise.
"""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from image_files import encoded, flat_colour, sixteen_bit_png, write, write_parquet
from PIL import Image

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.limits import MOST_CLASSES
from raysmooth.pipeline.data import folder_dataset, images
from raysmooth.pipeline.data.bit_depth import exceeds_8_bits
from raysmooth.pipeline.data.class_files import read_classes, read_label_map
from raysmooth.pipeline.data.datasets import UnreadableImage, fingerprint, listing_fingerprint, open_dataset
from raysmooth.pipeline.data.summary import class_count_note, described, subset_note, summarised

RAMP = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
"""Two rows of three different greys."""


def refusal(*arguments, **decisions):
    with pytest.raises(RaysmoothError) as error:
        open_dataset(*arguments, **decisions)
    assert "\n" not in str(error.value)
    return str(error.value)


def folders(root, *names):
    """A class folder for each name, with one image whose grey level is its place among `names`, times 10."""
    for place, name in enumerate(names):
        write(root / name / "0.png", encoded(flat_colour(10 * place)))
    return root


def labels_by_name(dataset):
    return {dataset.place(index).split("/")[0]: label for index, label in enumerate(dataset.labels())}


# Class folders


def test_numbers_as_class_names_are_said_and_can_be_numbered_by_value(tmp_path):
    root = folders(tmp_path, *map(str, range(12)))
    as_text = open_dataset("folder", root)
    assert labels_by_name(as_text) == {"0": 0, "1": 1, "10": 2, "11": 3, **{str(n): n + 2 for n in range(2, 10)}}
    (note,) = as_text.facts.notes
    assert "'10' has label 2, not '2'" in note
    assert "--class-order number" in note
    by_value = open_dataset("folder", root, class_order="number")
    assert labels_by_name(by_value) == {str(number): number for number in range(12)}
    assert by_value.facts.class_names == {number: str(number) for number in range(12)}
    assert by_value.facts.notes == ()
    assert by_value.num_classes == 12
    wanted = open_dataset("folder", root, class_order="name")
    assert (wanted.labels(), wanted.facts.notes) == (as_text.labels(), ())
    # The same images at the same places, whatever their labels.
    assert all((by_value.values(i) == as_text.values(i)).all() for i in range(12))


def test_orders_that_agree_are_not_mentioned_and_change_no_fingerprint(tmp_path):
    root = folders(tmp_path, "1", "2", "3")
    plain, by_value = open_dataset("folder", root), open_dataset("folder", root, class_order="number")
    assert plain.facts.notes == ()
    for taken in (fingerprint, listing_fingerprint):
        assert taken(plain, range(3)) == taken(by_value, range(3))


def test_every_decision_about_labels_changes_the_fingerprint(tmp_path):
    root = folders(tmp_path, "1", "2", "10")
    decisions = [{}, {"class_order": "number"}, {"classes": {"1": 0, "2": 1, "10": 5}}]
    decisions += [{"label_map": {"1": 0, "2": 1, "10": None}}, {"channels": 1}]
    for taken in (fingerprint, listing_fingerprint):
        datasets = [open_dataset("folder", root, **one) for one in decisions]
        assert len({taken(dataset, range(len(dataset))) for dataset in datasets}) == len(decisions)


@pytest.mark.parametrize(
    "names",
    [
        ("class_1", "class_2", "class_10"),
        ("class-1", "class-2", "class-10"),
        ("1_cat", "2_ant", "10_dog"),
        ("0.5", "2.25", "10.5"),
        ("-2", "-1", "0", "3"),
        ("v1.5", "v1.25")[::-1],
    ],
)
def test_numbers_in_class_names_are_numbers_too(tmp_path, names):
    root = folders(tmp_path, *names)
    as_text, by_value = open_dataset("folder", root), open_dataset("folder", root, class_order="number")
    assert labels_by_name(by_value) == {name: place for place, name in enumerate(names)}
    assert labels_by_name(as_text) == {name: place for place, name in enumerate(sorted(names))}
    assert len(as_text.facts.notes) == (list(names) != sorted(names))


def test_classes_that_are_no_numbers_have_no_such_order(tmp_path):
    assert "the class 'cat' is no number" in refusal("folder", folders(tmp_path, "1", "cat"), class_order="number")
    assert "two classes are the number 1" in refusal(
        "folder", folders(tmp_path / "zero", "1", "01"), class_order="number"
    )
    assert "leave one out" in refusal("folder", tmp_path, class_order="number", classes={"1": 0})
    assert "not places among sorted names" in refusal("digits", None, class_order="number")


def test_a_list_of_classes_numbers_them(tmp_path):
    root = folders(tmp_path / "data", "cat", "dog", "emu")
    names = write(tmp_path / "names.txt", b"emu\nowl\ncat\r\ndog\n")
    dataset = open_dataset("folder", root, classes=read_classes(str(names)))
    assert labels_by_name(dataset) == {"cat": 2, "dog": 3, "emu": 0}
    assert dataset.num_classes == 4
    assert dataset.facts.class_names == {0: "emu", 1: "owl", 2: "cat", 3: "dog"}
    assert dataset.facts.notes == ("--classes has 1 name that no class of the data has ('owl')",)
    mapped = open_dataset("folder", root, label_map={"cat": 0, "dog": 1, "emu": 2, "Fox": 3, "gnu": None})
    assert mapped.facts.notes == ("--label-map has 2 names that no class of the data has ('Fox', 'gnu')",)
    short = read_classes(str(write(tmp_path / "short.txt", b"emu\ncats\ndog\n")))
    assert "the class 'cat' of folder is not there: add it; did you mean 'cats'?" in refusal(
        "folder", root, classes=short
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "no\n007\n1e3\n", {"no": 0, "007": 1, "1e3": 2}),
        ("a.yaml", "cat: 3\nno: 0\n007: 1\n", {"cat": 3, "no": 0, "007": 1}),
        ("a.yaml", "- cat\n- dog\n", {"cat": 0, "dog": 1}),
        ("a.yaml", "cat\ndog\n", {"cat": 0, "dog": 1}),
        ("a.json", '{"cat": 1, "dog": 0}', {"cat": 1, "dog": 0}),
        ("a.json", '{"0": "cat", "1": "dog"}', {"cat": 0, "dog": 1}),  # id2label of Hugging Face
        ("a.json", '["cat", "dog"]', {"cat": 0, "dog": 1}),
        ("a.txt", "cat: 1\ndog: 0\n", {"cat": 1, "dog": 0}),
        ("a.txt", "\ufeffcat\n", {"cat": 0}),
    ],
)
def test_files_of_classes(tmp_path, name, content, expected):
    assert read_classes(str(write(tmp_path / name, content.encode()))) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "the file is empty"),
        ("a.txt", "cat\ndog\n".encode("utf-16"), "is in UTF-16: save it in UTF-8"),
        ("a.txt", b"cat\n\ndog\n", "line 2 is empty"),
        ("a.txt", b"cat\ncat\n", "the class 'cat' is there twice"),
        ("a.yaml", b"cat: 1\ncat: 2\n", "the class 'cat' is there twice"),
        ("a.json", b'{"cat": 1, "cat": 2}', "the class 'cat' is there twice"),
        ("a.yaml", b"cat: 1\ndog: 1\n", "two classes have the label 1"),
        ("a.yaml", b"cat: -1\n", "write a label, a whole number from 0"),
        ("a.yaml", b"cat: 1.5\n", "write a label, a whole number from 0"),
        ("a.yaml", b"cat: " + b"9" * 5000, "write a label, a whole number from 0"),
        ("a.yaml", b"cat: [1]\n", "line 1"),
        ("a.yaml", b"cat: ''\n", "line 1"),
        ("a.json", b'{"cat": ""}', "found an empty text"),
        ("a.yaml", b"cat: {", "cannot be read"),
        ("a.yaml", b"[" * 5000, "cannot be read: line 1: nested more than 50 levels deep"),
        ("a.yaml", b"cat: 1\n" * 200_000, "1,400,000 bytes are too many"),
        ("a.json", b"[" * 100_000, "cannot be read"),
        ("a.json", b"3", "expected a mapping"),
        ("a.json", b'{"cat": 1.5}', "expected a name or a whole number"),
        ("a.json", b"\xff", "cannot be read"),
    ],
)
def test_files_that_are_none_of_classes(tmp_path, name, content, message):
    with pytest.raises(RaysmoothError, match=re.escape(message)) as error:
        read_classes(str(write(tmp_path / name, content)))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    assert "\x1b" not in str(error.value)


def test_missing_and_huge_files_of_classes(tmp_path):
    with pytest.raises(RaysmoothError, match="there is no such file"):
        read_classes(str(tmp_path / "none.txt"))
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(RaysmoothError, match="bytes are too many"):
        read_classes(str(tmp_path / "huge.txt"))
    for path in ("nul\0", "a\x1b[2J\nb"):
        with pytest.raises(RaysmoothError, match=r"^--classes (nul\\x00|a\\x1b\[2J\\nb): control characters in a path"):
            read_classes(path)
    with pytest.raises(RaysmoothError, match="write a line 'class: label'"):
        read_label_map(str(write(tmp_path / "names.txt", b"cat\ndog\n")))


# The map of labels


def test_a_label_map_gives_the_classifiers_labels_and_leaves_images_out(tmp_path):
    root = folders(tmp_path / "data", "cat", "dog", "emu", "none of these")
    written = write(tmp_path / "map.yaml", b"cat: 281\ndog: 207\nemu: 281\nnone of these: null\nyak: 3\n")
    dataset = open_dataset("folder", root, label_map=read_label_map(str(written)))
    assert labels_by_name(dataset) == {"cat": 281, "dog": 207, "emu": 281}
    assert dataset.facts.class_names == {207: "dog", 281: "cat / emu"}
    assert dataset.num_classes == 282
    assert dataset.facts.skipped == {"images of 1 class that --label-map leaves out": 1}
    assert [dataset.read(index).label for index in range(3)] == [281, 207, 281]
    missing = refusal("folder", root, label_map={"cat": 1, "dog": 2, "none of these": None})
    assert "the class 'emu' of folder is not there: write 'emu: LABEL'" in missing
    assert "leaves out all images" in refusal(
        "folder", root, label_map=dict.fromkeys(("cat", "dog", "emu", "none of these"))
    )


def test_names_that_look_the_same_are_refused(tmp_path):
    long = "a" * 250
    root = folders(tmp_path, f"{long}b", f"{long}c")
    assert "two classes look the same as text" in refusal("folder", root, label_map={f"{long}b": 0, f"{long}c": 1})
    assert open_dataset("folder", root).labels() == [0, 1]


def test_images_behind_those_left_out_keep_their_places_in_messages(tmp_path):
    root = folders(tmp_path, "a", "b", "c")
    (root / "c/0.png").write_bytes(b"damaged")
    dataset = open_dataset("folder", root, label_map={"a": 1, "b": None, "c": 0})
    with pytest.raises(UnreadableImage, match=r"image 1 \(c/0\.png\): not an image") as error:
        dataset.read(1)
    assert error.value.index == 1


def test_labels_without_names_are_mapped_by_number(tmp_path):
    path = write_parquet(tmp_path / "test.parquet", [encoded(flat_colour(0))] * 3, [5, 7, 5])
    assert open_dataset("parquet", path, "test", label_map={"5": 0, "7": 1}).labels() == [0, 1, 0]
    named = open_dataset("parquet", path, "test", classes={"five": 5, "seven": 7})
    assert (named.labels(), named.facts.class_names) == ([5, 7, 5], {5: "five", 7: "seven"})
    assert "the label 7 of parquet has no name there" in refusal("parquet", path, "test", classes={"five": 5})


def test_decisions_about_labels_need_labels(tmp_path):
    write(tmp_path / "0.png", encoded(flat_colour(0)))
    assert "has no labels" in refusal("folder", tmp_path, label_map={"a": 0})


# Label columns


def test_label_columns(tmp_path):
    one = [encoded(flat_colour(0))] * 2

    def written(columns, **options):
        return write_parquet(tmp_path / "test.parquet", one, columns, **options)

    path = written({"fine_label": [3, 4], "coarse_label": [0, 1]})
    message = refusal("parquet", path, "test")
    assert "has no column label, there are fine_label, coarse_label: write --label-column fine_label" in message
    assert open_dataset("parquet", path, "test", label_column="coarse_label").labels() == [0, 1]
    assert open_dataset("parquet", path, "test", label_column="none").labels() == [None, None]
    assert "no column for --label-column fine" in refusal("parquet", path, "test", label_column="fine")
    only = open_dataset("parquet", written({"id": [8, 9], "labels": [3, 4]}), "test")
    assert only.labels() == [3, 4]
    assert only.facts.notes == ("no column is named label: labels are those of the column labels",)
    both = open_dataset("parquet", written({"label": [0, 1], "fine_label": [3, 4]}), "test")
    assert both.labels() == [0, 1]
    assert both.facts.notes == ("labels are those of the column label: write --label-column if you mean fine_label",)
    neither = open_dataset("parquet", written({"id": [8, 9]}), "test")
    assert neither.labels() == [None, None]
    assert neither.facts.notes == ("no column is named label, there are id: the images have no labels",)
    assert "neither of whole numbers nor of text" in refusal("parquet", written({"label": [[1], [2]]}), "test")
    assert "has no columns" in refusal("digits", None, label_column="label")


def test_a_declared_class_label_is_a_candidate_whatever_its_name(tmp_path):
    path = write_parquet(
        tmp_path / "test.parquet", [encoded(flat_colour(0))] * 2, {"kind": [1, 0]}, names=["a", "b"], label="kind"
    )
    dataset = open_dataset("parquet", path, "test")
    assert (dataset.labels(), dataset.facts.class_names) == ([1, 0], {0: "a", 1: "b"})


def test_labels_beyond_the_names_of_a_class_label_are_said(tmp_path):
    path = write_parquet(tmp_path / "test.parquet", [encoded(flat_colour(0))] * 2, [1, 4], names=["a", "b", "c"])
    dataset = open_dataset("parquet", path, "test")
    assert (dataset.num_classes, dataset.facts.class_names) == (5, {0: "a", 1: "b", 2: "c"})
    (note,) = dataset.facts.notes
    assert "has labels up to 4, but ClassLabel of Hugging Face names only 3 classes" in note


def test_names_of_a_class_label_that_are_there_twice_are_said(tmp_path):
    path = write_parquet(tmp_path / "test.parquet", [encoded(flat_colour(0))] * 2, [1, 2], names=["a", "b", "a"])
    dataset = open_dataset("parquet", path, "test")
    assert (dataset.num_classes, dataset.facts.class_names) == (3, {})
    (note,) = dataset.facts.notes
    assert note.endswith("are left out, since 'a' is there twice: write --classes FILE for others")


@pytest.mark.parametrize("write_statistics", [True, False])
def test_labels_that_no_class_has_are_refused(tmp_path, write_statistics):
    path = write_parquet(
        tmp_path / "test.parquet", [encoded(flat_colour(0))] * 2, [1, 2**53], write_statistics=write_statistics
    )
    with pytest.raises(RaysmoothError, match=f"has the label {2**53}, more than 999,999: write --label-column"):
        _ = open_dataset("parquet", path, "test").num_classes


@pytest.mark.parametrize("kind", ["string", "dictionary", "large_string"])
def test_text_labels_are_numbered_by_sorted_names(tmp_path, kind):
    one = encoded(flat_colour(0))
    types = {
        "string": pa.string(),
        "large_string": pa.large_string(),
        "dictionary": pa.dictionary("int32", pa.string()),
    }
    for part, names in enumerate((["dog", None, "cat"], ["ant", "dog", "cat"])):
        texts = pa.array(names, types[kind]) if kind != "dictionary" else pa.array(names).dictionary_encode()
        write_parquet(tmp_path / f"test-0000{part}-of-00002.parquet", [one] * 3, texts, rows_a_group=2)
    dataset = open_dataset("parquet", tmp_path, "test")
    assert dataset.labels() == [2, None, 1, 0, 2, 1]
    assert [dataset.read(index).label for index in range(6)] == dataset.labels()
    assert (dataset.num_classes, dataset.facts.class_names) == (3, {0: "ant", 1: "cat", 2: "dog"})


def test_parts_whose_labels_differ_are_refused(tmp_path):
    one = [encoded(flat_colour(0))]
    write_parquet(tmp_path / "test-0.parquet", one, [0], names=["a", "b"])
    write_parquet(tmp_path / "test-1.parquet", one, [0], names=["b", "a"])
    assert "has other classes than that of other files" in refusal("parquet", tmp_path, "test")
    write_parquet(tmp_path / "test-1.parquet", one)
    assert "is none, that of other files label" in refusal("parquet", tmp_path, "test")


# Channels


def test_a_parquet_set_has_one_number_of_channels(tmp_path):
    grey, colour = encoded(RAMP, "JPEG"), encoded(np.stack([RAMP, RAMP, 255 - RAMP], 2))

    def written(*contents):
        return write_parquet(tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet", contents, rows_a_group=1)

    alone = written(grey, grey)
    assert {open_dataset("parquet", alone, "test").values(i).shape for i in range(2)} == {(1, 2, 3)}
    for mixed in (written(grey, grey, colour), written(colour, grey), written(b"damaged", grey, colour)):
        dataset = open_dataset("parquet", mixed, "test")
        assert {dataset.values(i).shape for i in range(1, len(dataset))} == {(3, 2, 3)}
        assert dataset.channels == 3
    as_rgb = open_dataset("parquet", alone, "test", channels=3)
    assert (as_rgb.values(0) == open_dataset("parquet", alone, "test").values(0)).all()
    assert as_rgb.values(0).shape == (3, 2, 3)
    as_grey = open_dataset("parquet", written(colour, grey), "test", channels=1)
    assert as_grey.values(0)[0].tolist() == np.asarray(Image.open(images.io.BytesIO(colour)).convert("L")).tolist()
    assert "--channels 2: write 1 (grey) or 3 (RGB)" in refusal("parquet", alone, "test", channels=2)


def test_only_images_whose_pixels_change_change_the_fingerprint(tmp_path):
    from raysmooth.pipeline.data.images import identity

    grey, colour = encoded(RAMP), encoded(flat_colour(1, 2, 3))
    turned = encoded(RAMP, "JPEG", exif=_exif(6))
    path = write_parquet(tmp_path / "test.parquet", [colour, grey, turned], [0, 1, 2])
    dataset = open_dataset("parquet", path, "test")
    assert dataset.raw(0) == identity(colour, 0)
    assert dataset.raw(1) == b"channels=3;" + identity(grey, 1)
    assert dataset.raw(2) == b"upright;channels=3;" + identity(turned, 2)
    alone = open_dataset("parquet", write_parquet(tmp_path / "grey.parquet", [grey], [1]), "test")
    assert alone.raw(0) == identity(grey, 1)


def test_channels_and_classes_of_numpy_arrays(tmp_path):
    np.save(tmp_path / "test_images.npy", np.stack([flat_colour(10 * number) for number in range(3)]))
    np.save(tmp_path / "test_labels.npy", np.array([0, 2, 1]))
    dataset = open_dataset("numpy", tmp_path, "test", label_map={"0": 5, "1": None, "2": 7}, channels=1)
    assert dataset.labels() == [5, 7]
    assert [dataset.values(index).shape for index in range(2)] == [(1, 4, 4)] * 2
    assert dataset.place(1) == "test_images.npy, image 1"
    assert dataset.facts.labels_from == "test_labels.npy"
    np.save(tmp_path / "test_images.npy", np.zeros((3, 4, 4, 3), np.float32))
    assert "made grey" in refusal("numpy", tmp_path, "test", channels=1)
    assert open_dataset("numpy", tmp_path, "test").facts.bits == "float32 from 0 to 1"


def test_channels_of_folders_and_arrays(tmp_path):
    write(tmp_path / "0.png", encoded(flat_colour(100)))
    assert open_dataset("folder", tmp_path, channels=1).values(0).shape == (1, 4, 4)
    digits, coloured = open_dataset("digits", None, "test"), open_dataset("digits", None, "test", channels=3, resize=16)
    assert coloured.values(0).shape == (3, 16, 16)
    assert (open_dataset("digits", None, "test", channels=3).values(0) == digits.values(0)).all()
    assert fingerprint(open_dataset("digits", None, "test", channels=1), [0]) == fingerprint(digits, [0])


# EXIF


def _exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


UPRIGHT = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90,
}  # fmt: skip
"""By the EXIF specification: where the stored image's first row and column are."""


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_exif_is_applied_to_parquet_sets_and_not_to_folders(tmp_path, orientation, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(np.stack([RAMP] * 3, 2), kind, exif=_exif(orientation), **options)
    path = write_parquet(tmp_path / "test.parquet", [content])
    assert (open_dataset("parquet", path, "test").values(0)[0] == UPRIGHT[orientation](RAMP)).all()
    write(tmp_path / "folder/0.png", content)
    # Pillow itself, and so torchvision, turns TIFF files.
    stored = UPRIGHT[orientation](RAMP) if kind == "TIFF" else RAMP
    assert (open_dataset("folder", tmp_path / "folder").values(0)[0] == stored).all()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage", _exif(6)[:-6], _exif(99), b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xa8" * 20]
)
def test_damaged_exif_costs_no_image(tmp_path, exif):
    path = write_parquet(tmp_path / "test.parquet", [encoded(RAMP, exif=exif), encoded(RAMP, "JPEG", exif=exif)])
    dataset = open_dataset("parquet", path, "test")
    assert (dataset.values(0)[0] == RAMP).all()
    assert dataset.values(1).shape == (1, 2, 3)
    assert fingerprint(dataset, range(2))


# Depth


def _ppm(magic, largest):
    return f"P{magic}\n2 1\n{largest}\n".encode() + bytes(12)


def test_more_than_8_bits_are_refused_in_every_format(tmp_path):
    deep = {
        "png": sixteen_bit_png(),
        "grey.png": encoded(Image.new("I;16", (2, 2), 40_000)),
        "tiff": encoded(Image.new("F", (2, 2)), "TIFF"),
        "ppm": _ppm(6, 65535),
        "10.ppm": _ppm(6, 1023),
        "pgm": _ppm(5, 65535),
        "jp2": _patched(encoded(flat_colour(9, 16, 16), "JPEG2000"), b"\xff\x4f\xff\x51", 42, 15),
    }
    for kind, content in deep.items():
        write(tmp_path / "folder" / f"0.{kind}", content)
    folder = open_dataset("folder", tmp_path / "folder")
    parquet = open_dataset("parquet", write_parquet(tmp_path / "test.parquet", list(deep.values())), "test")
    for dataset in (folder, parquet):
        for index in range(len(deep)):
            with pytest.raises(UnreadableImage, match=r"more than 8 bits a channel .*: store it with 8 bits"):
                dataset.read(index)


def test_avif_of_10_bits_is_recognised():
    content = encoded(flat_colour(9, 16, 16), "AVIF")
    image = Image.open(images.io.BytesIO(content))
    assert not exceeds_8_bits(image, content)
    assert exceeds_8_bits(image, _patched(content, b"av1C", 6, 0x40))  # the rest of the file belies it for Pillow


def test_8_bits_are_read_in_every_format(tmp_path):
    write(tmp_path / "0.ppm", _ppm(6, 255))
    write(tmp_path / "1.jp2", encoded(flat_colour(9, 16, 16), "JPEG2000"))
    write(tmp_path / "2.avif", encoded(flat_colour(9, 16, 16), "AVIF"))
    write(tmp_path / "3.ppm", _ppm(6, 15))  # to 8 bits without loss
    dataset = open_dataset("folder", tmp_path)
    assert [dataset.values(index).shape[0] for index in range(4)] == [3] * 4


def _patched(content, mark, offset, bits):
    """The file with the bits set in one byte behind `mark`."""
    changed, place = bytearray(content), content.index(mark) + offset
    changed[place] |= bits
    return bytes(changed)


def test_files_of_classes_have_a_largest_number_of_values(tmp_path):
    (tmp_path / "map.yaml").write_text("".join(f"{number}: 1\n" for number in range(60_000)))
    with pytest.raises(RaysmoothError, match=r"cannot be read: more than 100,000 values$"):
        read_label_map(str(tmp_path / "map.yaml"))


def test_the_largest_label_is_one_that_the_largest_classifier_has(tmp_path):
    (tmp_path / "map.yaml").write_text(f"cat: {MOST_CLASSES - 1}")
    assert read_label_map(str(tmp_path / "map.yaml")) == {"cat": 999_999}
    (tmp_path / "map.yaml").write_text(f"cat: {MOST_CLASSES}")
    with pytest.raises(RaysmoothError, match="cat: 1000000: write a label, a whole number from 0 to 999,999"):
        read_label_map(str(tmp_path / "map.yaml"))


# The summary


def test_the_summary_counts_what_was_skipped(tmp_path):
    root = folders(tmp_path, "cat", "dog")
    for name in ("__MACOSX/cat/._0.png", "cat/._0.png", "cat/notes.txt", "cat/Thumbs.db", "beside.png", "dog/README"):
        write(root / name, b"")
    (root / "dog/again").symlink_to(root / "dog")
    dataset = open_dataset("folder", root)
    summary = summarised(dataset, "all 2", (4, 4))
    assert summary["skipped"] == {
        "hidden, or left behind by a system": 2,
        "files .txt": 1,
        "files .db": 1,
        "files without an ending": 1,
        "images beside the class folders": 1,
        "links to a folder around them": 1,
    }
    assert summary["class_names"] == {"0": "cat", "1": "dog"}
    assert (summary["images"], summary["classes"], summary["channels"], summary["size"]) == (2, 2, 3, [4, 4])
    assert json.loads(json.dumps(summary)) == summary
    line = described({**summary, "preprocess": "none", "preprocess_from": "assumed"})
    assert line.startswith(
        "data: folder, split all: 2 images, 2 classes (cat, dog) from class folders, names sorted as text, 3 x 4 x 4, "
        "8 bits a channel; EXIF orientation not applied, as in torchvision; skipped: "
    )
    assert line.endswith("; normalisation none (assumed)")


@pytest.mark.parametrize("target", ["/", "..", ".", "{root}", "{root}/../..", "around"])
def test_links_to_a_folder_around_them_are_skipped_and_counted(tmp_path, target):
    root = folders(tmp_path / "data", "cat", "dog")
    (tmp_path / "around").symlink_to(tmp_path)
    where = tmp_path / "around" if target == "around" else target.format(root=root)
    (root / "dog/again").symlink_to(where)
    (root / "dog/below").mkdir()
    (root / "dog/below/again").symlink_to(tmp_path)
    (root / "all").symlink_to(where)  # which would be a class
    dataset = open_dataset("folder", root)
    assert [dataset.place(index) for index in range(len(dataset))] == ["cat/0.png", "dog/0.png"]
    assert dataset.facts.skipped == {"links to a folder around them": 3}


def test_links_that_lead_to_one_another_end(tmp_path):
    root = folders(tmp_path / "data", "cat", "dog")
    write(tmp_path / "more/1.png", encoded(flat_colour(1)))
    (root / "cat/more").symlink_to(tmp_path / "more")
    (tmp_path / "more/back").symlink_to(root)  # neither around it nor in it, but where the walk came from
    (root / "dog/cat").symlink_to(root / "cat")
    dataset = open_dataset("folder", root)
    places = [dataset.place(index) for index in range(len(dataset))]
    assert places == ["cat/0.png", "cat/more/1.png", "dog/0.png", "dog/cat/0.png", "dog/cat/more/1.png"]
    assert dataset.facts.skipped == {"links to a folder around them": 2}


def test_a_link_to_a_tree_of_very_many_folders_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_dataset, "MOST_LINKED_FOLDERS", 5)
    root = folders(tmp_path / "data", "cat", "dog")
    for number in range(4):
        write(tmp_path / f"videos/{number}/0.png", encoded(flat_colour(number)))
    (root / "dog/videos").symlink_to(tmp_path / "videos")
    assert len(open_dataset("folder", root)) == 6
    write(tmp_path / "videos/one/more/0.png", encoded(flat_colour(4)))
    expected = (
        rf"^folder: dog/videos in {root} is a link to {tmp_path}/videos, with more than 5 folders: remove the link"
    )
    with pytest.raises(RaysmoothError, match=expected):
        open_dataset("folder", root)


def test_the_summary_of_images_without_labels_and_of_long_names(tmp_path):
    for name in ("0.png", "1.txt"):
        write(tmp_path / "flat" / name, encoded(flat_colour(0)))
    summary = summarised(open_dataset("folder", tmp_path / "flat"), "every 2nd of 3 (2 images)", (4, 4))
    assert "1 image (every 2nd of 3 (2 images)), no labels, 3 x 4 x 4" in described(summary)
    assert (summary["unlabelled"], summary["classes"]) == (1, None)
    long = folders(tmp_path / "long", *(letter * 200 for letter in "abcdefgh"))
    (long / "a\x1b[31m\n").mkdir()
    write(long / "a\x1b[31m\n/0.png", encoded(flat_colour(0)))
    line = described(summarised(open_dataset("folder", long), "all 9", (4, 4)))
    assert len(line) < 300
    assert line.isprintable()


def test_numbers_of_classes_that_do_not_fit_are_said(tmp_path):
    dataset = open_dataset("folder", folders(tmp_path / "data", "a", "b", "c"))
    assert class_count_note(dataset, 3) is None
    assert "labels from 2 on are errors" in class_count_note(dataset, 2)
    assert "the data has 3 classes, the classifier 4: if labels 0 to 2 do not mean the same" in class_count_note(
        dataset, 4
    )
    mapped = open_dataset("folder", tmp_path / "data", label_map={"a": 7, "b": 2, "c": 0})
    assert class_count_note(mapped, 1000) is None
    assert "errors" in class_count_note(mapped, 5)
    numbered = open_dataset("parquet", write_parquet(tmp_path / "t.parquet", [b""] * 2, [0, 5]), "test")
    assert class_count_note(numbered, 10) is None
    assert class_count_note(numbered, 1000) is not None


def test_the_first_of_class_folders_are_of_few_classes_which_is_said(tmp_path):
    root = folders(tmp_path / "data", *"abcdef")
    for letter in "abcdef":
        for number in range(1, 4):
            write(root / letter / f"{number}.png", encoded(flat_colour(0)))
    dataset = open_dataset("folder", root)
    assert len(dataset) == 24
    note = subset_note(dataset, range(6))
    assert note == (
        "the 6 images taken are of 2 of the data's 6 classes, as the data are in their order: write --skip 4 to take "
        "images of all"
    )
    assert subset_note(dataset, range(0, 24, 4)) is None
    assert subset_note(dataset, range(24)) is None
    assert "the 2 images taken are of 1 of" in str(subset_note(dataset, range(2)))
    assert subset_note(dataset, range(1)) is None
