"""A run of any procedure: one setting at one noise level on one index set, and the identity that names it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.formats.onnx_options import ONNX
from raysmooth.actors.models.networks.input_size import NO_RESIZE
from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.models.weight_paths import file_sha256
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.pipeline.data.datasets import Dataset, Example
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.known_images import KnownImages
from raysmooth.pipeline.data.summary import class_names_of
from raysmooth.pipeline.runs.noise_mismatch import Mismatch, describe
from raysmooth.pipeline.runs.settings import NoisySettings
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.versions import git_commit, package_version

SCHEME = 5
"""Version of how draws are made and recorded. Raise it when the same settings would give other noise, batches or
counts, or when rows get columns that the rows of earlier versions must not lack.
"""


class AnyProcedure(Protocol):
    """What every procedure has: its `name`, the `folder` of its rows under <out>, its kind of `settings`, and `refuse`,
    which raises RaysmoothError for settings that cannot work with a noise.
    """

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> str: ...

    @property
    def settings(self) -> type[NoisySettings]: ...

    @property
    def refuse(self) -> Callable[[Any, NoiseFamily], object]: ...


@dataclass(frozen=True)
class BaseRun(ABC):
    """Everything that decides a run's rows, checked, except the kind of device, which only the pool knows. `compute`
    depends on the device and is None until it has been chosen. `image_shape` is (C, H, W). `reading` are the user's
    decisions about reading images, which the fingerprint covers. `mismatch`, `assumed`, `unsteady`, `data` and `notes`
    decide no row: they are for the reader, what does not fit, what was taken for granted, why equal counts cannot be
    promised, what the data is and what may be wrong about it. `made_from` is of `network_facts`.
    """

    DRAWN: ClassVar[str] = "draw"
    """What one of its draws is called."""

    procedure: AnyProcedure
    settings: NoisySettings
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
    def label(self) -> str:
        """What a progress bar calls it."""
        return f"{self.objective or self.base.denoiser}, sigma {self.noise.scale:g}"

    @property
    def has_rejector(self) -> bool:
        return self.base.rejector != NO_REJECTOR

    @property
    def input_size(self) -> str | None:
        """How images are resized for the classifier, None where they are not."""
        return self.base.resizing if self.base.resizing != NO_RESIZE else None

    @property
    def num_labels(self) -> int:
        """The number of labels that a draw can have: 2 K with a rejector, kept and rejected draws of each class."""
        return 2 * self.num_classes if self.has_rejector else self.num_classes

    @property
    def data_fingerprint(self) -> str:
        return self.images.fingerprint

    def continued(self, manifest: Mapping[str, Any]) -> Self:
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
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The columns that have the same value in all rows of the run."""

    @property
    def _network_facts(self) -> dict[str, Any]:
        """The facts of every procedure: data and networks."""
        return {
            "dataset": self.dataset.name,
            "split": self.dataset.split,
            "index_set": self.index_set.describe(),
            "classifier": self.base.classifier,
            "denoiser": self.base.denoiser,
            "objective": self.objective,
            "classifier_fingerprint": self.base.classifier_fingerprint,
            "denoiser_fingerprint": self.base.denoiser_fingerprint,
        }

    @property
    @abstractmethod
    def draws_per_image(self) -> float:
        """Draws of an image: exact, or from experience if images stop early."""

    @property
    @abstractmethod
    def most_draws(self) -> int:
        """The most draws of an image."""

    @property
    @abstractmethod
    def blocks(self) -> int:
        """The most blocks of draws that the run can need."""

    @property
    @abstractmethod
    def _named_facts(self) -> dict[str, Any]:
        """The facts that are part of the identity."""

    @property
    def _drawn_in(self) -> dict[str, Any]:
        """What else decides which draws are made."""
        return {}

    @property
    def _has_onnx(self) -> bool:
        """Whether onnxruntime computes one of its networks."""
        return ONNX in (name.partition(":")[0] for name in (self.base.classifier, self.base.denoiser))

    @property
    def _is_hugging_face(self) -> bool:
        """Whether transformers computes its classifier."""
        return self.base.classifier.partition(":")[0] == "hf"

    @property
    @abstractmethod
    def _needs_scipy(self) -> bool:
        """Whether its rows follow from SciPy's functions, beyond those of its counts."""

    def identity(self, replica: ReplicaIdentity) -> dict[str, Any]:
        """All that decides the rows, as JSON values."""
        return {**self.identity_without_compute(replica), **vars(self._chosen_compute)}

    def identity_without_compute(self, replica: ReplicaIdentity) -> dict[str, Any]:
        """The identity without the compute configuration."""
        return {
            "scheme": SCHEME,
            "procedure": self.procedure.name,
            **self._named_facts,
            "data_fingerprint": self.data_fingerprint,
            "preprocess": self.base.preprocess,
            **({} if self.input_size is None else {"input_size": self.input_size}),
            "seed": self.settings.seed,
            **self._drawn_in,
            "device": replica.device,
            "threads": self.settings.cpus_per_replica,
            "torch": replica.torch,
            "numpy": replica.numpy,
            # These decode and resize images; the data fingerprint covers only the bytes on disk, and what is asked of
            # them: --resize, --crop and --channels. So `image_shape`, which follows from all of these, is not here.
            "pillow": package_version("pillow"),
            "torchvision": package_version("torchvision"),
            **({"scipy": package_version("scipy")} if self._needs_scipy else {}),
            **({"onnxruntime": _onnxruntime()} if self._has_onnx else {}),
            # Its code is the network of a folder, and may change with its version.
            **({"transformers": package_version("transformers")} if self._is_hugging_face else {}),
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


def _onnxruntime() -> str | None:
    """Its version, under either of its names."""
    return package_version("onnxruntime-gpu") or package_version("onnxruntime")
