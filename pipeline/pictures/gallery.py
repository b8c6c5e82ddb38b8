"""`raysmooth gallery`: the denoising figure of chosen images, noise levels and denoisers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log10
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.denoisers import DENOISERS
from raysmooth.actors.models.loading import Loaded, check_image, load_base_classifier
from raysmooth.actors.models.network_reading import load_denoiser
from raysmooth.actors.models.weight_paths import members_of, path_at
from raysmooth.actors.models.weights import read_weights
from raysmooth.actors.noise.pixel_scale import scale_notes
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError, counted, one_line, printable
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.summary import described, summarised
from raysmooth.pipeline.pictures.gallery_figure import Exhibit, Picture, plot_gallery
from raysmooth.pipeline.pictures.gallery_settings import GallerySettings
from raysmooth.pipeline.pictures.noise_replay import first_copies
from raysmooth.pipeline.report.displays import FigureFile
from raysmooth.pipeline.report.figures.figure_file import figure_path, save_figure

CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Denoiser:
    """The denoiser of one weights file."""

    network: torch.nn.Module
    file: str
    card: Mapping[str, Any]


def gallery(settings: GallerySettings, note: Callable[[str], object] = lambda line: None) -> FigureFile:
    """Plot the figure and return its file; `note` gets what is to be said of the data, line by line.

    All denoisers see the same noisy copy of an image and, at each sigma, the same noise, scaled: the first draw of
    certify with this seed on a CPU. PSNRs are of unclipped pixels. Raises RaysmoothError for images, weights and
    networks that are missing or do not fit each other.
    """
    file = figure_path(settings.out, "--out")
    dataset = settings.open_dataset()
    image_ids = _image_ids(settings, len(dataset))
    denoisers = [_by_sigma(settings, place) for place in range(len(settings.denoiser_weights))]
    named = dict(zip(settings.labels or _names(settings, denoisers), denoisers, strict=True))
    classifier = None
    if settings.classifier is not None:
        spec = BaseClassifierSpec(
            settings.classifier,
            settings.classifier_weights,
            settings.preprocess,
            trust_code=settings.trust_code,
            input_size=settings.input_size,
            interpolation=settings.interpolation,
        )
        classifier = load_base_classifier(spec, CPU)
    exhibits = [_exhibit(dataset, image_id, settings, named, classifier) for image_id in image_ids]
    summary = summarised(dataset, f"{len(exhibits)} of them", exhibits[0].clean.pixels.shape[1:])
    note(f"raysmooth: {described(summary)}")
    for line in (*summary["notes"], *scale_notes(*settings.sigma)):
        note(f"raysmooth: warning: {line}")
    figure = plot_gallery(exhibits, _note(settings, dataset, named))
    save_figure(figure, file, flag="--out")
    return FigureFile(file.outward, figure)


def psnr(pixels: np.ndarray, clean: np.ndarray) -> float:
    """10 log10(1 / mean squared error), in dB, of pixels in units of [0, 1]; inf where they are equal, -inf
    where they are not finite.
    """
    error = float(np.mean(np.square(pixels.astype(np.float64) - clean)))
    if error == 0:
        return inf
    return -10 * log10(error) if isfinite(error) else -inf


def _image_ids(settings: GallerySettings, length: int) -> Sequence[int]:
    if settings.images is None:
        return IndexSet(length, settings.skip, settings.max).ids
    for image_id in settings.images:
        if not 0 <= image_id < length:
            raise RaysmoothError(
                f"--images {image_id}: the data set has {counted(length, 'image')}, write 0 to {length - 1}"
            )
    return settings.images


def _by_sigma(settings: GallerySettings, place: int) -> dict[float, _Denoiser]:
    """The denoiser at `place` in the list of weights, for each sigma; a file shared by sigmas is loaded once."""
    by_file: dict[str, _Denoiser] = {}
    by_sigma = {}
    for sigma in settings.sigma:
        file = path_at(settings.denoiser_weights[place], sigma)
        if file not in by_file:
            given = settings.denoiser[place % len(settings.denoiser)] if settings.denoiser else _denoiser_of(file)
            read = load_denoiser(given, file)
            by_file[file] = _Denoiser(read.network.eval().requires_grad_(False), file, read.card)
        by_sigma[sigma] = by_file[file]
    return by_sigma


def _denoiser_of(file: str) -> str:
    """The denoiser that a weights file's card names; of an ensemble, that of its first member."""
    card = read_weights(members_of(file)[0]).card
    published = next((name for name, entry in DENOISERS.items() if card.get("arch") in entry.published), None)
    if (denoiser := card.get("architecture") or published) is None:
        raise RaysmoothError(f"weights file {file} does not name its denoiser: write --denoiser dncnn, for example")
    return str(denoiser)


