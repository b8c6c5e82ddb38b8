"""Whatever can be known to fail in an experiment, known before its first stage begins."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.own_callable import make_importable
from raysmooth.actors.models.preprocess import parse_preprocess
from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.array_dataset import ArrayDataset
from raysmooth.pipeline.data.datasets import fingerprint, listing_fingerprint, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.storage.store_urls import is_url
from raysmooth.tune.experiments.plan import FILES, Job, Plan
from raysmooth.tune.experiments.references import Reference, replaced, word
from raysmooth.tune.sweeps.settings import SweepSettings

_NETWORKS = {"classifier": build_classifier, "denoiser": build_denoiser}
_DATA = ("name", "data_root", "split", "resize", "crop")


class Known:
    """What was found out about networks and data sets, each once: many jobs share them."""

    def __init__(self) -> None:
        self._networks: set[tuple[str, str]] = set()
        self._data: dict[tuple[Any, ...], str] = {}
        self.defaults: dict[str, dict[str, Any]] = {}
        """Settings that decide a job's result and are not in its file, by the job's name."""

    def refuse_unbuildable(self, kind: str, text: str) -> None:
        """Raises RaysmoothError for a network that is not there, or has not these options. None of ours is really built."""
        if (kind, text) in self._networks or (kind, text) == ("denoiser", "none"):
            return
        architecture = Variant.parse(text)
        if ":" in architecture.name:
            make_importable()
        with torch.device("cpu" if ":" in architecture.name else "meta"):
            _NETWORKS[kind](architecture)
        self._networks.add((kind, text))

    def data_fingerprint(self, settings: Mapping[str, Any]) -> str:
        """Of all images of a data set: their content where they are in memory, else a listing of their files. Raises
        RaysmoothError for data that is not there.
        """
        key: tuple[Any, ...] = tuple({**settings, "name": settings["dataset"]}.get(name) for name in _DATA)
        if key not in self._data:
            dataset = open_dataset(*key)
            told = fingerprint if isinstance(dataset, ArrayDataset) else listing_fingerprint
            self._data[key] = told(dataset, IndexSet(len(dataset)))
        return self._data[key]


def refuse_impossible(plan: Plan, known: Known, data: bool = True) -> None:
    """Raises RaysmoothError, naming the stage, for settings that cannot be, for networks that are not there and, unless told
    not to look, for data. What other stages will give is taken for given.
    """
    by_name, norms = {job.name: job for job in plan.jobs}, set()
    for job in plan.jobs:
        try:
            settings = job.row.check(_as_given(job, by_name, plan.out)).model_dump(mode="json")
            known.defaults[job.name] = {key: value for key, value in settings.items() if key not in job.values}
            if job.kind == "certify":
                norms.add(settings["norm"] or next(iter(NOISES[settings["noise"]].norms)))
            if job.kind != "report":
                for training in _trainings(job, by_name, plan.out):
                    _refuse_missing(training, job, known, data)
        except RaysmoothError as refusal:
            raise RaysmoothError(f"stage {job.name}: {refusal}") from None
    if len(norms) > 1:
        raise RaysmoothError(
            f"certify: the stages' radii have several norms ({', '.join(sorted(norms))}), and a report's have one: "
            "write an experiment for each"
        )


def _as_given(job: Job, by_name: Mapping[str, Job], out: Path) -> dict[str, Any]:
    """Its settings with stand-ins for what other stages will give."""

    def stand_in(key: str, reference: Reference) -> str:
        names = job.meant(reference)
        giver = by_name[names[0]]
        if key in _NETWORKS:
            return _architecture(giver, key, by_name)
        if giver.row.gives == "sweep" and key == "surrogates":
            return str(reference)
        if giver.row.gives == "sweep" and "metric" not in giver.values:
            raise RaysmoothError(
                f"{reference}: sweep {giver.name} has no winner: name a metric in it, such as 'metric: acr'"
            )
        if reference.first is not None:
            raise RaysmoothError(f"{reference}: only of a sweep, for surrogates, one takes the first {reference.first}")
        return str(out / "weights" / f"{reference.name}.safetensors")

    values = replaced(dict(job.values), stand_in)
    return values | {key: str(out / below) for key, below in job.row.place(job.name).items()}


def _architecture(giver: Job, key: str, by_name: Mapping[str, Job]) -> str:
    """The network that a stage will give: of a sweep one of those that it tries."""
    values: dict[str, Any] = dict(giver.values)
    if giver.row.gives == "sweep":
        each = values.get("each") or [{}]
        tried = {name: domain[0] for name, domain in values.get("search", {}).items() if isinstance(domain, list)}
        values = {**values["settings"], **each[0], **tried}
    if key not in values:
        raise RaysmoothError(f"@{giver.name} is no {key}: name the stage that trains one")
    text = str(values[key])
    found = Reference.read(text)
    return text if found is None else _architecture(by_name[found.name], key, by_name)


def _trainings(job: Job, by_name: Mapping[str, Job], out: Path) -> Iterator[Mapping[str, Any]]:
    """The settings of a job, or of each trial of a sweep."""
    values = _as_given(job, by_name, out)
    if job.kind != "sweep":
        yield values
        return
    sweep: Any = job.row.check(values)
    assert isinstance(sweep, SweepSettings)
    for drawn in sweep.possible:
        yield sweep.values(drawn)


def _refuse_missing(settings: Mapping[str, Any], job: Job, known: Known, data: bool) -> None:
    for kind in _NETWORKS:
        for text in [settings[kind]] if isinstance(settings.get(kind), str) else []:
            known.refuse_unbuildable(kind, text)
    if isinstance(preprocess := settings.get("preprocess"), str):
        parse_preprocess(preprocess)
    levels = settings.get("sigma")
    for sigma in levels if isinstance(levels, list) else [levels] if levels is not None else []:
        Gaussian(float(sigma))
    if data:
        split = settings.get("split") or ("train" if job.row.gives else None)
        known.data_fingerprint({**settings, "split": split})


def refuse_missing_files(plan: Plan) -> None:
    """Raises RaysmoothError for weights that are neither on disk, nor another stage's, nor one of torchvision's sets."""
    for job in plan.jobs:
        for key, path in files_of(job.values):
            named = key == "classifier_weights" and path.isidentifier()
            if not (named or is_url(path) or Path(path).exists()):
                raise RaysmoothError(
                    f"stage {job.name}: {key} {path} does not exist: give a file, or @STAGE that makes it"
                )


def files_of(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Settings that name weights, however deep, with the paths that they name; references are none."""
    if isinstance(values, Mapping):
        levels = values.get("sigma")
        for inner_key, inner in values.items():
            for named, path in files_of(inner, inner_key):
                for level in levels if isinstance(levels, list) and "{sigma}" in path else [levels]:
                    yield named, path.replace("{sigma}", word(level))
    elif isinstance(values, list):
        for inner in values:
            yield from files_of(inner, key)
    elif key in FILES and isinstance(values, str) and Reference.read(values) is None:
        for part in values.split(","):
            path = part if Path(part).exists() else part.rpartition("@")[2]
            folder, _, count = path.rpartition(":")
            yield key, folder if key == "surrogates" and folder and count.isdigit() else path
