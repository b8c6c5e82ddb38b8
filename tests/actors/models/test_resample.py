"""The resize layer, against Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from raysmooth.actors.models.networks.input_size import INTERPOLATIONS, InputSize, resize_layer, settled_input_size
from raysmooth.actors.models.networks.resample import Resample, resize_matrix
from raysmooth.common.errors import RaysmoothError

SIZES = [((32, 32), (224, 224)), ((75, 53), (24, 31)), ((7, 9), (13, 4)), ((5, 5), (1, 1)), ((28, 28), (29, 28))]


@pytest.mark.parametrize("name", INTERPOLATIONS)
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_it_is_what_pillow_computes(name: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *before, generator=torch.Generator().manual_seed(0))
    resized = Resample(InputSize(name, *after))(pixels)
    assert resized.shape == (2, 3, *after)
    for ours, theirs in zip(resized.flatten(0, 1), pixels.flatten(0, 1), strict=True):
        image = Image.fromarray(theirs.numpy(), mode="F")
        expected = np.asarray(image.resize(after[::-1], Image.Resampling(INTERPOLATIONS[name].pillow)))
        np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5, rtol=0)


def test_pixels_of_the_right_size_are_left_as_they_are() -> None:
    pixels = torch.rand(1, 3, 8, 8)
    assert Resample(InputSize("bicubic", 8, 8))(pixels) is pixels


def test_a_shorter_edge_and_a_crop_in_the_middle() -> None:
    layer = Resample(InputSize("box", 4, None, (2, 3)))  # 8 x 12 -> 4 x 6, the rows 1, 2 and the columns 1, 2, 3
    pixels = torch.arange(96.0).view(1, 1, 8, 12)
    means = pixels.view(4, 2, 6, 2).mean(dim=(1, 3))
    torch.testing.assert_close(layer(pixels)[0, 0], means[1:3, 1:4])


def test_a_layer_serves_images_of_several_shapes_and_gradients_after_inference() -> None:
    layer = Resample(InputSize("bilinear", 4, 4))
    with torch.inference_mode():
        layer(torch.rand(1, 1, 9, 9))
    pixels = torch.rand(1, 1, 9, 9, requires_grad=True)
    layer(pixels).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.sum().item() == pytest.approx(16, rel=1e-5)
    assert layer(torch.rand(1, 1, 5, 7)).shape == (1, 1, 4, 4)


def test_it_is_computed_in_float32_under_autocast() -> None:
    layer, pixels = Resample(InputSize("bicubic", 6, 6)), torch.rand(1, 1, 9, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(pixels)
    torch.testing.assert_close(found, layer(pixels), atol=0, rtol=0)


def test_rows_have_the_sum_one() -> None:
    for name in INTERPOLATIONS:
        np.testing.assert_allclose(resize_matrix(50, 13, name).sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("text", ["none", "bicubic:224x224", "bilinear:256,crop=224x224", "box:10x20,crop=8x8"])
def test_text_is_read_back(text: str) -> None:
    size = InputSize.parse(text)
    assert text == ("none" if size is None else str(size))


@pytest.mark.parametrize(
    "text", ["", "224", "cubic:224x224", "bicubic:0x4", "bicubic:99999x4", "bicubic:224x224,crop=4"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(RaysmoothError):
        InputSize.parse(text)


def test_what_the_user_and_the_files_say() -> None:
    own = "bilinear:256,crop=224x224"
    assert settled_input_size(None, None, None) == "none"
    assert settled_input_size(None, None, own) == own
    assert settled_input_size(96, None, None) == "bicubic:96x96"
    assert settled_input_size(96, None, own) == "bilinear:96x96"
    assert settled_input_size(None, "box", own) == "box:256,crop=224x224"
    with pytest.raises(RaysmoothError, match="--interpolation box without a resizing: write --input-size 224"):
        settled_input_size(None, "box", None)


def test_a_crop_that_is_too_large_is_refused() -> None:
    layer = resize_layer("bicubic:8,crop=10x10")
    assert layer is not None
    with pytest.raises(RaysmoothError, match="images of 4x4 are resized to 8x8, less than the crop of 10x10"):
        layer(torch.rand(1, 1, 4, 4))