def _names(settings: GallerySettings, denoisers: Sequence[Mapping[float, _Denoiser]]) -> list[str]:
    """Names of the denoisers, as short as distinct: by objective, then protected classifier, then file."""
    paths = settings.denoiser_weights
    cards = [next(iter(by_sigma.values())).card for by_sigma in denoisers]
    short = [
        str(card["objective"]).partition(":")[0].upper() if card.get("objective") else Path(path).stem
        for card, path in zip(cards, paths, strict=True)
    ]
    longer = [f"{name}{_behind(card)}" for name, card in zip(short, cards, strict=True)]
    longest = [f"{name} ({Path(path).stem})" for name, path in zip(short, paths, strict=True)]
    return next((names for names in (short, longer, longest) if len(set(names)) == len(names)), paths)


def _behind(card: Mapping[str, Any]) -> str:
    """' on NETWORK', the classifier that the denoiser was trained for, if its card names it."""
    classifier: Any = card
    for key in ("parents", "classifier", "architecture"):
        classifier = classifier.get(key) if isinstance(classifier, Mapping) else None
    return f" on {printable(str(classifier)).partition(':')[0]}" if classifier else ""


@torch.inference_mode()
def _exhibit(
    dataset: Dataset,
    image_id: int,
    settings: GallerySettings,
    named: Mapping[str, Mapping[float, _Denoiser]],
    classifier: Loaded | None,
) -> Exhibit:
    try:
        example = dataset.read(image_id)
    except UnreadableImage as error:
        raise RaysmoothError(f"{error}: leave it out, and name the other images with --images") from None
    clean, seed = example.image, settings.seed
    if classifier is not None:
        check_image(classifier, torch.from_numpy(clean))

    def prediction(pixels: torch.Tensor) -> int | None:
        return None if classifier is None else int(classifier.model(pixels[None])[0])

    def picture(pixels: torch.Tensor) -> Picture:
        return Picture(pixels.numpy(), psnr(pixels.numpy(), clean), prediction(pixels))

    noisy, denoised = {}, {}
    for sigma in settings.sigma:
        copy = first_copies(clean, Gaussian(sigma), CPU, seed=seed, role=Role.ESTIMATION, image_id=image_id, copies=1)
        noisy[sigma] = picture(copy[0])
        for name, by_sigma in named.items():
            denoised[sigma, name] = picture(_denoised(by_sigma[sigma], copy)[0])
    shown = Picture(clean, None, prediction(torch.from_numpy(clean)))
    return Exhibit(image_id, example.label, shown, noisy, denoised, dataset.facts.class_names)


def _denoised(denoiser: _Denoiser, noisy: torch.Tensor) -> torch.Tensor:
    """The denoised batch; raises RaysmoothError if the denoiser does not accept its shape."""
    try:
        return denoiser.network(noisy)
    except RuntimeError as error:
        raise RaysmoothError(
            f"the denoiser of {denoiser.file} rejects images of shape {tuple(noisy.shape[1:])}: {one_line(error)}"
        ) from error


def _note(settings: GallerySettings, dataset: Dataset, named: Mapping[str, Mapping[float, _Denoiser]]) -> str:
    """The figure's footnote, which mentions denoisers trained for other noise than they get here."""
    answers = "" if settings.classifier is None else f", and the prediction of {settings.classifier}"
    words = [
        f"{dataset.name}, {dataset.split} split",
        f"below each picture: PSNR, rounded down{answers}",
        "pictures are clipped to [0, 1]",
    ]
    for name, by_sigma in named.items():
        trained = [(sigma, denoiser.card.get("sigma")) for sigma, denoiser in by_sigma.items()]
        others = {f"{known:g}": None for sigma, known in trained if isinstance(known, int | float) and known != sigma}
        if others:
            words.append(f"{name} was trained for sigma {', '.join(others)}")
    return f"{'; '.join(words)}."
