"""An image is found by its number or its file, and never guessed."""

import pandas as pd
import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.pictures.image_choice import image_id_of

ROWS = pd.DataFrame(
    {
        "run_id": ["a", "a", "a", "b", "b"],
        "image_id": [0, 1, 2, 0, 7],
        "file": ["cat/7.png", "dog/7.png", "dog/wolf/8.png", "cat/7.png", None],
    }
)


@pytest.mark.parametrize(
    ("image", "number"),
    [
        (7, 7),
        ("7", 7),
        ("cat/7.png", 0),
        ("./cat/7.png", 0),
        ("/home/me/photos/cat/7.png", 0),
        ("8.png", 2),
        ("wolf/8.png", 2),
        ("photos/dog/wolf/8.png", 2),
    ],
)
def test_images_are_found(image: int | str, number: int) -> None:
    assert image_id_of(ROWS, image) == number


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("7.png", "7.png may be image 0 (cat/7.png) or image 1 (dog/7.png): write the number, or more of the path"),
        ("cat/8.png", "no image of these runs has the file cat/8.png: there are cat/7.png"),
        ("at/7.png", "no image of these runs has the file at/7.png"),
        ("a\nb", "the file a\\nb"),
    ],
)
def test_what_is_not_one_image_is_refused(image: str, words: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        image_id_of(ROWS, image)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_other_numbers_in_other_runs_is_refused() -> None:
    with pytest.raises(RaysmoothError, match=r"may be image 0 \(cat/7.png\) or image 7 \(cat/7.png\)"):
        image_id_of(ROWS.fillna({"file": "cat/7.png"}), "cat/7.png")


def test_rows_without_files() -> None:
    for rows in (ROWS.drop(columns="file"), ROWS.assign(file=None)):
        assert image_id_of(rows, "3") == 3
        with pytest.raises(RaysmoothError, match=r"know no names of files .* write the image's number"):
            image_id_of(rows, "cat/7.png")
