"""A smoke test of an experiment: every stage of it, on networks, data and budgets so small that it takes seconds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.datasets import DATASETS, open_dataset
from raysmooth.tune.experiments.check import Known, refuse_impossible
from raysmooth.tune.experiments.plan import Job, Plan
from raysmooth.tune.experiments.references import Reference, replaced
from raysmooth.tune.experiments.small_networks import small_classifier, small_denoiser
from raysmooth.tune.experiments.smoke_data import generated
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES
from raysmooth.tune.training.trainer import initialised

FOLDER = "smoke"
"""Below an experiment's own: what a smoke test gives is kept apart."""

_PIXELS = 32
"""ImageNet's images are made so small."""

_TRAINED = {
    "epochs": 1, "skip": 1, "max": 20, "batch_size": 16, "loader_workers": 0, "precision": "float32", "compile": False,
    "device": "cpu", "workers": 1,
}  # fmt: skip
_SWEPT = ("epochs", "skip", "max", "batch_size", "precision", "compile")
"""Of `_TRAINED`, what a sweep does not decide itself."""

_SAMPLED = {
    "skip": 1, "max": 2, "batch_size": 16, "block_size": 100, "precision": "float32", "compile": "off", "replicas": 1,
    "gpus_per_replica": 0.0, "cpus_per_replica": 1,
}  # fmt: skip
_WEIGHTS_OF = {"classifier_weights": "classifier", "denoiser_weights": "denoiser", "init_weights": "denoiser"}
_VALIDATION = {"every": 1, "images": 2, "n0": 10, "n": 20}

_MOST, _MOST_OF_SWEEP, _MOST_ROWS = 2, 1, 2
"""Of the numbers in a `for` so many are tried, of a sweep's `for` and of its rows so many."""


