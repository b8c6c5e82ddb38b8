"""From settings to runs: opens the data set, and refuses whatever cannot work with it and with the networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import numpy as np

from raysmooth.actors.apis.apis import is_api
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.networks.input_size import NO_RESIZE
from raysmooth.actors.noise.families import noise_family
from raysmooth.actors.noise.pixel_scale import scale_notes
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.sigma_search.search_options import SearchOptions
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.top_k import refuse_no_choice
from raysmooth.pipeline.data.class_names import order_note, with_class_names
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.known_images import KnownImages
from raysmooth.pipeline.data.reading import Reading
from raysmooth.pipeline.data.summary import class_count_note, subset_note, summarised
from raysmooth.pipeline.runs.apis.api_facts import ApiFacts, api_facts
from raysmooth.pipeline.runs.apis.api_run import api_run
from raysmooth.pipeline.runs.base_run import AnyProcedure, BaseRun
from raysmooth.pipeline.runs.data_settings import decisions
from raysmooth.pipeline.runs.image_levels import with_levels
from raysmooth.pipeline.runs.network_facts import NetworkFacts, load_facts, spec_at
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.runs.search_procedure import SearchProcedure
from raysmooth.pipeline.runs.search_run import SearchRun, search_compute
from raysmooth.pipeline.runs.search_settings import OptimizeSigmaSettings
from raysmooth.pipeline.runs.settings import NoisySettings, SamplingSettings

Facts = Callable[[BaseClassifierSpec, np.ndarray, NoiseFamily], NetworkFacts]
"""Of `load_facts`, or of an earlier run."""


@dataclass(frozen=True)
class RunData:
    """The data of a command's runs. `first`, float32 (C, H, W), is the first image that can be read; `summary` the
    facts of the data set, `reading` the user's decisions about it, as a manifest records them.
    """

    dataset: Dataset
    index_set: IndexSet
    first: np.ndarray
    images: KnownImages
    summary: Mapping[str, Any]
    reading: Mapping[str, Any]

    @classmethod
    def of(cls, settings: NoisySettings) -> "RunData":
        """Opens the data set and reads every image's bytes, for the fingerprint. Raises RaysmoothError where that
        cannot be.
        """
        reading = decisions(settings.model_dump())
        dataset = open_dataset(
            settings.dataset, settings.data_root, settings.split, settings.resize, settings.crop, **reading
        )
        return cls.of_dataset(dataset, IndexSet(len(dataset), **settings.chosen_images), Reading(**reading).recorded())

    @classmethod
    def of_dataset(cls, dataset: Dataset, index_set: IndexSet, reading: Mapping[str, Any]) -> "RunData":
        """As `of`, for an open data set; `reading` as a manifest records it."""
        first = _first_readable(dataset, index_set)
        images = KnownImages(dataset, index_set.ids)
        summary = summarised(dataset, index_set.describe(), first.shape[1:])
        return cls(dataset, index_set, first, images, summary, reading)


@overload
def prepare(
    procedure: Procedure, settings: SamplingSettings, data: RunData | None = None, facts: Facts | None = None
) -> list[Run]: ...


@overload
def prepare(
    procedure: AnyProcedure, settings: NoisySettings, data: RunData | None = None, facts: Facts | None = None
) -> list[BaseRun]: ...


def prepare(
    procedure: AnyProcedure, settings: NoisySettings, data: RunData | None = None, facts: Facts | None = None
) -> Any:
    """The runs of `settings`, one for each sigma; those that count labels not yet with a compute configuration. `data`
    is their data where it has been opened already.

    Reads every image's bytes (for the fingerprint) and, by default, loads the base classifier on the CPU. Raises
    RaysmoothError for settings that cannot work: data, weights, shapes, or numbers of draws that could only abstain.
    """
    data = data or RunData.of(settings)
    facts = facts or _facts_of(settings, data)
    runs = []
    for sigma in settings.sigma:
        noise = noise_family(settings.noise, sigma, getattr(settings, "norm", None), data.first.size)
        procedure.refuse(settings, noise)
        found = facts(spec_at(settings, sigma), data.first, noise)
        refuse_no_choice(getattr(settings, "top_k", None), found.num_classes)
        notes = (
            *data.summary["notes"],
            None if isinstance(found, ApiFacts) else class_count_note(data.dataset, found.num_classes),
            order_note(data.summary, found.class_names),
            subset_note(data.dataset, data.index_set.ids),
            *scale_notes(noise.scale),
            *found.notes,
        )
        runs.append(
            _made(
                procedure,
                settings,
                found,
                noise=noise,
                dataset=data.dataset,
                index_set=data.index_set,
                images=data.images,
                base=found.base,
                num_classes=found.num_classes,
                image_shape=found.image_shape,
                objective=found.objective,
                mismatch=found.mismatch,
                assumed=found.assumed,
                unsteady=found.unsteady,
                reading=data.reading,
                data=_described(data.summary, found),
                notes=tuple(note for note in notes if note),
                made_from=found.made_from,
            )
        )
    return runs


def _facts_of(settings: NoisySettings, data: RunData) -> Facts:
    if isinstance(settings, SamplingSettings) and is_api(settings.classifier):
        return partial(api_facts, settings, data.dataset)
    return partial(load_facts, search=_search_of(settings))


def _described(summary: Mapping[str, Any], found: NetworkFacts) -> dict[str, Any]:
    """The facts of the data and how it is normalised. Classes of an API's own labels are not those of the data."""
    if isinstance(found, ApiFacts):
        return {**summary} if found.labels.accepted is not None else {**summary, "class_names": {}}
    resized = found.base.resizing not in (None, NO_RESIZE)
    return {
        **with_class_names(summary, found.class_names),
        "preprocess": found.base.preprocess,
        "preprocess_from": found.preprocess_from,
        **({"input_size": found.base.resizing, "input_size_from": found.resizing_from} if resized else {}),
        **({"networks": list(found.about)} if found.about else {}),
    }


def _made(procedure: AnyProcedure, settings: NoisySettings, found: NetworkFacts, **known: Any) -> BaseRun:
    """The run of the procedure's kind."""
    if isinstance(procedure, SearchProcedure) and isinstance(settings, OptimizeSigmaSettings):
        return SearchRun(procedure, settings, compute=search_compute(settings.batch_size), **known)
    assert isinstance(procedure, Procedure), procedure
    assert isinstance(settings, SamplingSettings), settings
    if isinstance(found, ApiFacts):
        return api_run(procedure, settings, found, **known)
    return with_levels(Run(procedure, settings, **known))


def _search_of(settings: NoisySettings) -> SearchOptions | None:
    return read_search(settings.search)[1] if isinstance(settings, OptimizeSigmaSettings) else None


def _first_readable(dataset: Dataset, index_set: IndexSet) -> np.ndarray:
    first: UnreadableImage | None = None
    for image_id in index_set:
        try:
            return dataset.read(image_id).image
        except UnreadableImage as error:
            first = first or error
    raise RaysmoothError(f"none of the {len(index_set)} images of '{dataset.name}' can be read; the first is {first}")
