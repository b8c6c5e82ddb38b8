"""A run: one setting at one noise level on one index set, and the identity that names it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.base_classifier import BaseClassifierSpec, check_image, load_base_classifier
from raysmooth.actors.noise.families import noise_family
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.replica import Sampling
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.pipeline.certification.sampling_rule import SamplingRule
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage, fingerprint, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.runs.noise_mismatch import Mismatch, describe, find_mismatch
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.settings import SamplingSettings

SCHEME = 5
"""Version of how draws are made and told: to be raised whenever the same settings would give other noise, batches or
counts, or rows other columns.
"""


@dataclass(frozen=True)
class Run:
    """Everything that decides a run's rows, checked and ready to draw, except the kind of device, which the pool
    tells, and what depends on it: `path`, how draws are computed, is None until it is chosen. `image_shape` is
    (C, H, W). `mismatch` decides nothing: it is for the reader.
    """

    procedure: Procedure
    settings: SamplingSettings
    noise: NoiseFamily
    dataset: Dataset
    index_set: IndexSet
    data_fingerprint: str
    base: BaseClassifierSpec
    num_classes: int
    image_shape: tuple[int, ...]
    objective: str | None
    mismatch: Mismatch | None
    path: ComputeConfig | None = None

    @cached_property
    def rule(self) -> SamplingRule:
        return self.procedure.rule(self.settings, self.noise)

    @property
    def is_fixed(self) -> bool:
        """Whether every image gets the same draws."""
        return self.rule.first == self.rule.most

    @property
    def most_draws(self) -> int:
        """What no image exceeds, selection draws included."""
        return getattr(self.settings, "n0", 0) + self.settings.n

    @property
    def draws_per_image(self) -> float:
        """How many draws an image needs: exactly, or by experience where images stop early."""
        return max(sum(self.rule.first.values()), self.procedure.share(self.settings) * self.most_draws)

    @property
    def blocks(self) -> int:
        """Blocks of draws that may have to be made."""
        return len(self.index_set) * sum(-(-draws // self.settings.block_size) for draws in self.rule.most.values())

    @cached_property
    def plan(self) -> DrawPlan:
        return DrawPlan(self.rule.first, self.settings.block_size, self._path.batch_size)

    def sampling(self, micro_batch: int | None = None) -> Sampling:
        """What replicas must know of it; `micro_batch` is the part of a compute batch that fits their memory."""
        return Sampling(self.base, self._path, self.noise, self.settings.seed, micro_batch)

    @property
    def _path(self) -> ComputeConfig:
        if self.path is None:
            raise AssertionError("a run is drawn only when it is chosen how")
        return self.path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The columns that are equal in all rows of the run."""
        return {
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "index_set": self.index_set.describe(),
            "classifier": self.base.classifier,
            "denoiser": self.base.denoiser,
            "objective": self.objective,
            "classifier_fingerprint": self.base.classifier_fingerprint,
            "denoiser_fingerprint": self.base.denoiser_fingerprint,
            "source": None,
            "noise": self.noise.name,
            "norm": self.noise.norm,
            "sigma": self.noise.scale,
            "sampling": self.procedure.sampling(self.settings),
            **{name: getattr(self.settings, name) for name in self.procedure.decided_by},
            "images": len(self.index_set),
        }

    def identity(self, replica: ReplicaIdentity) -> dict[str, Any]:
        """All that decides the rows, as JSON values."""
        return {**self.identity_but_path(replica), **vars(self._path)}

    def identity_but_path(self, replica: ReplicaIdentity) -> dict[str, Any]:
        """The identity without how draws are computed."""
        return {
            "scheme": SCHEME,
            "procedure": self.procedure.name,
            **{name: value for name, value in self.facts.items() if name != "objective"},
            "data_fingerprint": self.data_fingerprint,
            "preprocess": self.base.preprocess,
            "seed": self.settings.seed,
            "block_size": self.settings.block_size,
            "device": replica.device,
            "threads": self.settings.cpus_per_replica,
            "torch": replica.torch,
            "numpy": replica.numpy,
            # They decode and resize images; the data fingerprint is of what is on disk.
            "pillow": _version("pillow"),
            "torchvision": _version("torchvision"),
            # It tells rules that stop early how many draws are enough.
            **({} if self.is_fixed else {"scipy": _version("scipy")}),
        }

    def manifest(self, replica: ReplicaIdentity, compute: Mapping[str, Any]) -> dict[str, Any]:
        """What `manifest.json` says: the identity and, for the reader, where and with what the run began, and how its
        way to `compute` was found.
        """
        identity = self.identity(replica)
        return {
            "run_id": run_id(identity),
            "identity": identity,
            "settings": self.settings.model_dump(),
            "objective": self.objective,
            "image_shape": list(self.image_shape),
            "num_classes": self.num_classes,
            "compute": dict(compute),
            "warnings": describe([self.mismatch]),
            "framing": {"resize": self.dataset.framing.resize, "crop": self.dataset.framing.crop},
            "versions": {
                name: _version(name) for name in ("raysmooth", "torch", "torchvision", "ray", "numpy", "scipy")
            },
            "git_commit": _git_commit(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def run_id(identity: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of the identity's canonical JSON."""
    return settings_hash(identity)[:16]


def prepare(procedure: Procedure, settings: SamplingSettings) -> list[Run]:
    """The runs of one job, one for each sigma. All that can be refused is refused here, before Ray starts."""
    dataset = open_dataset(settings.dataset, settings.data_root, settings.split, settings.resize, settings.crop)
    index_set = IndexSet(len(dataset), skip=settings.skip, max=settings.max)
    image = _first_readable(dataset, index_set)
    data_fingerprint = fingerprint(dataset, index_set)
    runs = []
    for sigma in settings.sigma:
        noise = noise_family(settings.noise, sigma, getattr(settings, "norm", None), image.numel())
        procedure.refuse(settings, noise)
        weights = settings.denoiser_weights
        spec = BaseClassifierSpec(
            settings.classifier,
            settings.classifier_weights,
            settings.preprocess,
            settings.denoiser,
            weights.replace("{sigma}", f"{sigma:g}") if weights is not None else None,
            import_path=(os.getcwd(),),
        )
        loaded = load_base_classifier(spec, torch.device("cpu"))
        num_classes = check_image(loaded, image)
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
                data_fingerprint,
                loaded.spec,
                num_classes,
                tuple(image.shape),
                objective,
                find_mismatch(loaded, noise),
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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of raysmooth itself, where it runs from a checkout."""
    here = Path(__file__).resolve().parent
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
