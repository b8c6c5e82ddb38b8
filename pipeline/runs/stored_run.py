"""A run on disk, opened for reading: its data, networks, noise and counts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.models.networks.input_size import NO_RESIZE
from raysmooth.actors.models.own_callable import refused_code
from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.models.weight_paths import file_sha256, members_of, path_at
from raysmooth.actors.noise.families import noise_family
from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.datasets import Dataset, fingerprint, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.pipeline.data.reading import Reading
from raysmooth.pipeline.runs.apis.stored_names import stored_names
from raysmooth.pipeline.runs.draw_plan import DrawPlan
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.count_checks import CountLimits
from raysmooth.pipeline.store.manifest import ManifestError, RunFolder, read_manifest
from raysmooth.pipeline.store.stored_counts import read_blocks
from raysmooth.storage.location import Where
from raysmooth.storage.object_store import notify
from raysmooth.storage.paths import refuse_no_path
from raysmooth.storage.records import shown_path
from raysmooth.storage.store_urls import is_url

if TYPE_CHECKING:
    import torch

    from raysmooth.actors.models.loading import Loaded


@dataclass(frozen=True)
class RoleCounts:
    """The counts of one image in one role: `counts` int64 (num_labels,), the number of `invalid` draws without an
    answer, and `first`, the draws of block 0.
    """

    counts: np.ndarray
    invalid: int
    first: int


@dataclass(frozen=True)
class StoredRun:
    """`folder` has its files; `identity` and `settings` are the manifest's. Nothing is written. `named` are the files
    outside `folder` that the user has been shown, each with what it holds: each is named once.
    """

    run_id: str
    folder: RunFolder
    identity: Mapping[str, Any]
    settings: Mapping[str, Any]
    framing: Mapping[str, int | None]
    num_classes: int
    reading: Mapping[str, Any]
    class_names: Mapping[int, str]
    weight_files: Mapping[str, str | None] = field(default_factory=dict)
    named: set[tuple[str, str]] = field(default_factory=set, compare=False)

    @classmethod
    def read(cls, out: Where, run_id: str, named: set[tuple[str, str]] | None = None) -> "StoredRun":
        """Raises RaysmoothError where the run has left no manifest in `out`. Runs may share `named`."""
        run, keys = RunFolder.of(out, run_id), ("identity", "settings", "framing", "num_classes")
        try:
            manifest = read_manifest(run, *keys)
        except ManifestError as error:
            if not error.is_missing:
                raise RaysmoothError(f"{error}: fetch the folder of results again") from None
            raise RaysmoothError(
                f"run {run_id} has no {run.manifest}: without it nothing can be drawn again; copy the whole folder of "
                "results, runs/ too"
            ) from None
        if manifest["num_classes"] is None or manifest.procedure not in PROCEDURES:
            raise RaysmoothError(f"run {run_id} was not drawn, so that there is no noise to show: choose another --run")
        return cls(
            run_id,
            run,
            manifest.identity,
            manifest["settings"] or {},
            manifest["framing"] or {},
            manifest["num_classes"],
            manifest.get("reading", {}),
            stored_names(manifest, out),
            manifest.get("weight_files") or {},
            set() if named is None else named,
        )

    @property
    def asked_api(self) -> bool:
        """Whether its classifier is a vision API: its draws are in the query log, and none is made again."""
        return "query_identity" in self.identity

    @property
    def noise(self) -> NoiseFamily:
        return noise_family(self.identity["noise"], self.identity["sigma"])

    def noise_of(self, row: Mapping[str, Any]) -> NoiseFamily:
        """The noise of the draws behind a row, whose image may have its own level."""
        level = row.get("image_sigma")
        return self.noise if level is None else self.noise.at(level)

    def refuse_code(self, trust_code: bool) -> None:
        """Raises RaysmoothError for a classifier that is code, unless that may be imported."""
        architecture = Variant.parse(self.identity["classifier"])
        if architecture.is_own and not trust_code:
            raise refused_code(architecture)

    def open_dataset(self, data_root: str | None = None) -> Dataset:
        """The run's data set, at `data_root` if it has moved. Raises RaysmoothError if it is not the data that the run
        certified: by its fingerprint, which depends on every image and label in the run's index set.
        """
        identity = self.identity
        root = self.settings.get("data_root") if data_root is None else data_root
        if data_root is None and root is not None:
            self._say_outside("data", root)
        try:
            reading = Reading.from_record(self.reading, self.framing)
        except RaysmoothError as error:
            raise RaysmoothError(f"{self.folder.manifest}: {error}") from None
        dataset = open_dataset(identity["dataset"], root, identity["split"], **vars(reading))
        index_set = self._index_set(len(dataset))
        if fingerprint(dataset, index_set) != identity["data_fingerprint"]:
            raise RaysmoothError(
                f"{dataset.name}{'' if root is None else f' in {root}'} is not the data that run {self.run_id} "
                "certified (an image or a label has changed, or it is another data set): write the --data-root of the "
                "original data"
            )
        return dataset

    def load(
        self,
        device: "torch.device",
        classifier_weights: str | None = None,
        denoiser_weights: str | None = None,
        rejector_weights: str | None = None,
        trust_code: bool = False,
    ) -> "Loaded":
        """The run's base classifier, from other paths if its weights have moved. Raises RaysmoothError for weights
        other than the run's, and without `trust_code` for a classifier that is code.
        """
        from raysmooth.actors.models.loading import load_base_classifier  # it loads torch

        self.refuse_code(trust_code)
        identity = self.identity
        rejector = identity.get("rejector") or NO_REJECTOR
        spec = BaseClassifierSpec(
            identity["classifier"],
            self._weights("classifier_weights", classifier_weights),
            identity["preprocess"],
            identity["denoiser"],
            self._weights("denoiser_weights", denoiser_weights) if identity["denoiser"] != NO_DENOISER else None,
            import_path=(os.getcwd(),),
            trust_code=trust_code,
            classifier_fingerprint=identity.get("classifier_fingerprint"),
            denoiser_fingerprint=identity.get("denoiser_fingerprint"),
            rejector=rejector,
            rejector_weights=self._weights("rejector_weights", rejector_weights) if rejector != NO_REJECTOR else None,
            rejector_fingerprint=identity.get("rejector_fingerprint"),
            resizing=identity.get("input_size") or NO_RESIZE,
        )
        return load_base_classifier(spec, device)

    def _weights(self, name: str, given: str | None) -> str | None:
        """The path of weights: that which the user gave, or the manifest's. Raises RaysmoothError, before anything in
        it is read, for a file at the manifest's path that is not the one that the run read.
        """
        path = given or self.settings.get(name)
        if path is None:
            return None
        path = path_at(path, self.identity["sigma"])
        if given is not None:
            return path
        what = name.replace("_", " ")
        for member in members_of(path):
            self._say_outside(what, member)
        known = self.weight_files.get(name)
        if known is not None and (found := file_sha256(path)) is not None and found != known:
            raise RaysmoothError(
                f"{shown_path(path)} is not the file of the {what} that run {self.run_id} read: write "
                f"--{name.replace('_', '-')} with the path of the original"
            )
        return path

    def _say_outside(self, what: str, path: str) -> None:
        """Name what the manifest makes this process read: the manifest may be another person's."""
        refuse_no_path(path)
        results, place = str(self.folder.out), path if is_url(path) else os.path.realpath(path)
        if not self.folder.out.is_local or not Path(place).is_relative_to(os.path.realpath(results)):
            if (what, place) not in self.named:
                notify(f"run {self.run_id}: its {what} are read from {shown_path(path)}, as its manifest says")
            self.named.add((what, place))

    def counts(self, image_id: int, most: Mapping[Role, int] | None = None) -> dict[Role, RoleCounts]:
        """The run's counts of the image, for each role with draws: those of whole blocks in their order, until there
        are `most` draws. Raises RaysmoothError as `read_blocks` does.
        """
        limits = CountLimits.of(self.identity, self.num_classes)
        rows = read_blocks(self.folder, [image_id], limits).sort_by("block").to_pylist()
        found = {}
        for role in CERTIFYING:
            blocks = [row for row in rows if row["role"] == role.name.lower()]
            counts, invalid, draws = np.zeros(limits.num_labels, np.int64), 0, 0
            for block in blocks:
                if most is None or draws < most[role]:
                    counts[np.array(block["labels"], int)] += np.array(block["counts"], int)
                    invalid += block["invalid"]
                    draws += block["draws"]
            if draws:
                found[role] = RoleCounts(counts, invalid, blocks[0]["draws"])
        return found

    def plan(self) -> DrawPlan:
        """How the run divided its first round into units and batches."""
        procedure = PROCEDURES[self.identity["procedure"]]
        known = {name: value for name, value in self.settings.items() if name in procedure.settings.model_fields}
        rule = procedure.rule(checked(procedure.settings, known), self.noise)
        return DrawPlan(rule.first, self.identity["block_size"], self.identity["batch_size"])

    def image_ids(self, length: int) -> range:
        """The images of the run in a data set of `length` images."""
        return self._index_set(length).ids

    def _index_set(self, length: int) -> IndexSet:
        # Manifests of earlier versions have no start.
        start, skip = self.settings.get("start") or 0, self.settings.get("skip") or 1
        return IndexSet(length, skip=skip, max=self.settings.get("max"), start=start)
