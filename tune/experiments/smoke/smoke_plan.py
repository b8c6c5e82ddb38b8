"""A smoke test of an experiment: all of its stages, with networks, data and budgets so small that it takes seconds."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.models.weights import save_weights
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.model_files import is_model_file
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.datasets import DATASETS, open_dataset
from raysmooth.tune.experiments.check import Inspector, refuse_impossible
from raysmooth.tune.experiments.plan import RUN_SETTINGS, Plan
from raysmooth.tune.experiments.references import Reference, replaced
from raysmooth.tune.experiments.smoke.fake_apis import fake_apis, with_fake_api
from raysmooth.tune.experiments.smoke.small_networks import (
    SMALL_REJECTOR_OPTIONS,
    small_classifier,
    small_denoiser,
    small_rejector,
)
from raysmooth.tune.experiments.smoke.smoke_data import generated
from raysmooth.tune.experiments.stage_run import StageRun
from raysmooth.tune.objectives.data_dependent import from_the_start
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.training.trainer import initialised

FOLDER = "smoke"
"""The folder of a smoke test's results, below the experiment's own."""

_PIXELS = 32
"""Side of ImageNet's images in a smoke test."""

_TRAINING = {
    "epochs": 1, "skip": 1, "max": 20, "batch_size": 16, "loader_workers": 0, "precision": "float32", "compile": "off",
    "device": "cpu", "workers": 1,
}  # fmt: skip
_SWEEP_TRAINING = {key: _TRAINING[key] for key in ("epochs", "skip", "max", "batch_size", "precision", "compile")}
"""The settings of `_TRAINING` that a sweep does not set itself."""

_CERTIFY = {
    "start": 0, "skip": 1, "max": 2, "batch_size": 16, "block_size": 100, "precision": "float32", "compile": "off",
}  # fmt: skip
_POOL = {"replicas": 1, "gpus_per_replica": 0.0, "cpus_per_replica": 1}
_DRAWS = {"n0": 10, "n": 20}
_NETWORK_OF = {"classifier_weights": "classifier", "denoiser_weights": "denoiser", "init_weights": "denoiser"}
_OF_REJECTORS = ("rejector_weights", "init_weights")

_SHRINK = {"classifier": small_classifier, "denoiser": small_denoiser, "rejector": small_rejector}

_MOST_NUMBERS, _MOST_NUMBERS_OF_SWEEP = 2, 1
"""A smoke test tries only the first numbers of each matrix variable."""

MOST_STEPS = 200
"""Steps of a search in a smoke test: those of the first two numbers of steps that are kept."""

_MOST_OF_SEARCH = {"steps": MOST_STEPS, "levels": 3, "draws": 4, "n0": 10, "n": 100}
"""Options of searches, and their largest values in a smoke test."""

_MOST_CONFIGURATIONS = 2
"""A smoke test tries only the first configurations of a sweep."""


def smoke_plan(plan: Plan) -> Plan:
    """The smoke test of `plan`: all of its stages, with results in `<out>/smoke`.

    It has the first two numbers of each matrix variable and all names; stage runs that need others are left out. Raises
    RaysmoothError if no run of a stage would be left, and for errors that the experiment itself has (data may be
    missing).
    """
    folder = plan.out / FOLDER
    refuse_impossible(plan, Inspector(), data=False)
    runs = _fewer(plan.stage_runs)
    kept = {run.stage for run in runs}
    for run in plan.stage_runs:
        if run.stage not in kept:
            raise RaysmoothError(
                f"--smoke: nothing is left of stage {run.stage}: let it use the results of the first values of a matrix"
            )
    shrinker = _Shrinker(folder, _data_roots(plan, folder))
    small = [with_fake_api(shrinker.stage_run(run)) for run in runs]
    return replace(plan, out=folder, stage_runs=[*fake_apis(small), *small], smoke=True)


def _fewer(runs: Sequence[StageRun]) -> list[StageRun]:
    """The stage runs with the first numbers of each matrix variable, without those that need others."""
    tried: dict[tuple[str, str], list[Any]] = {}
    kept: dict[str, StageRun] = {}
    for run in runs:
        if run.entry.keeps_sigma and isinstance(run.values.get("sigma"), list):
            run = replace(run, values={**run.values, "sigma": run.values["sigma"][:_MOST_NUMBERS]})
        most = _MOST_NUMBERS_OF_SWEEP if run.kind == "sweep" else _MOST_NUMBERS
        run = _with_fewer_runs(run, kept)
        numbers = {key: value for key, value in run.variables.items() if isinstance(value, int | float)}
        seen = {key: tried.setdefault((run.stage, key), []) for key in numbers}
        new = {key: value for key, value in numbers.items() if value not in seen[key]}
        if any(len(seen[key]) >= most for key in new) or not all(name in kept for name in run.needs):
            continue
        for key, value in new.items():
            seen[key].append(value)
        kept[run.name] = run
    return list(kept.values())


