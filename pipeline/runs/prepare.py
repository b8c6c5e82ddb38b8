"""From settings to runs: opens the data set, loads the networks once, and refuses whatever cannot work."""

import os

import torch

from raysmooth.actors.models.base_classifier import check_image, load_base_classifier
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.steadiness import unsteadiness
from raysmooth.actors.models.weight_paths import path_at
from raysmooth.actors.noise.families import noise_family
from raysmooth.actors.noise.pixel_scale import scale_notes
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import is_own_code
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.known_images import KnownImages
from raysmooth.pipeline.data.reading import Reading
from raysmooth.pipeline.data.summary import class_count_note, summarised
from raysmooth.pipeline.runs.noise_mismatch import find_mismatch
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.settings import SamplingSettings, decisions


def prepare(procedure: Procedure, settings: SamplingSettings) -> list[Run]:
    """The runs of `settings`, one for each sigma, not yet with a compute configuration.

    Reads every image's bytes (for the fingerprint) and loads the base classifier on the CPU. Raises RaysmoothError for
    settings that cannot work: data, weights, shapes, or numbers of draws that could only abstain.
    """
    reading = decisions(settings.model_dump())
    dataset = open_dataset(
        settings.dataset, settings.data_root, settings.split, settings.resize, settings.crop, **reading
    )
    index_set = IndexSet(len(dataset), **settings.chosen_images)
    image = _first_readable(dataset, index_set)
    images = KnownImages(dataset, index_set.ids)
    data = summarised(dataset, index_set.describe(), image.shape[1:])
    runs = []
    for sigma in settings.sigma:
        noise = noise_family(settings.noise, sigma, getattr(settings, "norm", None), image.numel())
        procedure.refuse(settings, noise)
        classifier_weights, denoiser_weights, rejector_weights = (
            None if path is None else path_at(path, sigma)
            for path in (settings.classifier_weights, settings.denoiser_weights, settings.rejector_weights)
        )
        spec = BaseClassifierSpec(
            settings.classifier,
            classifier_weights,
            settings.preprocess,
            settings.denoiser,
            denoiser_weights,
            import_path=(os.getcwd(),),
            trust_code=settings.trust_code,
            rejector=settings.rejector,
            rejector_weights=rejector_weights,
        )
        loaded = load_base_classifier(spec, torch.device("cpu"))
        num_classes = check_image(loaded, image)
        # Our own networks draw nothing in eval mode. Calls of others may be billed, but five images or eight are little
        # beside the draws of one image, and a BatchNorm in training mode is not seen otherwise.
        ours = not is_own_code(settings.classifier)
        unsteady = None if ours else unsteadiness(loaded.model, image)
        denoised = loaded.spec.denoiser != "none"
        objective = (
            loaded.denoiser_card.get("objective") if denoised else loaded.classifier_card.get("objective", "none")
        )
        runs.append(
            Run(
                procedure,
                settings,
                noise,
                dataset,
                index_set,
                images,
                loaded.spec,
                num_classes,
                tuple(image.shape),
                objective,
                find_mismatch(loaded, noise),
                assumed=loaded.assumed,
                unsteady=unsteady,
                reading=Reading(**reading).recorded(),
                data={**data, "preprocess": loaded.spec.preprocess, "preprocess_from": loaded.preprocess_from},
                notes=tuple(
                    note
                    for note in (*data["notes"], class_count_note(dataset, num_classes), *scale_notes(noise.scale))
                    if note
                ),
            )
        )
    return runs


def _first_readable(dataset: Dataset, index_set: IndexSet) -> torch.Tensor:
    first: UnreadableImage | None = None
    for image_id in index_set:
        try:
            return torch.from_numpy(dataset.read(image_id).image)
        except UnreadableImage as error:
            first = first or error
    raise RaysmoothError(f"none of the {len(index_set)} images of '{dataset.name}' can be read; the first is {first}")
