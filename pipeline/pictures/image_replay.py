"""What there is to see of one image of one run: its noisy copies, what they become, and what was counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from raysmooth.actors.compute.compute_config import PRECISIONS, ComputeConfig, settle_backend
from raysmooth.actors.compute.fast_network import fast_network
from raysmooth.actors.models.base_classifier import NO_DENOISER, DenoisedClassifier
from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.replica import device_kind
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import Dataset, UnreadableImage
from raysmooth.pipeline.pictures.noise_replay import batch_pieces, first_copies
from raysmooth.pipeline.pictures.stored_run import RoleCounts, StoredRun
from raysmooth.pipeline.runs.run import SCHEME


@dataclass(frozen=True)
class Copies:
    """Noisy copies of an image in the order of their draws, float32 (N, C, H, W) in pixel units, never clipped.

    `role` is that of the draws; `own` says whether they are the run's very own. `denoised` has the same shape, None
    without a denoiser. `answers` are the base classifier's labels (INVALID where it has none), `bare_answers` those
    that it would give without its denoiser.
    """

    role: Role
    own: bool
    noisy: np.ndarray
    denoised: np.ndarray | None
    answers: list[int]
    bare_answers: list[int] | None


@dataclass(frozen=True)
class ReplayedImage:
    """`row` is the certificate row, None where nothing is known. `clean` is float32 (C, H, W), None for an image that
    cannot be read, `clean_answer` the base classifier's label of it without noise. Images that failed before they were
    drawn have no `copies`, no answer and no counts.
    """

    row: Mapping[str, Any]
    clean: np.ndarray | None
    clean_answer: int | None = None
    copies: Copies | None = None
    counts: Mapping[Role, RoleCounts] = field(default_factory=dict)


def replay(
    run: StoredRun,
    row: Mapping[str, Any],
    dataset: Dataset,
    copies: int,
    classifier_weights: str | None = None,
    denoiser_weights: str | None = None,
) -> ReplayedImage:
    """What `run` drew for the image of `row` (None where it is unknown), the first `copies` draws of it made again: of
    estimation, or of selection where it stopped with that; no more than are in block 0.

    They are the run's own where it drew on a CPU, or on this very kind of GPU. Labels are computed in the run's
    precision where this device has it, but in another batch. `dataset` is the run's. Raises RaysmoothError for weights
    that are not, and where the counts are gone.
    """
    image_id, noise = row["image_id"], run.noise
    try:
        clean = dataset.read(image_id).image
    except UnreadableImage:
        return ReplayedImage(row, None)
    counts = run.counts(image_id, _drawn(row))
    if not counts and row["status"] == "ok":
        raise RaysmoothError(
            f"the counts of image {image_id} are not in {run.folder / 'counts'}: fetch the results again, whole"
        )
    if not counts:
        return ReplayedImage(row, clean)

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

    model = run.load(device, classifier_weights, denoiser_weights).model
    path = _path(run, device, copies)
    answers, (clean_answer,) = _answers(model, noisy, path), _answers(model, torch.from_numpy(clean)[None], path)
    denoised = bare_answers = None
    if run.identity["denoiser"] != NO_DENOISER:
        with torch.inference_mode():
            denoised = model.denoiser(noisy).cpu().numpy()
        bare_answers = _answers(DenoisedClassifier(None, model.normalize, model.classifier).eval(), noisy, path)
    seen = Copies(role, own, noisy.cpu().numpy(), denoised, answers, bare_answers)
    return ReplayedImage(row, clean, clean_answer, seen, counts)


def _drawn(row: Mapping[str, Any]) -> dict[Role, int] | None:
    """How many draws the row rests on; None where it does not tell."""
    if row.get("n_used") is None or row.get("draws") is None:
        return None
    return {Role.ESTIMATION: row["n_used"], Role.SELECTION: row["draws"] - row["n_used"]}


def _path(run: StoredRun, device: torch.device, batch_size: int) -> ComputeConfig:
    precision = run.identity["precision"]
    if PRECISIONS[precision].tf32 and device.type == "cpu":
        precision = "float32"
    return ComputeConfig(precision, False, batch_size)


def _answers(model: DenoisedClassifier, batch: torch.Tensor, path: ComputeConfig) -> list[int]:
    device = next((tensor.device for tensor in model.parameters()), batch.device)
    settle_backend(path, device)
    network = fast_network(model, path, device)
    network(torch.zeros_like(batch, device=device))  # its first, as in a replica: it learns from it what logits are
    return network(batch.to(device)).tolist()