def _with_fewer_runs(run: StageRun, kept: Mapping[str, StageRun]) -> StageRun:
    """A stage run without references, in its lists of runs, to stage runs that are left out."""
    lists = {key: value for key, value in run.values.items() if key in RUN_SETTINGS and isinstance(value, list)}
    fewer = {
        key: [one for one in value if (found := Reference.read(one)) is None or found.name in kept]
        for key, value in lists.items()
    }
    return replace(run, values={**run.values, **fewer}) if lists else run


def _data_roots(plan: Plan, folder: Path) -> dict[str, Path]:
    """By the names of data sets that are missing, the folders of generated images."""
    settings = plan.settings.data if plan.settings is not None else plan.stage_runs[0].values["settings"]
    found: dict[str, list[Mapping[str, Any]]] = {str(settings["dataset"]): []}
    for run in plan.stage_runs:
        if "dataset" in run.values:
            found.setdefault(str(run.values["dataset"]), []).append(run.values)
    roots = {name: _data_root(name, (values or [settings])[0], values, folder) for name, values in found.items()}
    return {name: root for name, root in roots.items() if root is not None}


def _data_root(
    name: str, given: Mapping[str, Any], all_values: Sequence[Mapping[str, Any]], folder: Path
) -> Path | None:
    """The folder of generated images if the data set is missing; None to keep the data set."""
    if DATASETS[name].layout is None:
        return None
    named = {str(values["split"]) for values in all_values if values.get("split")}
    try:
        for split in sorted(named) if named and DATASETS[name].other_splits else DATASETS[name].splits:
            open_dataset(name, given.get("data_root"), split)
    except RaysmoothError:
        return generated(name, folder / "data")
    return None


