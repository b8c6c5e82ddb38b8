"""A run as a card: what was certified, with which guarantee, and what it rests on. `Cards` is the JSON document, and
`Cards.model_json_schema()` its schema.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from raysmooth.common import __version__
from raysmooth.pipeline.analysis.confidence import share_intervals
from raysmooth.pipeline.analysis.metrics import is_rejecting
from raysmooth.pipeline.analysis.run_facts import UNLABELLED
from raysmooth.pipeline.analysis.top_k import certified_top_k, k_of
from raysmooth.pipeline.export.exported_run import CertifiedAt, ExportedRun, plain, rounded
from raysmooth.pipeline.report.page.run_commands import run_command
from raysmooth.pipeline.report.report_data import DELTA

_NETWORKS = ("classifier", "denoiser", "rejector")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class At(_Part):
    """How many images count as certified at a radius."""

    radius: float = Field(ge=0, description="In the run's norm, of pixels in [0, 1]. An equal radius counts.")
    certified: int = Field(ge=0, description="Images; one that failed counts as not certified.")
    images: int = Field(ge=1)
    share: float = Field(ge=0, le=1, description="certified / images, rounded down.")
    low: float | None = Field(ge=0, le=1, description="Lower end of the 95 % interval, rounded down.")
    high: float | None = Field(ge=0, le=1, description="Upper end, rounded up.")


class Network(_Part):
    name: str
    fingerprint: str | None = Field(description="Hash of its weights as loaded.")
    weights_sha256: str | None = Field(description="SHA-256 of the file of its weights.")


class TopKResults(_Part):
    k: int = Field(ge=1)
    certified: list[At] = Field(description="Images whose label stays among the k most likely classes.")


class Card(_Part):
    """One run. null is unknown, or none."""

    run_id: str
    source: str | None = Field(description="Where its rows come from, if the run did not draw them.")
    command: str | None = Field(description="The command that made it.")
    quantity: str = Field(description="What `certified` counts: 'certified accuracy' where labels are the data's.")
    dataset: str | None
    split: str | None
    index_set: str | None
    images: int = Field(ge=1, description="Finished images.")
    planned_images: int = Field(ge=1)
    failed_images: int = Field(ge=0)
    data_fingerprint: str | None
    classifier: Network
    denoiser: Network | None
    rejector: Network | None
    objective: str | None
    preprocess: str | None
    noise: str | None
    norm: str | None
    sigma: float | None
    sigma_rule: str | None = Field(description="How each image's own noise level was found.")
    seed: int | None
    sampling: str | None
    n0: int | None
    n: int | None
    alpha: float | None = Field(description="Failure probability of each certificate.")
    noise_bound: str | None
    alpha_share: float | None
    mean_draws: float | None
    promise: str
    certified: list[At]
    average_certified_radius: float | None = Field(description="Rounded down.")
    abstained: float | None = Field(description="Share of images, rounded up.")
    undecided: float | None = Field(description="Share of images, rounded up.")
    top_k: TopKResults | None
    assumed: list[str] = Field(description="What was taken for granted.")
    warnings: list[str]
    device: str | None
    versions: dict[str, str | None]
    git_commit: str | None
    started: str | None


class Cards(_Part):
    """Certified runs, for other tools."""

    format: Literal["raysmooth-certificates"] = "raysmooth-certificates"
    version: Literal[1] = 1
    written_by: str
    name: str | None = Field(None, description="What the model is called.")
    radii_are_distances_of: Literal["pixels in [0, 1]"] = "pixels in [0, 1]"
    interval: Literal["95 %"] = "95 %"
    runs: list[Card] = Field(min_length=1)


def cards_of(runs: Sequence[ExportedRun], name: str | None = None) -> Cards:
    return Cards(written_by=f"raysmooth {__version__}", name=name, runs=[card_of(run) for run in runs])


def card_of(run: ExportedRun) -> Card:
    """The card of a run; what its manifest does not know is null."""
    manifest, identity, results = run.manifest, run.identity, run.results
    bound = run.fact("noise_bound") or {"1 - pA": "complement"}.get(str(run.fact("bound")), run.fact("bound"))
    classifier = _network(run, "classifier")
    return Card(
        run_id=run.run_id,
        source=run.fact("source"),
        command=run_command(manifest),
        quantity=run.quantity,
        **{name: run.fact(name) for name in ("dataset", "split", "index_set", "objective", "noise", "norm", "sigma")},
        **{name: run.fact(name) for name in ("sampling", "n0", "n", "alpha")},
        images=run.images,
        planned_images=run.planned,
        failed_images=run.errors,
        **{name: identity.get(name) for name in ("data_fingerprint", "preprocess", "seed", "device")},
        classifier=classifier or Network(name="unknown", fingerprint=None, weights_sha256=None),
        denoiser=_network(run, "denoiser"),
        rejector=_network(run, "rejector") if is_rejecting(run.facts["rejector"]).any() else None,
        sigma_rule=None if run.fact("sigma_rule") == "fixed" else run.fact("sigma_rule"),
        noise_bound=bound,
        alpha_share=run.fact("alpha_share"),
        mean_draws=rounded(run.fact("draws"), up=True),
        promise=run.promise,
        certified=[_at(at) for at in run.certified],
        average_certified_radius=rounded(plain(results["ACR"])),
        abstained=rounded(plain(results["abstain"]), up=True),
        undecided=rounded(plain(results["undecided"]), up=True),
        top_k=_top_k(run),
        assumed=list(manifest.get("assumed") or []),
        warnings=list(manifest.get("warnings") or []),
        versions={
            str(name): None if one is None else str(one) for name, one in (manifest.get("versions") or {}).items()
        },
        git_commit=manifest.get("git_commit"),
        started=manifest.get("started"),
    )


def _network(run: ExportedRun, part: str) -> Network | None:
    name = run.fact(part)
    if name is None or (name == "none" and part != "classifier"):
        return None
    files = run.manifest.get("weight_files") or {}
    return Network(
        name=str(name),
        fingerprint=run.fact(f"{part}_fingerprint"),
        weights_sha256=files.get(f"{part}_weights"),
    )


def _at(at: CertifiedAt) -> At:
    return At(radius=at.radius, certified=at.certified, images=at.images, share=at.share, low=at.low, high=at.high)


def _top_k(run: ExportedRun) -> TopKResults | None:
    k = k_of(run.rows)
    if k is None or run.quantity == UNLABELLED:
        return None
    radii = [at.radius for at in run.certified]
    shares, alpha = certified_top_k(run.rows, radii), run.fact("alpha")
    lows, highs = share_intervals(shares, run.facts["rows"].to_numpy(float), run.facts["alpha"].to_numpy(float), DELTA)
    found = [
        CertifiedAt(
            radius,
            round(float(share) * run.images),
            run.images,
            None if alpha is None else rounded(plain(low)),
            None if alpha is None else rounded(plain(high), up=True),
        )
        for radius, share, low, high in zip(radii, shares, lows, highs, strict=True)
    ]
    return TopKResults(k=k, certified=[_at(at) for at in found])
