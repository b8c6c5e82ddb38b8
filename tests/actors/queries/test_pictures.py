"""From pixels to pictures: worked out by hand, and read back by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from raysmooth.actors.queries.pictures import check_channels, picture, read_encoding, read_upscale
from raysmooth.common.errors import RaysmoothError

PNG, NONE = read_encoding("png"), read_upscale("none")


def pixels(*values: float) -> np.ndarray:
    """A grey image of one row."""
    return np.array(values, np.float32).reshape(1, 1, -1)


def decoded(file: bytes | None) -> np.ndarray:
    assert file is not None
    return np.asarray(Image.open(io.BytesIO(file)))


def test_pixels_are_clipped_and_rounded_halves_to_even() -> None:
    made = picture(pixels(-0.3, 0.0, 0.1, 0.5, 0.3, 1.0, 7.0, np.inf, -np.inf), PNG, NONE)
    # 255 times: 25.5 -> 26, 127.5 -> 128, 76.5 -> 76
    assert made.pixels.dtype == np.uint8
    assert made.pixels[0, :, 0].tolist() == [0, 0, 26, 128, 76, 255, 255, 255, 0]
    assert np.array_equal(decoded(made.encoded), made.pixels[:, :, 0])
    assert made.media_type == "image/png"


@pytest.mark.parametrize("text", ["png", "png:level=0", "png:level=9"])
def test_a_png_has_every_pixel(text: str) -> None:
    image = np.random.default_rng(0).uniform(-0.2, 1.2, (3, 5, 4)).astype(np.float32)
    made = picture(image, read_encoding(text), NONE)
    expected = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8).transpose(1, 2, 0)
    assert np.array_equal(made.pixels, expected)
    assert np.array_equal(decoded(made.encoded), expected)


def test_nearest_makes_squares() -> None:
    made = picture(pixels(0.0, 1.0), PNG, read_upscale("nearest:factor=2"))
    assert made.pixels[:, :, 0].tolist() == [[0, 0, 255, 255], [0, 0, 255, 255]]
    assert decoded(made.encoded).shape == (2, 4)


def test_numbers_are_not_quantized() -> None:
    made = picture(pixels(0.1234567, 1.5), PNG, read_upscale("nearest:factor=2"), takes_numbers=True)
    assert made.encoded is None
    assert made.pixels.dtype == np.float32
    assert made.pixels.tolist() == [[[np.float32(0.1234567), np.float32(0.1234567), 1.0, 1.0]] * 2]


def test_a_jpeg_is_near_its_pixels() -> None:
    image = np.full((3, 16, 16), 0.5, np.float32)
    made = picture(image, read_encoding("jpeg"), NONE)
    assert made.media_type == "image/jpeg"
    assert np.abs(decoded(made.encoded).astype(int) - made.pixels).max() <= 1


def test_pixels_that_are_not_numbers_make_no_picture() -> None:
    with pytest.raises(ValueError, match="not numbers"):
        picture(pixels(0.0, np.nan), PNG, NONE)


def test_canonical_texts_and_identities() -> None:
    assert str(read_encoding(" png:level=3 ")) == "png:level=3"
    assert read_encoding("png:level=3").identity == read_encoding("png").identity == "png"
    jpeg = read_encoding("jpeg:subsampling=2,quality=80")
    assert str(jpeg) == "jpeg:quality=80,subsampling=2"
    assert jpeg.identity.startswith("jpeg:quality=80,subsampling=2; Pillow ")
    assert read_encoding("jpeg").identity.startswith("jpeg:quality=95,subsampling=0; Pillow ")
    assert (read_upscale("none").factor, read_upscale("nearest:factor=4").factor) == (1, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gif", "did you mean|known: jpeg, png"),
        ("png:level=10", "at most 9"),
        ("jpeg:q=3", "quality"),
        ("", "not a valid"),
    ],
)
def test_wrong_encodings_are_refused(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError, match=message):
        read_encoding(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nearest", "factor is missing"),
        ("nearest:factor=1", "2 or more"),
        ("bicubic", "known"),
        ("4", "--upscale 4: write nearest:factor=4"),
        ("none:factor=2", "none"),
    ],
)
def test_wrong_upscales_are_refused(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError, match=message):
        read_upscale(text)


def test_image_files_have_one_or_three_channels() -> None:
    for channels, takes_numbers in ((1, False), (3, False), (4, True)):
        check_channels(channels, takes_numbers)
    with pytest.raises(RaysmoothError, match="the images have 4"):
        check_channels(4, takes_numbers=False)