@dataclass(frozen=True)
class _Shrinker:
    """Makes an experiment's settings small. Untrained weights go to `folder`; `data_roots` has generated images."""

    folder: Path
    data_roots: Mapping[str, Path]

    def stage_run(self, run: StageRun) -> StageRun:
        methods = {
            "sweep": self.sweep, "certify": self.certify, "predict": self.certify, "gallery": self.gallery,
            "optimize-sigma": self.search, "recertify": _without_n, "serve": self.networks,
        }  # fmt: skip
        shrink = methods.get(run.kind, self.training if run.entry.trains else dict)
        return replace(run, values=_fewer_surrogates(shrink(dict(run.values))))

    def training(self, values: Mapping[str, Any]) -> dict[str, Any]:
        one_epoch = {"data_dependent": from_the_start(values["data_dependent"])} if "data_dependent" in values else {}
        return {**self.networks(values), **_TRAINING, **one_epoch, "threads": 1}

    def certify(self, values: Mapping[str, Any]) -> dict[str, Any]:
        n = 20 + int(values.get("n", 10_000)) // 1000  # different values stay different
        small = {**self.networks(values), **_CERTIFY, **_POOL, "n": n}
        small |= {"search": brief_search(values["search"])} if values.get("search") else {}
        small |= {"steps": min(int(values["steps"]), MOST_STEPS)} if values.get("steps") is not None else {}
        return small | ({"n0": _DRAWS["n0"]} if "n0" in values else {})

    def search(self, values: Mapping[str, Any]) -> dict[str, Any]:
        images = {key: _CERTIFY[key] for key in ("start", "skip", "max", "batch_size")}
        return {**self.networks(values), **images, **_POOL, "search": brief_search(values.get("search", "ddrs"))}

    def gallery(self, values: Mapping[str, Any]) -> dict[str, Any]:
        images = {"images": [0, 1]} if "images" in values else {"skip": 1, "max": 2}
        return {**self.networks(values), **images}

    def sweep(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Of each list that is searched the first value, and of the configurations the first two."""
        settings = {**self.networks(values["settings"]), **_SWEEP_TRAINING}
        domains = values.get("search", {}).items()
        search = {key: domain[:1] if isinstance(domain, list) else domain for key, domain in domains}
        configurations = values.get("configurations", [])[:_MOST_CONFIGURATIONS]
        small = {
            **values,
            "settings": settings,
            "search": self.networks(search, settings),
            "configurations": [self.networks(configuration, settings) for configuration in configurations],
            "seeds": list(values.get("seeds", [0]))[:1],
            "scheduler": "fifo",
            "plateau": None,
            "validation": {"every": 1, "images": 2, **_DRAWS},
            "cpus_per_trial": 1,
            "gpus_per_trial": 0.0,
        }
        if "num_trials" in values:
            small["num_trials"] = 1
        if values.get("warm_start") is not None:
            small["warm_start"] = {**values["warm_start"], "epochs": 1}
        if values.get("certify") is not None:
            small["certify"] = {**_CERTIFY, **_DRAWS}
        return small

    def networks(self, values: Mapping[str, Any], common: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """`values` with small networks, with weights for them unless another stage makes these, and with data that
        exists. `common`: further settings that apply.
        """
        small = dict(values)
        for role, shrink in _SHRINK.items():
            if role in values:
                small[role] = _changed(values[role], shrink)
        both = {**(common or {}), **small}
        if both.get("rejector", NO_REJECTOR) != NO_REJECTOR:
            _refuse_rejector_files(values)
        for key, role in _NETWORK_OF.items():
            if isinstance(given := values.get(key), str) and Reference.read(given) is None:
                if is_model_file(str(both[role])):  # no architecture to build a small one of
                    continue
                small[key] = self.weights(role, str(both[role]), str(both.get("objective", "mse")))
        if "denoiser" in values and "denoiser_weights" in both:  # the options are in the card of its weights
            small["denoiser"] = _changed(values["denoiser"], lambda text: Variant.parse(text).name)
        if "rejector" in values and "rejector_weights" in both:  # as are those of a network, except the threshold
            small["rejector"] = _changed(values["rejector"], _without_size)
        if "data_dependent" in values:
            small["data_dependent"] = _changed(values["data_dependent"], from_the_start)
        if "surrogates" in values:
            small["surrogates"] = _changed(values["surrogates"], lambda text: self.surrogates(text, both))
        if both.get("dataset") == "imagenet" and "dataset" in values:
            small |= {"resize": _PIXELS, "crop": _PIXELS}
        if (root := self.data_roots.get(str(values.get("dataset")))) is not None:
            small["data_root"] = str(root)
        return small

    def surrogates(self, text: str, values: Mapping[str, Any]) -> str:
        """Two surrogates in place of an ensemble; one for an ensemble of one."""
        count = 1 if text.endswith(":1") else 2
        files = [self.weights("classifier", str(values["classifier"]), "", seed=seed) for seed in range(1, count + 1)]
        return ",".join(files)

    def weights(self, role: str, text: str, objective: str, seed: int = 0) -> str:
        """A file of untrained weights."""
        architecture = Variant.parse(text)
        build = build_classifier if role == "classifier" else build_denoiser
        card = {"architecture": str(architecture)}
        if role == "denoiser":
            trained = DENOISER_OBJECTIVES.get(objective.partition(":")[0])  # None: of the training behind it
            card["objective"] = "mse" if trained is None else trained.starts_from or objective
        file = self.folder / "untrained" / f"{re.sub(r'[^A-Za-z0-9_.]', '-', str(architecture))}-{seed}.safetensors"
        save_weights(file, initialised(lambda: build(architecture), seed), card)
        return str(file)


def brief_search(text: str) -> str:
    """The search with few steps, levels and draws."""
    written, _ = read_search(text)
    options = dict(written.options) | {name: min(int(value), most) for name, value, most in _large(written)}
    return str(Variant(written.name, tuple(sorted(options.items()))))


def _large(search: Variant) -> Iterator[tuple[str, Any, int]]:
    """The options of a search that make it long, and their values in a smoke test, at most."""
    for name, value in search.options:
        if name in _MOST_OF_SEARCH and isinstance(value, int):
            yield name, value, _MOST_OF_SEARCH[name]


def _without_n(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without the number of draws to use, of which a smoke test has fewer."""
    return {key: value for key, value in values.items() if key != "n"}


def _refuse_rejector_files(values: Mapping[str, Any]) -> None:
    """Raises RaysmoothError for a rejector's weights that no stage trains: they fit one classifier's features alone."""
    for key in _OF_REJECTORS:
        if isinstance(given := values.get(key), str) and Reference.read(given) is None:
            raise RaysmoothError(
                f"--smoke: {key} {given}: a smoke test has no such rejector: let a stage train it, and write '@STAGE'"
            )


def _without_size(text: str) -> str:
    """The rejector without the options of its network's size."""
    written = Variant.parse(text)
    sizes = SMALL_REJECTOR_OPTIONS.get(written.name, {})
    return str(Variant(written.name, tuple(option for option in written.options if option[0] not in sizes)))


def _fewer_surrogates(values: dict[str, Any]) -> dict[str, Any]:
    """References to no more of an ensemble than the smoke test trains."""

    def limited(key: str, found: Reference) -> str:
        return str(replace(found, first=min(found.first, _MOST_CONFIGURATIONS)) if found.first is not None else found)

    return dict(replaced(values, limited))


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """`change` applied to a text, or to each in a list; references stay."""
    if isinstance(value, list):
        return [_changed(inner, change) for inner in value]
    return value if not isinstance(value, str) or Reference.read(value) is not None else change(value)
