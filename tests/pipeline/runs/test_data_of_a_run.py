"""What a run says of its data, on stderr and in its manifest, and that `show` reads the data as the run did."""

import json
from pathlib import Path
from typing import Any

import pytest
from image_files import encoded, flat_colour, write, write_parquet
from small_runs import certified

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.pictures.show import ShowSettings, show
from raysmooth.pipeline.runs.data_settings import DataSettings
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.pipeline.runs.stored_run import StoredRun
from raysmooth.pipeline.store.manifest import CERTIFICATES
from raysmooth.pipeline.store.parts import read_rows

RUN = {"classifier": "grey_level:GreyLevel", "sigma": 0.05, "n0": 20, "n": 60, "alpha": 0.05}


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Class folders 0 to 11, whose pictures have the grey levels that the classifier gives these numbers."""
    for number in range(12):
        write(tmp_path / f"data/{number}/0.png", encoded(flat_colour(20 * number, 8, 8)))
    return tmp_path


def right(out: Path, run_id: str) -> float:
    return float(read_rows(str(out), CERTIFICATES, run_id)["correct"].mean())


def manifest(out: Path, run_id: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "runs" / run_id / "manifest.json").read_text())
    return content


def test_the_order_of_classes_is_said_recorded_and_chosen(numbered: Path) -> None:
    out, data = numbered / "out", {"dataset": "folder", "data_root": str(numbered / "data"), **RUN}
    names = write(numbered / "names.txt", "\n".join(map(str, range(12))).encode())
    as_text = certified(out, **data)
    by_value = certified(out, **data, class_order="number")
    assert certified(out, **data, classes=str(names)) == by_value  # the same labels, so the same run
    assert certified(out, **data, class_order="name") == as_text
    assert (right(out, as_text), right(out, by_value)) == (2 / 12, 1.0)
    said, chosen = manifest(out, as_text), manifest(out, by_value)
    assert "'10' has label 2, not '2'" in said["warnings"][0]
    assert (chosen["warnings"], chosen["reading"]) == ([], {"class_order": "number"})
    assert said["data"]["class_names"]["2"] == "10"
    assert chosen["data"]["class_names"]["2"] == "2"
    assert (chosen["data"]["preprocess"], chosen["data"]["preprocess_from"]) == ("none", "the classifier's own")
    assert chosen["data"]["exif"] == "EXIF orientation not applied, as in torchvision"
    names.unlink()  # its content is in the manifest
    for run_id in (as_text, by_value):
        assert len(StoredRun.read(str(out), run_id).open_dataset()) == 12


def test_show_names_the_classes(numbered: Path) -> None:
    write(numbered / "map.yaml", "".join(f"{number}: {number}\n" for number in range(12)).encode())
    (numbered / "data/3").rename(numbered / "data/three")
    settings = {"dataset": "folder", "data_root": str(numbered / "data"), **RUN}
    label_map = write(numbered / "map.yaml", b"three: 3\n" + (numbered / "map.yaml").read_bytes())
    run_id = certified(numbered / "out", **settings, label_map=str(label_map))
    assert right(numbered / "out", run_id) == 1
    image_id = next(
        i for i, row in read_rows(str(numbered / "out"), CERTIFICATES, run_id).iterrows() if row["label"] == 3
    )
    shown = ShowSettings(results=str(numbered / "out"), image_id=image_id, classifier=RUN["classifier"])
    (line,) = show(shown).lines
    assert "predicts 3 (three) everywhere" in line


def test_more_classes_than_the_classifiers(numbered: Path) -> None:
    settings = {"dataset": "folder", "data_root": str(numbered / "data"), **RUN, "class_order": "number"}
    settings["classifier"] = "grey_level:GreyLevel:classes=10"
    run_id = certified(numbered / "out", **settings)
    rows = read_rows(str(numbered / "out"), CERTIFICATES, run_id)
    failed = rows[rows["status"] == "error"]
    assert list(failed["error"]) == [f"label {number} is outside the classifier's classes 0..9" for number in (10, 11)]
    assert list(failed["file"]) == ["10/0.png", "11/0.png"]
    (warning,) = manifest(numbered / "out", run_id)["warnings"]
    assert warning.startswith("the data has 12 classes, the classifier 10: images with labels from 10 on are errors")


def test_an_image_of_another_shape_is_named(numbered: Path) -> None:
    write(numbered / "data/5/0.png", encoded(flat_colour(100, 8, 9)))
    run_id = certified(numbered / "out", dataset="folder", data_root=str(numbered / "data"), **RUN)
    rows = read_rows(str(numbered / "out"), CERTIFICATES, run_id)
    ((file, error),) = rows.loc[rows["status"] == "error", ["file", "error"]].to_numpy()
    assert file == "5/0.png"
    assert error.startswith("image of shape (3, 8, 9), unlike the first's (3, 8, 8)")


def test_grey_images_among_coloured_ones_are_certified(tmp_path: Path) -> None:
    pictures = [flat_colour(20 * number, 8, 8) for number in range(4)]
    contents = [encoded(picture[..., 0] if number % 2 == 0 else picture) for number, picture in enumerate(pictures)]
    root = write_parquet(tmp_path / "test.parquet", contents, [0, 1, 2, 3])
    run_id = certified(tmp_path / "out", dataset="parquet", data_root=str(root), **RUN)
    assert right(tmp_path / "out", run_id) == 1
    assert manifest(tmp_path / "out", run_id)["image_shape"] == [3, 8, 8]


def test_decisions_left_to_the_data_set_leave_the_run_as_it_was(tmp_path: Path) -> None:
    """The fingerprint of a data set about which nothing is decided, worked out from its definition."""
    import hashlib

    contents = [encoded(flat_colour(20 * number, 8, 8)) for number in range(2)]
    root = write_parquet(tmp_path / "test.parquet", contents, [1, 0])
    (run,) = prepare(
        PROCEDURES["certify"], user_settings(CertifySettings, {"dataset": "parquet", "data_root": str(root), **RUN})
    )
    digest = hashlib.sha256(b"resize=None;crop=None;")
    for number, content in enumerate(contents):
        image = f"image;{1 - number};".encode() + content
        digest.update(f"{number};{len(image)};".encode() + image)
    assert run.data_fingerprint == digest.hexdigest()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channels": 2}, r"^--channels 2: write 1 \(grey\) or 3 \(RGB\)$"),
        ({"class_order": "size"}, "--class-order size: input should be 'name' or 'number'"),
        ({"class_order": "name", "classes": "x"}, "leave one out"),
        ({"classes": "nowhere.txt"}, r"--classes nowhere\.txt: there is no such file"),
        ({"label_map": "nowhere.yaml"}, r"--label-map nowhere\.yaml: there is no such file"),
    ],
)
def test_decisions_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RaysmoothError, match=message):
        user_settings(DataSettings, {"dataset": "digits", **given}).open_dataset()


@pytest.mark.parametrize(
    "reading",
    [
        {"channels": 7},
        {"channels": "x"},
        {"classes": {"0": -1}},
        {"label_map": {"0": 1.5}},
        {"class_order": 3},
        {"label_column": []},
        {"unknown": 1},
        [],
    ],
)
def test_a_manifest_with_other_decisions_is_refused(numbered: Path, reading: dict[str, Any]) -> None:
    out = numbered / "out"
    run_id = certified(out, dataset="folder", data_root=str(numbered / "data"), **RUN)
    content = manifest(out, run_id) | {"reading": reading}
    (out / "runs" / run_id / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(RaysmoothError, match=r"manifest\.json: "):
        StoredRun.read(str(out), run_id).open_dataset()
