"""The denoising figure: its pictures are what the networks make of the noise, each in its place and under its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from base_classifiers import Linear
from command import command
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from noise_by_hand import normals

import raysmooth
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.common.variant import Variant
from raysmooth.pipeline.pictures import gallery as gallery_module
from raysmooth.pipeline.pictures.gallery import psnr
from raysmooth.pipeline.pictures.gallery_figure import Exhibit, Picture, plot_gallery
from raysmooth.pipeline.pictures.gallery_settings import GallerySettings

DENOISER = "dncnn:channels=1,depth=3,width=4"
DIGITS = {"dataset": "digits", "images": "4,2", "sigma": "0.25,0.5", "seed": "3"}


def save_denoiser(path: Path, seed: int, **card: Any) -> torch.nn.Module:
    """Untrained weights that do something: a new DnCNN returns its input."""
    torch.manual_seed(seed)
    network = build_denoiser(Variant.parse(DENOISER))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    save_weights(path, network, {"architecture": DENOISER, "noise": "gaussian", **card})
    return network.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of two MSE denoisers, one a sigma, and of two others trained for two classifiers at sigma 0.5."""
    folder = tmp_path_factory.mktemp("gallery")
    save_denoiser(folder / "mse-0.25.safetensors", 1, objective="mse", sigma=0.25)
    save_denoiser(folder / "mse-0.5.safetensors", 2, objective="mse", sigma=0.5)
    for seed, name in ((3, "digits_cnn"), (4, "lenet")):
        parents = {"classifier": {"architecture": name}}
        save_denoiser(folder / f"on-{name}.safetensors", seed, objective="stab+mse", sigma=0.5, parents=parents)
    return folder


def weights(folder: Path, *names: str) -> str:
    return ",".join(str(folder / f"{name}.safetensors") for name in names)


def drawn(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[list[Exhibit], str]:
    """What is handed to the figure."""
    handed: list[Any] = []

    def keep(exhibits: Any, note: str) -> Figure:
        handed.extend((exhibits, note))
        return Figure()

    monkeypatch.setattr(gallery_module, "plot_gallery", keep)
    gallery_module.gallery(user_settings(GallerySettings, {**DIGITS, "out": str(folder / "kept.png"), **settings}))
    return handed[0], handed[1]


def test_every_denoiser_sees_the_noise_that_certify_draws_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits

    files = weights(folder, "mse-{sigma}", "on-lenet")
    exhibits, _ = drawn(folder, monkeypatch, denoiser_weights=files, classifier="base_classifiers:Linear")
    networks = {
        (0.25, "MSE"): save_denoiser(folder / "x.safetensors", 1),
        (0.5, "MSE"): save_denoiser(folder / "x.safetensors", 2),
        (0.25, "STAB+MSE"): save_denoiser(folder / "x.safetensors", 4),
        (0.5, "STAB+MSE"): save_denoiser(folder / "x.safetensors", 4),
    }
    assert [exhibit.image_id for exhibit in exhibits] == [4, 2]
    linear = Linear()
    for exhibit in exhibits:
        clean = load_digits().images[-400:][exhibit.image_id] / 16
        assert exhibit.label == load_digits().target[-400:][exhibit.image_id]
        assert exhibit.denoised.keys() == networks.keys()
        noise = normals(3, 1, exhibit.image_id, 0, 64).reshape(8, 8)
        for sigma, noisy in exhibit.noisy.items():
            np.testing.assert_allclose(noisy.pixels[0], clean + sigma * noise, atol=1e-5)
            error = np.mean((sigma * noise) ** 2)
            assert noisy.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)
        for (sigma, name), picture in exhibit.denoised.items():
            with torch.no_grad():
                expected = networks[sigma, name](torch.from_numpy(exhibit.noisy[sigma].pixels)[None])
            np.testing.assert_allclose(picture.pixels, expected[0].numpy(), atol=1e-5)
        for picture in (exhibit.clean, *exhibit.noisy.values(), *exhibit.denoised.values()):
            assert picture.answer == linear(torch.from_numpy(picture.pixels)[None]).argmax()


def test_psnr_by_hand() -> None:
    clean = np.array([[[0.0, 1.0], [0.5, 0.25]]], np.float32)
    assert psnr(clean + 0.1, clean) == pytest.approx(20, abs=1e-5)
    assert psnr(clean + np.float32([[2, 0], [0, 0]]), clean) == 0  # a mean squared error of 1, unclipped
    assert psnr(clean, clean) == float("inf")
    assert psnr(clean * np.float32("inf"), clean) == float("-inf")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mse-0.5"], ["MSE"]),
        (["mse-{sigma}", "on-lenet"], ["MSE", "STAB+MSE"]),
        (["mse-0.5", "on-lenet", "on-digits_cnn"], ["MSE", "STAB+MSE on lenet", "STAB+MSE on digits_cnn"]),
        (["mse-0.25", "mse-0.5"], ["MSE (mse-0.25)", "MSE (mse-0.5)"]),
    ],
)
def test_denoisers_have_the_shortest_names_that_tell_them_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], expected: list[str]
) -> None:
    exhibits, _ = drawn(folder, monkeypatch, denoiser_weights=weights(folder, *names), sigma=0.5, images=[1])
    assert [name for _, name in exhibits[0].denoised] == expected


