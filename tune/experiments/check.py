"""Finds the errors in an experiment that can be found before its first stage starts."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import torch

from raysmooth.actors.apis.apis import is_api, read_api
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import NO_DENOISER, build_denoiser
from raysmooth.actors.models.own_callable import make_importable
from raysmooth.actors.models.preprocess import parse_preprocess
from raysmooth.actors.models.rejectors import NO_REJECTOR, read_rejector
from raysmooth.actors.noise.families import NOISES
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.model_files import is_model_file
from raysmooth.common.spelling import as_keys
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.array_dataset import ArrayDataset
from raysmooth.pipeline.data.datasets import fingerprint, listing_fingerprint, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.queries.query_settings import QuerySettings
from raysmooth.pipeline.runs.data_settings import READING, decisions
from raysmooth.storage.store_urls import is_url
from raysmooth.tune.experiments.plan import ENDPOINT, RUN_SETTINGS, Plan
from raysmooth.tune.experiments.references import Reference, replaced
from raysmooth.tune.experiments.request import ExperimentRequest
from raysmooth.tune.experiments.stage_run import StageRun
from raysmooth.tune.experiments.weight_files import files_of
from raysmooth.tune.sweeps.settings import TRAINING_SETTINGS, SweepSettings

NETWORKS = tuple(TRAINING_SETTINGS)
"""The networks that stages train, which are also the names of the settings that name their architectures."""

_DATA = ("dataset", "data_root", "split", *READING)

_FLAGS = [field.name for field in fields(ExperimentRequest)]
"""Settings of stages that `raysmooth run` has flags for, by the same names."""


_SOME_RUN = "0" * 16
"""Stands for the id of a run that another stage will make."""

_SOME_ENDPOINT = "http://127.0.0.1:1"
"""Stands for that of a stage that is not served yet."""


class Inspector:
    """Inspects networks and data sets, each once, although many stage runs share them."""

    def __init__(self, trust_code: bool = False) -> None:
        self.trust_code = trust_code
        self._networks: set[tuple[str, str]] = set()
        self._data: dict[tuple[Any, ...], str] = {}
        self.defaults: dict[str, dict[str, Any]] = {}
        """By stage run: the settings that the file leaves out, with their default values."""

    def refuse_unbuildable(self, role: str, text: str) -> None:
        """Raises RaysmoothError for an unknown network, or one that does not have these options. `role` is one of
        `NETWORKS`. Only networks of the user's own are really built.
        """
        if (role, text) in self._networks or (role, text) in (("denoiser", NO_DENOISER), ("rejector", NO_REJECTOR)):
            return
        if role == "rejector":
            read_rejector(text)
            return
        if role == "classifier" and is_api(text):
            read_api(text)
            return
        if is_model_file(text):  # what is in the file is known when it is read
            return
        architecture = Variant.parse(text)
        if architecture.is_own and self.trust_code:
            make_importable()
        with torch.device("cpu" if architecture.is_own else "meta"):
            if role == "classifier":
                build_classifier(architecture, self.trust_code)
            else:
                build_denoiser(architecture)
        self._networks.add((role, text))

    def data_fingerprint(self, settings: Mapping[str, Any]) -> str:
        """The fingerprint of all images of a data set: of their content if they are in memory, else of the list of
        their files. Raises RaysmoothError for missing data.
        """
        key: tuple[Any, ...] = tuple(settings.get(name) for name in _DATA)
        if key not in self._data:
            dataset = open_dataset(*key[:5], **decisions(settings))
            take = fingerprint if isinstance(dataset, ArrayDataset) else listing_fingerprint
            self._data[key] = take(dataset, IndexSet(len(dataset)))
        return self._data[key]


def refuse_impossible(plan: Plan, inspector: Inspector, data: bool = True) -> None:
    """Raises RaysmoothError, naming the stage, for invalid settings, unknown networks and, unless `data` is False,
    missing data. Results of other stages are assumed to exist.
    """
    by_name, norms = {run.name: run for run in plan.stage_runs}, set()
    for run in plan.stage_runs:
        try:
            settings = run.entry.check(_provisional(run, by_name, plan)).model_dump(mode="json")
            # None is no setting: a new optional one, added to raysmooth, leaves finished stages as they are.
            # Nor is what is said of vision APIs where none is asked.
            unsaid = set() if is_api(str(settings.get("classifier"))) else set(QuerySettings.model_fields)
            inspector.defaults[run.name] = {
                key: value
                for key, value in settings.items()
                if key not in run.values and value is not None and key not in unsaid
            }
            if run.kind == "certify":
                norms.add(settings["norm"] or next(iter(NOISES[settings["noise"]].norms)))
            if run.entry.data is not None:
                for values in _all_settings(run, by_name, plan):
                    _refuse_missing(values, run, inspector, data)
        except RaysmoothError as error:
            raise RaysmoothError(f"stage {run.name}: {as_keys(str(error), _FLAGS)}") from None
    if len(norms) > 1:
        raise RaysmoothError(
            f"certify: the stages' radii have several norms ({', '.join(sorted(norms))}), and a report's have one: "
            "write an experiment for each"
        )


def _provisional(run: StageRun, by_name: Mapping[str, StageRun], plan: Plan) -> dict[str, Any]:
    """The settings of a stage run, with the likely results of other stage runs in place of references."""

    def result(key: str, reference: Reference) -> str:
        if key in RUN_SETTINGS:
            return _SOME_RUN
        if key == ENDPOINT:
            return _SOME_ENDPOINT
        maker = by_name[run.targets(reference)[0]]
        if key in NETWORKS:
            return _architecture(maker, key, by_name)
        if maker.entry.trains == "sweep" and key == "surrogates":
            return str(reference)
        if maker.entry.trains == "sweep" and "metric" not in maker.values:
            raise RaysmoothError(
                f"{reference}: sweep {maker.name} has no winner: name a metric in it, such as 'metric: acr'"
            )
        if reference.first is not None:
            raise RaysmoothError(f"{reference}: only surrogates can be the first {reference.first} of a sweep")
        return str(plan.out / "weights" / f"{reference.name}.safetensors")

    values = replaced(dict(run.values), result)
    return values | {key: str(plan.out / path) for key, path in run.entry.outputs(run.name).items()}


def _architecture(maker: StageRun, role: str, by_name: Mapping[str, StageRun]) -> str:
    """The network that a stage run will train; for a sweep or a choice, one of the networks that it tries."""
    if maker.entry.chooses:
        found = Reference.read(maker.values["of"][0]["weights"])
        return _architecture(by_name[found.name], role, by_name) if found is not None else NO_DENOISER
    values: dict[str, Any] = dict(maker.values)
    if maker.entry.trains == "sweep":
        first = (values.get("configurations") or [{}])[0]
        searched = {name: domain[0] for name, domain in values.get("search", {}).items() if isinstance(domain, list)}
        values = {**values["settings"], **first, **searched}
    if role not in values and maker.entry.trains == role:  # a rejector has a default
        values[role] = TRAINING_SETTINGS[role].model_fields[role].default
    if role not in values:
        raise RaysmoothError(f"@{maker.name} is not a {role}: name the stage that trains one")
    text = str(values[role])
    found = Reference.read(text)
    return text if found is None else _architecture(by_name[found.name], role, by_name)


def _all_settings(run: StageRun, by_name: Mapping[str, StageRun], plan: Plan) -> Iterator[Mapping[str, Any]]:
    """The settings of a stage run; for a sweep, those of each trial."""
    values = _provisional(run, by_name, plan)
    if run.kind != "sweep":
        yield values
        return
    sweep = run.entry.check(values)
    assert isinstance(sweep, SweepSettings)
    for config in sweep.trial_configs:
        yield sweep.values(config)


def _refuse_missing(settings: Mapping[str, Any], run: StageRun, inspector: Inspector, data: bool) -> None:
    for role in NETWORKS:
        if isinstance(text := settings.get(role), str):
            inspector.refuse_unbuildable(role, text)
    if isinstance(preprocess := settings.get("preprocess"), str):
        parse_preprocess(preprocess)
    levels = settings.get("sigma")
    for sigma in levels if isinstance(levels, list) else [levels] if levels is not None else []:
        Gaussian(float(sigma))
    if data:
        split = settings.get("split") or ("train" if run.entry.trains else None)
        inspector.data_fingerprint({**settings, "split": split})


def refuse_missing_files(plan: Plan) -> None:
    """Raises RaysmoothError for weights that are neither a file, nor a stage's result, nor a name of torchvision's."""
    for run in plan.stage_runs:
        for key, path in files_of(run.values):
            named = key == "classifier_weights" and path.isidentifier()
            if not (named or is_url(path) or os.path.exists(path)):
                raise RaysmoothError(
                    f"stage {run.name}: {key} {path} does not exist: write a file, or @STAGE, which makes it"
                )