@dataclass(frozen=True)
class _Small:
    """How an experiment's settings are made small, and where what it needs for that lies."""

    folder: Path
    data_root: Path | None

    def job(self, job: Job) -> Job:
        kinds = {"sweep": self.sweep, "certify": self.sampled, "predict": self.sampled, "gallery": self.shown}
        made = kinds.get(job.kind, self.trained if job.row.gives else dict)
        return replace(job, values=_first_surrogates(made(dict(job.values))))

    def trained(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.networks(values), **_TRAINED, "threads": 1}

    def sampled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        n = 20 + int(values.get("n", 10_000)) // 1000  # different ones stay different
        small = {**self.networks(values), **_SAMPLED, "n": n}
        if "denoiser" in values:  # whose weights' card knows the rest
            small["denoiser"] = _each(values["denoiser"], lambda text: Variant.parse(text).name)
        return small | ({"n0": 10} if "n0" in values else {})

    def shown(self, values: Mapping[str, Any]) -> dict[str, Any]:
        many = {"images": [0, 1]} if "images" in values else {"skip": 1, "max": 2}
        return {**self.networks(values), **many}

    def sweep(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Two rows of it at most, and of each list that is searched the first value."""
        settings = {**self.networks(values["settings"]), **{key: _TRAINED[key] for key in _SWEPT}}
        domains = values.get("search", {}).items()
        search = {key: domain[:1] if isinstance(domain, list) else domain for key, domain in domains}
        small = {
            **values,
            "settings": settings,
            "search": self.networks(search, settings),
            "each": [self.networks(row, settings) for row in values.get("each", [])[:_MOST_ROWS]],
            "seeds": list(values.get("seeds", [0]))[:1],
            "scheduler": "fifo",
            "plateau": None,
            "validation": _VALIDATION,
            "cpus_per_trial": 1,
            "gpus_per_trial": 0.0,
        }
        if "trials" in values:
            small["trials"] = 1
        if values.get("warm_start") is not None:
            small["warm_start"] = {**values["warm_start"], "epochs": 1}
        if values.get("certify") is not None:
            kept = {key: _SAMPLED[key] for key in ("skip", "max", "batch_size", "block_size", "precision", "compile")}
            small["certify"] = {**kept, "n0": 10, "n": 20}
        return small

    def networks(self, values: Mapping[str, Any], around: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """`values` with small networks, weights for them where they are not another stage's, and data that is here.
        `around` are settings that hold besides.
        """
        small = dict(values)
        for key, change in (("classifier", small_classifier), ("denoiser", small_denoiser)):
            if key in values:
                small[key] = _each(values[key], change)
        both = {**(around or {}), **small}
        for key, network in _WEIGHTS_OF.items():
            if isinstance(given := values.get(key), str) and Reference.read(given) is None:
                small[key] = self.weights(network, str(both[network]), str(both.get("objective", "mse")))
        if "surrogates" in values:
            small["surrogates"] = _each(values["surrogates"], lambda text: self.surrogates(text, both))
        if both.get("dataset") == "imagenet" and "dataset" in values:
            small |= {"resize": _PIXELS, "crop": _PIXELS}
        if self.data_root is not None and "dataset" in values:
            small["data_root"] = str(self.data_root)
        return small

    def surrogates(self, text: str, values: Mapping[str, Any]) -> str:
        """Of an ensemble that is not here, two; of one, one."""
        if Reference.read(text) is not None:
            return text
        classifier = str(values["classifier"])
        count = 1 if text.endswith(":1") else 2
        files = [self.weights("classifier", classifier, "", seed=seed) for seed in range(1, count + 1)]
        return ",".join(files)

    def weights(self, kind: str, text: str, objective: str, seed: int = 0) -> str:
        """A file of weights that nobody trained."""
        architecture = Variant.parse(text)
        build = build_classifier if kind == "classifier" else build_denoiser
        card = {"architecture": str(architecture)}
        if kind == "denoiser":
            row = DENOISER_OBJECTIVES[objective.partition(":")[0]]
            card["objective"] = row.starts_from or objective
        file = self.folder / "stand-ins" / f"{re.sub(r'[^A-Za-z0-9_.]', '-', str(architecture))}-{seed}.safetensors"
        save_weights(file, initialised(lambda: build(architecture), seed), card)
        return str(file)


def smaller(plan: Plan) -> Plan:
    """The smoke test of `plan`: its stages, all in `<out>/smoke`.

    Of the numbers in a `for` the first two are tried, of the names all; what needs others is left out. Raises RaysmoothError
    where nothing would be left of a stage, and for what could not be carried out in full even if the data were here.
    """
    folder = plan.out / FOLDER
    refuse_impossible(plan, Known(), data=False)
    jobs = _fewer(plan.jobs)
    for stage in dict.fromkeys(job.stage for job in plan.jobs):
        if not any(job.stage == stage for job in jobs):
            raise RaysmoothError(
                f"--smoke: nothing is left of stage {stage}: let it take what the first values of 'for' give"
            )
    small = _Small(folder, _data_root(plan, folder))
    return replace(plan, out=folder, jobs=[small.job(job) for job in jobs], smoke=True)


def _fewer(jobs: Sequence[Job]) -> list[Job]:
    tried: dict[tuple[str, str], list[Any]] = {}
    kept: dict[str, Job] = {}
    for job in jobs:
        if job.row.keeps_sigma and isinstance(job.values.get("sigma"), list):
            job = replace(job, values={**job.values, "sigma": job.values["sigma"][:_MOST]})
        numbers = {key: value for key, value in job.variables.items() if isinstance(value, int | float)}
        most = _MOST_OF_SWEEP if job.kind == "sweep" else _MOST
        seen = {key: tried.setdefault((job.stage, key), []) for key in numbers}
        if any(value not in seen[key] and len(seen[key]) >= most for key, value in numbers.items()):
            continue
        if all(name in kept for name in job.needs):
            for key, value in numbers.items():
                if value not in seen[key]:
                    seen[key].append(value)
            kept[job.name] = job
    return list(kept.values())


def _data_root(plan: Plan, folder: Path) -> Path | None:
    """Where generated images are, if the data set is not here; None to leave it."""
    settings = plan.settings.data if plan.settings is not None else plan.jobs[0].values["settings"]
    given = next((job.values for job in plan.jobs if "dataset" in job.values), settings)
    name, root = str(given["dataset"]), given.get("data_root")
    if DATASETS[name].layout is None:
        return None
    try:
        for split in DATASETS[name].splits:
            open_dataset(name, root, split)
    except RaysmoothError:
        return generated(name, folder / "data")
    return None


def _first_surrogates(values: dict[str, Any]) -> dict[str, Any]:
    """References to more of an ensemble than there is of it now."""

    def clamped(key: str, found: Reference) -> str:
        return str(replace(found, first=min(found.first, _MOST_ROWS)) if found.first is not None else found)

    return dict(replaced(values, clamped))


def _each(value: Any, change: Any) -> Any:
    """`change` of a text, or of each in a list; references are left."""
    if isinstance(value, list):
        return [_each(inner, change) for inner in value]
    return value if not isinstance(value, str) or Reference.read(value) is not None else change(value)