def test_a_denoiser_trained_for_other_noise_is_marked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = weights(folder, "mse-{sigma}", "on-lenet")
    _, note = drawn(folder, monkeypatch, denoiser_weights=files, labels="A,B")
    assert "B was trained for sigma 0.5" in note
    assert "A was trained" not in note
    assert "digits, test split" in note


def test_images_are_chosen_as_for_certify_where_none_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exhibits, _ = drawn(
        folder, monkeypatch, denoiser_weights=weights(folder, "mse-0.5"), images=None, skip=20, max=3, sigma=[0.5]
    )
    assert [exhibit.image_id for exhibit in exhibits] == [0, 20, 40]


def exhibit(image_id: int, sigmas: list[float], names: list[str], side: int = 8, label: int | None = 7) -> Exhibit:
    """Every picture is one grey, its psnr and answer its own."""

    def picture(place: int) -> Picture:
        return Picture(np.full((1, side, side), place / 100, np.float32), place + 0.99, place % 10)

    noisy = {sigma: picture(10 * i) for i, sigma in enumerate(sigmas)}
    denoised = {(s, name): picture(10 * i + j + 1) for i, s in enumerate(sigmas) for j, name in enumerate(names)}
    return Exhibit(image_id, label, Picture(np.full((1, side, side), 0.5, np.float32), None, 7), noisy, denoised)


