"""One image of one run, replayed: its noisy copies, their denoised versions and predictions, and its counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from raysmooth.actors.compute.compute_config import PRECISIONS, ComputeConfig, settle_backend
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import INVALID, DenoisedClassifier
from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.replica import device_kind
from raysmooth.common.errors import RaysmoothError, named_image
from raysmooth.pipeline.certification.rejected_draws import without_rejection
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage
from raysmooth.pipeline.pictures.noise_replay import batch_pieces, first_copies
from raysmooth.pipeline.report.class_names import names_of_run
from raysmooth.pipeline.runs.base_run import SCHEME
from raysmooth.pipeline.runs.stored_run import RoleCounts, StoredRun


@dataclass(frozen=True)
class Copies:
    """Noisy copies of an image in the order of their draws, float32 (N, C, H, W) in pixel units, never clipped.

    `role` is that of the draws; `own`: whether they equal the run's own draws. `denoised` has the same shape, None
    without a denoiser. `answers` are the base classifier's labels (INVALID where it has none), `bare_answers` its
    labels without the denoiser.
    """

    role: Role
    own: bool
    noisy: np.ndarray
    denoised: np.ndarray | None
    answers: list[int]
    bare_answers: list[int] | None


@dataclass(frozen=True)
class ReplayedImage:
    """`row` is the certificate row, with None for unknown values. `clean` is float32 (C, H, W), None for an unreadable
    image; `clean_answer` is the base classifier's label for it without noise. Images that failed before any draw have
    no `copies`, no answer and no counts. `class_names` are those that the run and the row recorded, by label.
    `num_classes` is K where the run has a rejector: answers and counts K + k are then those of class k, rejected.
    """

    row: Mapping[str, Any]
    clean: np.ndarray | None
    clean_answer: int | None = None
    copies: Copies | None = None
    counts: Mapping[Role, RoleCounts] = field(default_factory=dict)
    class_names: Mapping[int, str] = field(default_factory=dict)
    num_classes: int | None = None

    def kept(self, role: Role) -> np.ndarray:
        """The counts of the draws that were not rejected, int64 (K,)."""
        return self.counts[role].counts[: self.num_classes]

    def rejected(self, role: Role) -> np.ndarray:
        """The counts of the rejected draws by their class, int64 (K,); zeros without a rejector."""
        if self.num_classes is None:
            return np.zeros_like(self.counts[role].counts)
        return self.counts[role].counts[self.num_classes :]


def replay(
    run: StoredRun,
    row: Mapping[str, Any],
    dataset: Dataset,
    copies: int,
    classifier_weights: str | None = None,
    denoiser_weights: str | None = None,
    rejector_weights: str | None = None,
    trust_code: bool = False,
) -> ReplayedImage:
    """The first `copies` draws of `run` for the image of `row` (with None for unknown values), made again: estimation
    draws, or selection draws where it stopped after these; at most those of block 0.

    They equal the run's own if it ran on a CPU, or on the same kind of GPU as here. Labels are computed in the run's
    precision if this device supports it, but in another batch. `dataset` is the run's. Raises RaysmoothError for
    weights other than the run's, if the counts are missing, and for a run whose classifier is a vision API.
    """
    image_id, noise, class_names = row["image_id"], run.noise_of(row), {**run.class_names, **_names_in(row)}
    try:
        clean = dataset.read(image_id).image
    except UnreadableImage:
        return ReplayedImage(row, None, class_names=class_names)
    counts = run.counts(image_id, _draws_used(row))
    if not counts and row["status"] == "ok":
        raise RaysmoothError(
            f"the counts of {named_image(image_id, row.get('file'))} are not in {run.folder.counts}: "
            "copy the whole results folder again"
        )
    if not counts:
        return ReplayedImage(row, clean, class_names=class_names)
    if run.asked_api:
        raise RaysmoothError("the classifier is a vision API, which no picture is sent to again")

    role = max(counts)
    first, kind = counts[role].first, run.identity["device"]
    on_gpu = kind.startswith("cuda")
    device = torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
    pieces = None
    if device.type == "cuda":
        pieces = batch_pieces(run.plan(), run.image_ids(len(dataset)), image_id, role, first)
    copies, seed = min(copies, first), run.identity["seed"]
    noisy = first_copies(clean, noise, device, seed=seed, role=role, image_id=image_id, copies=copies, pieces=pieces)
    own = run.identity["scheme"] == SCHEME and (not on_gpu or device_kind(device) == kind)

    model = run.load(device, classifier_weights, denoiser_weights, rejector_weights, trust_code).model
    config = _compute_config(run, device, copies)
    answers, (clean_answer,) = _answers(model, noisy, config), _answers(model, torch.from_numpy(clean)[None], config)
    denoised = bare_answers = None
    if run.identity["denoiser"] != NO_DENOISER:
        with torch.inference_mode():
            denoised = model.denoiser(noisy).cpu().numpy()
        bare_answers = _answers(DenoisedClassifier(None, model.normalize, model.classifier).eval(), noisy, config)
    replayed = Copies(role, own, noisy.cpu().numpy(), denoised, answers, bare_answers)
    return _with_rejection(ReplayedImage(row, clean, clean_answer, replayed, counts, class_names), run)


def _with_rejection(one: ReplayedImage, run: StoredRun) -> ReplayedImage:
    """The image of a run that may have a rejector; for a row that was recertified without it, as if it had none."""
    if run.identity.get("rejector") is None:
        return one
    classes = run.num_classes
    if one.row.get("rejector") is not None:
        return replace(one, num_classes=classes)

    def kept(answer: int) -> int:
        return answer if answer == INVALID else answer % classes

    copies, answer = one.copies, one.clean_answer
    return replace(
        one,
        clean_answer=None if answer is None else kept(answer),
        copies=None if copies is None else replace(copies, answers=[kept(answer) for answer in copies.answers]),
        counts={role: replace(of, counts=without_rejection(of.counts)) for role, of in one.counts.items()},
    )


def _names_in(row: Mapping[str, Any]) -> dict[int, str]:
    """The names of classes that a row has, which lack it where it is of an earlier version."""
    pairs = ((row.get(column), row.get(f"{column}_name")) for column in ("label", "prediction"))
    return {int(label): name for label, name in pairs if label is not None and name is not None}


def without_copies(run: StoredRun, row: Mapping[str, Any], dataset: Dataset) -> ReplayedImage:
    """The image and its counts, for which the run's networks are not needed. Raises RaysmoothError as `replay` does."""
    names = names_of_run({**run.class_names, **_names_in(row)}, row.get("rejector"))
    try:
        clean = dataset.read(row["image_id"]).image
    except UnreadableImage:
        return ReplayedImage(row, None, class_names=names)
    counts = run.counts(row["image_id"], _draws_used(row))
    return _with_rejection(ReplayedImage(row, clean, counts=counts, class_names=names), run)


def _draws_used(row: Mapping[str, Any]) -> dict[Role, int] | None:
    """The number of draws behind the row, by role; None where it does not record them."""
    if row.get("n_used") is None or row.get("draws") is None:
        return None
    return {Role.ESTIMATION: row["n_used"], Role.SELECTION: row["draws"] - row["n_used"]}


def _compute_config(run: StoredRun, device: torch.device, batch_size: int) -> ComputeConfig:
    precision = run.identity.get("precision") or "float32"
    if PRECISIONS[precision].tf32 and device.type == "cpu":
        precision = "float32"
    return ComputeConfig(precision, False, batch_size)


def _answers(model: DenoisedClassifier, batch: torch.Tensor, config: ComputeConfig) -> list[int]:
    device = next((tensor.device for tensor in model.parameters()), batch.device)
    settle_backend(config, device)
    network = fast_network(model, config, device)
    # The first batch, as in a replica, determines whether outputs are logits.
    network(torch.zeros_like(batch, device=device))
    return network(batch.to(device)).tolist()
