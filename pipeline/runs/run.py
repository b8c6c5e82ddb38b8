"""A run: one setting at one noise level on one index set, and the identity that names it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.models.weight_paths import file_sha256
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.pipeline.certification.chosen_bound import ChosenBound
from raysmooth.pipeline.certification.sampling_rule import SamplingRule
from raysmooth.pipeline.data.datasets import Dataset, Example
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.known_images import KnownImages
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.runs.noise_mismatch import Mismatch, describe
from raysmooth.pipeline.runs.procedures import Procedure
from raysmooth.pipeline.runs.settings import SamplingSettings
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.versions import git_commit, package_version

SCHEME = 5
"""Version of how draws are made and recorded. Raise it when the same settings would give other noise, batches or
counts, or when rows get columns that the rows of earlier versions must not lack.
"""


@dataclass(frozen=True)
class Run:
    """Everything that decides a run's rows, checked, except the kind of device, which only the pool knows. `compute`
    depends on the device and is None until it has been chosen. `image_shape` is (C, H, W). `reading` are the user's
    decisions about reading images, which the fingerprint covers. `mismatch`, `assumed`, `unsteady`, `data` and `notes`
    decide no row: they are for the reader, what does not fit, what was taken for granted, why equal counts cannot be
    promised, what the data is and what may be wrong about it. `made_from` is of `network_facts`.
    """

    procedure: Procedure
    settings: SamplingSettings
    noise: NoiseFamily
    dataset: Dataset
    index_set: IndexSet
    images: KnownImages
    base: BaseClassifierSpec
    num_classes: int
    image_shape: tuple[int, ...]
    objective: str | None
    mismatch: Mismatch | None
    compute: ComputeConfig | None = None
    assumed: str | None = None
    unsteady: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made_from: str | None = None

    @cached_property
    def class_names(self) -> dict[int, str]:
        """The names of the classes by label, as far as they have any."""
        return class_names_of(self.data)

    @property
    def has_rejector(self) -> bool:
        return self.base.rejector != NO_REJECTOR

    @property
    def num_labels(self) -> int:
        """The number of labels that a draw can have: 2 K with a rejector, kept and rejected draws of each class."""
        return 2 * self.num_classes if self.has_rejector else self.num_classes

    @property
    def data_fingerprint(self) -> str:
        return self.images.fingerprint

    @cached_property
    def bound(self) -> ChosenBound | None:
        """The bound of its certificates; None for a procedure without any."""
        return None if self.procedure.bound is None else self.procedure.bound(self.settings)

    @cached_property
    def rule(self) -> SamplingRule:
        return self.procedure.rule(self.settings, self.noise)

    @property
    def is_fixed(self) -> bool:
        """Whether every image gets the same draws."""
        return self.rule.first == self.rule.most

    @property
    def most_draws(self) -> int:
        """The most draws of an image, selection included."""
        return getattr(self.settings, "n0", 0) + self.settings.n

    @property
    def draws_per_image(self) -> float:
        """Draws of an image: exact, or from experience if images stop early."""
        return max(sum(self.rule.first.values()), self.procedure.share(self.settings) * self.most_draws)

    @property
    def blocks(self) -> int:
        """The most blocks of draws that the run can need."""
        return len(self.index_set) * sum(-(-draws // self.settings.block_size) for draws in self.rule.most.values())

    @cached_property
    def plan(self) -> DrawPlan:
        return DrawPlan(self.rule.first, self.settings.block_size, self._chosen_compute.batch_size)

    def continued(self, manifest: Mapping[str, Any]) -> "Run":
        """With what its first session wrote to the `manifest`, so that all rows have one objective, and one name for
        each class: a card or a folder may say something else by now.
        """
        return replace(self, objective=manifest.get("objective"), data=manifest.get("data") or self.data)

    def sampling(self, micro_batch: int | None = None) -> Sampling:
        """What replicas need to know to draw; `micro_batch` is the part of a compute batch that fits their memory."""
        return Sampling(self.base, self._chosen_compute, self.noise, self.settings.seed, micro_batch)

    def problem_with(self, example: Example) -> str | None:
        """Why an image cannot be part of this run: another shape than the first image's, or a label that is not one of
        the classifier's classes. None if it can.
        """
        shape, label = example.image.shape, example.label
        if shape != self.image_shape:
            return f"image of shape {shape}, unlike the first's {self.image_shape}: write --resize and --crop"
        if label is not None and not 0 <= label < self.num_classes:
            return f"label {label} is outside the classifier's classes 0..{self.num_classes - 1}"
        return None

    @property
    def _chosen_compute(self) -> ComputeConfig:
        if self.compute is None:
            raise AssertionError("the run's compute configuration has not been chosen yet")
        return self.compute

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The columns that have the same value in all rows of the run."""
        return {
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "index_set": self.index_set.describe(),
            "classifier": self.base.classifier,
            "denoiser": self.base.denoiser,
            "objective": self.objective,
            "classifier_fingerprint": self.base.classifier_fingerprint,
            "denoiser_fingerprint": self.base.denoiser_fingerprint,
            "rejector": self.base.rejector if self.has_rejector else None,
            "rejector_fingerprint": self.base.rejector_fingerprint,
            "source": None,
            "noise": self.noise.name,
            "norm": self.noise.norm,
            "sigma": self.noise.scale,
            "sampling": self.procedure.sampling(self.settings),
            **{name: getattr(self.settings, name) for name, _ in self.procedure.decided_by},
            **({} if self.bound is None else self.bound.facts),
            "images": len(self.index_set),
        }

    def identity(self, replica: ReplicaIdentity) -> dict[str, Any]:
        """All that decides the rows, as JSON values."""
        return {**self.identity_without_compute(replica), **vars(self._chosen_compute)}

    def identity_without_compute(self, replica: ReplicaIdentity) -> dict[str, Any]:
        """The identity without the compute configuration."""
        # A run without a rejector, or with the usual bound, has the id that it had before there were others.
        left_out = {"objective"} if self.has_rejector else {"objective", "rejector", "rejector_fingerprint"}
        if self.bound is not None:
            left_out |= {*self.bound.facts} - {*self.bound.identity}
        return {
            "scheme": SCHEME,
            "procedure": self.procedure.name,
            **{name: value for name, value in self.facts.items() if name not in left_out},
            "data_fingerprint": self.data_fingerprint,
            "preprocess": self.base.preprocess,
            "seed": self.settings.seed,
            "block_size": self.settings.block_size,
            "device": replica.device,
            "threads": self.settings.cpus_per_replica,
            "torch": replica.torch,
            "numpy": replica.numpy,
            # These decode and resize images; the data fingerprint covers only the bytes on disk, and what is asked of
            # them: --resize, --crop and --channels. So `image_shape`, which follows from all of these, is not here.
            "pillow": package_version("pillow"),
            "torchvision": package_version("torchvision"),
            # Rules that stop early compute with it how many draws are enough.
            **({} if self.is_fixed else {"scipy": package_version("scipy")}),
        }

    @property
    def known_identity(self) -> dict[str, Any]:
        """The part of the identity that is known before there is a replica."""
        unknown = ReplicaIdentity("", "", "", "", 0)
        identity = self.identity_without_compute(unknown)
        return {name: value for name, value in identity.items() if name not in vars(unknown)}

    def manifest(self, replica: ReplicaIdentity, compute_choice: Mapping[str, Any]) -> dict[str, Any]:
        """The content of `manifest.json`: the identity and, for the reader, the versions and settings at the start of
        the run and how its compute configuration was chosen.
        """
        identity = self.identity(replica)
        return {
            "run_id": run_id(identity),
            "identity": identity,
            "settings": self.settings.model_dump(),
            "objective": self.objective,
            "weight_files": {
                name: file_sha256(path)
                for name in ("classifier_weights", "denoiser_weights", "rejector_weights")
                if (path := getattr(self.base, name)) is not None
            },
            "made_from": self.made_from,
            "image_shape": list(self.image_shape),
            "num_classes": self.num_classes,
            **({"num_labels": self.num_labels} if self.has_rejector else {}),
            "compute": dict(compute_choice),
            "warnings": [
                *describe([self.mismatch]),
                *([self.unsteady] if self.unsteady is not None else []),
                *self.notes,
            ],
            "assumed": [self.assumed] if self.assumed is not None else [],
            "framing": {"resize": self.dataset.framing.resize, "crop": self.dataset.framing.crop},
            "reading": dict(self.reading),
            "data": dict(self.data),
            "versions": {
                name: package_version(name) for name in ("raysmooth", "torch", "torchvision", "ray", "numpy", "scipy")
            },
            "git_commit": git_commit(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