def pictures(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def places(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    """Left and lower edges of the pictures, in inches, none of which may overlap another or leave the figure."""
    boxes = [axes.get_position() for axes in pictures(figure)]
    for i, one in enumerate(boxes):
        assert min(one.x0, one.y0) > 0
        assert max(one.x1, one.y1) < 1
        for other in boxes[:i]:
            assert one.x1 < other.x0 or other.x1 < one.x0 or one.y1 < other.y0 or other.y1 < one.y0
    width, height = figure.get_size_inches()
    return np.array([box.x0 * width for box in boxes]), np.array([box.y0 * height for box in boxes])


def test_several_images_are_rows_and_sigmas_are_groups_of_columns() -> None:
    names = ["MSE", "STAB", "STAB+MSE on ResNet-18", "CLF+MSE"]
    figure = plot_gallery([exhibit(i, [0.25, 0.5], names) for i in range(5)], "note")
    lefts, bottoms = places(figure)
    assert len(lefts) == 5 * 11
    assert len(set(lefts.round(6))) == 11
    assert len(set(bottoms.round(6))) == 5
    assert figure.get_size_inches()[0] < 13  # a panel an inch wide: nothing shrinks
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert [text for text in texts if text.startswith("sigma")] == ["sigma 0.25", "sigma 0.5"]
    assert texts.count("noisy") == texts.count("MSE") == texts.count("STAB+MSE on\nResNet-18") == 2
    assert "image 3, label 7" in texts
    assert texts[-1] == "note" or "note" in texts
    first = pictures(figure)[:11]
    assert [axes.images[0].get_array()[0, 0] for axes in first] == pytest.approx(
        [0.5, 0, 0.01, 0.02, 0.03, 0.04, 0.1, 0.11, 0.12, 0.13, 0.14], abs=1e-6
    )
    under = [axes.get_xlabel() for axes in first]
    assert under[0] == "7 ✓"
    assert under[1] == "0.9 dB, 0 ✗"  # 0.99, rounded down
    assert under[6] == "10.9 dB, 0 ✗"


def test_one_image_is_arranged_as_in_the_paper() -> None:
    figure = plot_gallery([exhibit(20, [0.12, 0.25, 0.5, 1.0], ["MSE", "STAB+MSE"], label=None)])
    lefts, bottoms = places(figure)
    assert len(lefts) == 1 + 3 * 4
    assert len(set(lefts.round(6))) == 5
    assert len(set(bottoms.round(6))) == 3
    heads = [axes.get_ylabel() for axes in pictures(figure) if axes.get_ylabel()]
    assert heads == ["noisy", "MSE", "STAB+MSE"]
    assert [text.get_text() for text in figure.texts][:5] == [
        "image 20",
        *(f"sigma {s:g}" for s in (0.12, 0.25, 0.5, 1)),
    ]
    row = [
        axes.images[0].get_array()[0, 0] for axes, y in zip(pictures(figure), bottoms, strict=True) if y == max(bottoms)
    ]
    assert row == pytest.approx([0.5, 0, 0.1, 0.2, 0.3], abs=1e-6)


def test_every_pixel_of_small_images_is_seen_and_large_images_get_more_room() -> None:
    small, large = (plot_gallery([exhibit(i, [0.5], ["MSE"], side) for i in range(2)]) for side in (32, 224))
    assert all(axes.images[0].get_interpolation() == "nearest" for axes in pictures(small))
    assert not any(axes.images[0].get_interpolation() == "nearest" for axes in pictures(large))
    assert large.get_size_inches()[0] > 1.4 * small.get_size_inches()[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images": "400"}, "--images 400: the data set has 400 images, write 0 to 399"),
        ({"images": "1", "skip": "2"}, "--images and --skip both choose the images: leave one out"),
        ({"images": "a"}, "--images a: "),
        ({"images": ","}, "--images "),
        ({"sigma": "0.25,0"}, "sigma must be a positive number, not 0"),
        ({"sigma": "0.25,0.25"}, "--sigma names a level twice: 0.25, 0.25"),
        ({"sigma": None}, "--sigma is missing"),
        ({"denoiser-weights": "nowhere-{sigma}.pt"}, "weights file nowhere-0.25.pt does not exist"),
        ({"denoiser-weights": "mse-0.5,mse-0.5"}, "--denoiser-weights names a file twice"),
        ({"denoiser-weights": "bare"}, "does not name its denoiser: write --denoiser dncnn"),
        ({"denoiser": "dncnn;memnet"}, "--denoiser names 2 denoisers for 1 weights: name one, or 1"),
        ({"denoiser": "none"}, "--denoiser none: noisy images are always shown"),
        ({"denoiser": "memnet"}, "do not fit MemNet"),
        ({"labels": "A,B"}, "--labels A,B: write 1 different ones"),
        ({"classifier-weights": "x.pt"}, "--classifier-weights without --classifier"),
        ({"classifier": "lenet"}, "classifier 'lenet' has no weights"),
        ({"out": "gallery.jpg"}, "--out gallery.jpg: write a name that ends in .png or .pdf"),
        ({"dataset": "mnist"}, "mnist needs --data-root"),
    ],
)
def test_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None], expected: str
) -> None:
    save_weights(folder / "bare.safetensors", build_denoiser(Variant.parse(DENOISER)), {})
    flags = {**DIGITS, "denoiser-weights": "mse-0.5", "out": str(folder / "refused.png"), **changes}
    files = str(flags["denoiser-weights"]).split(",")
    flags["denoiser-weights"] = ",".join(n if n.startswith("nowhere") else weights(folder, n) for n in files)
    given = [part for flag, value in flags.items() if value is not None for part in (f"--{flag}", value)]
    code, out, err = command(capsys, "gallery", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err
    assert not (folder / "refused.png").exists()


def test_colour_images_and_networks_that_do_not_fit_them(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (12, 10, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos/a.png")
    colour = {
        "dataset": "folder",
        "data_root": str(tmp_path / "photos"),
        "sigma": 0.5,
        "out": str(tmp_path / "out/g.pdf"),
    }
    with pytest.raises(RaysmoothError, match=r"mse-0.5.safetensors rejects images of shape \(3, 12, 10\): "):
        raysmooth.gallery(**colour, denoiser_weights=weights(folder, "mse-0.5"))
    save_weights(tmp_path / "rgb.safetensors", build_denoiser(Variant.parse("dncnn:depth=3,width=4")), {})
    given = {"denoiser_weights": str(tmp_path / "rgb.safetensors"), "denoiser": "dncnn:depth=3,width=4"}
    assert raysmooth.gallery(**colour, **given) == tmp_path / "out/g.pdf"
    assert (tmp_path / "out/g.pdf").read_bytes().startswith(b"%PDF")
    assert b"/Type3" not in (tmp_path / "out/g.pdf").read_bytes()


def test_the_command_writes_the_figure(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = {**DIGITS, "denoiser-weights": weights(folder, "mse-{sigma}", "on-lenet"), "out": str(tmp_path / "g.png")}
    code, _, err = command(capsys, "gallery", *(part for flag, value in flags.items() for part in (f"--{flag}", value)))
    assert code == 0, err
    assert err.splitlines() == [
        "raysmooth: data: digits, split test: 400 images (2 of them), 10 classes (0, 1, 2, 3, 4, 5, ...) from the data "
        "set, 1 x 8 x 8, 17 levels of grey",
        f"written: {tmp_path / 'g.png'}",
    ]
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
