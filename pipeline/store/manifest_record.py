"""What manifest.json may hold: types and ranges of every key that is read anywhere. Keys of other versions are kept."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from raysmooth.common.limits import MOST_CLASSES
from raysmooth.storage.records import (
    BadRecord,
    Count,
    Name,
    Number,
    PathText,
    Positive,
    Record,
    RunId,
    Seconds,
    Sha256,
    Share,
    shown,
    validated,
)

Pixels = Annotated[int, Field(ge=1, le=1_000_000)]
Classes = Annotated[int, Field(ge=2, le=MOST_CLASSES)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class _Identity(Record):
    """What every kind of run has."""

    dataset: Name
    classifier: Name
    noise: Name
    norm: Name = "l2"
    split: Name | None = None
    index_set: Name | None = None
    denoiser: Name | None = None
    source: Name | None = None


class _DrawnIdentity(_Identity):
    """What every run of certify or predict has, whatever answers its draws."""

    scheme: Count
    procedure: Name
    sigma: Positive
    n: Number
    alpha: Share
    images: Count
    seed: Seed
    block_size: Number
    n0: Number | None = None
    sampling: Name = "fixed"
    split: Name
    denoiser: Name
    denoiser_fingerprint: Name | None = None
    data_fingerprint: Name
    noise_bound: Name | None = None
    alpha_share: Share | None = None


class SampledIdentity(_DrawnIdentity):
    """A run of certify or predict. (Schemes before 5 lack some keys.)"""

    classifier_fingerprint: Name | None = None
    rejector: Name | None = None
    rejector_fingerprint: Name | None = None
    preprocess: Name
    input_size: Name | None = None
    device: Name
    threads: Number
    batch_size: Number | None = None
    precision: Name | None = None
    compiled: bool | None = None
    sigma_rule: Name | None = None
    sigmas_run: RunId | None = None
    top_k: Number | None = None


class ApiIdentity(_DrawnIdentity):
    """A run of certify or predict whose classifier is a vision API: neither a device nor a library decides anything.
    `query_identity` and `reference_identity` name query logs below the same folder of results.
    """

    classifier_fingerprint: Sha256
    rejector: Name
    query_identity: RunId
    reference_identity: RunId | None = None
    reference: bool
    label_rule: dict[str, Any]
    accepted: dict[str, Any] | None = None


class RecertifiedIdentity(SampledIdentity):
    """A run that was recertified from the counts of `source_run`."""

    source_run: RunId
    noise_bound: Name
    familywise: Share | None = None
    rejection: Name | None = None


class RecertifiedApiIdentity(ApiIdentity):
    """A run that was recertified from the counts, or the answers, of `source_run`, whose classifier is a vision API."""

    source_run: RunId
    noise_bound: Name
    familywise: Share | None = None
    rejection: Name | None = None


class _JoinedIdentity(_Identity):
    """A run whose rows follow from the rows or counts of others; null is unknown, or differs between them."""

    scheme: Count
    procedure: Name
    source: Name
    sigma: Positive | None = None
    sigma_rule: Name | None = None
    sampling: Name | None = None
    n0: Number | None = None
    n: Number | None = None
    alpha: Share | None = None
    images: Count | None = None
    classifier_fingerprint: Name | None = None
    denoiser_fingerprint: Name | None = None
    rejector: Name | None = None
    rejector_fingerprint: Name | None = None
    noise_bound: Name | None = None
    alpha_share: Share | None = None
    data_fingerprint: Name | None = None


class EnvelopeIdentity(_JoinedIdentity):
    """A run that joins the bounds of `sources`, which differ in sigma."""

    sources: Annotated[list[RunId], Field(min_length=2, max_length=1000)]
    alpha: Share
    sigma_rule: Name


class MemoryIdentity(_JoinedIdentity):
    """A run whose rows are those of `source_run`, adjusted in their order so that no two classes overlap."""

    source_run: RunId


class SearchIdentity(_Identity):
    """A run of optimize-sigma, whose images begin at `sigma`. `batch_size`: draws of one forward pass."""

    scheme: Count
    procedure: Name
    sigma: Positive
    search: Name
    images: Count
    seed: Seed
    split: Name
    denoiser: Name
    classifier_fingerprint: Name | None = None
    denoiser_fingerprint: Name | None = None
    data_fingerprint: Name
    preprocess: Name
    input_size: Name | None = None
    device: Name
    threads: Number
    batch_size: Number
    precision: Name | None = None
    compiled: bool | None = None


class ImportedIdentity(_Identity):
    """A run that was imported from another tool's log; null is unknown."""

    sha256: Sha256
    sigma: Positive | None = None
    sigma_rule: Name | None = None
    n0: Number | None = None
    n: Number | None = None
    alpha: Share | None = None
    images: Count | None = None


class OtherIdentity(Record):
    """A run of a procedure that this version does not know."""

    procedure: Name


_DERIVED: Mapping[str, type[Record]] = {
    "recertify": RecertifiedIdentity,
    "envelope": EnvelopeIdentity,
    "memory": MemoryIdentity,
}
"""By the procedures of runs whose rows were not sampled by them."""


class FramingRecord(Record):
    resize: Pixels | None = None
    crop: Pixels | None = None


class SettingsRecord(Record):
    """The settings of the run's first session, as far as anything is made of them again."""

    data_root: PathText | None = None
    classifier_weights: PathText | None = None
    denoiser_weights: PathText | None = None
    rejector_weights: PathText | None = None
    split: Name | None = None
    start: Count | None = None
    skip: Number | None = None
    max: Number | None = None


class ImportedRecord(Record):
    """What the importing command recorded of the log."""

    file: PathText
    sha256: Sha256
    rows: Count | None = None


class ManifestRecord(Record):
    """`identity` is checked by `identity_record`."""

    run_id: RunId | None = None
    settings: SettingsRecord | None = None
    objective: Name | None = None
    image_shape: Annotated[list[Pixels], Field(min_length=3, max_length=3)] | None = None
    num_classes: Classes | None = None
    num_labels: Annotated[int, Field(ge=2, le=2 * MOST_CLASSES)] | None = None
    compute: dict[str, Any] | None = None
    warnings: list[str] | None = None
    assumed: list[str] | None = None
    framing: FramingRecord | None = None
    weight_files: dict[str, Sha256 | None] | None = None
    made_from: Sha256 | None = None
    versions: dict[str, Any] | None = None
    git_commit: Name | None = None
    started: Name | None = None
    micro_batch: Number | None = None
    source_run: RunId | None = None
    imported: ImportedRecord | None = None
    seconds: Seconds | None = None


def check_manifest(values: Mapping[str, Any], where: str) -> None:
    """Raises BadRecord, naming `where` and the key, for a manifest with a value that none can have."""
    validated(ManifestRecord, values, where)
    if "identity" in values:
        identity = values["identity"]
        if not isinstance(identity, Mapping):
            validated(Record, identity, f"{where}: identity")
        validated(_kind(identity), identity, f"{where}: identity")
        _refuse_other_labels(values, identity, where)


def _refuse_other_labels(values: Mapping[str, Any], identity: Mapping[str, Any], where: str) -> None:
    """The number of labels follows from that of classes: a run with a rejector has kept and rejected ones of each."""
    found, classes = values.get("num_labels"), values.get("num_classes")
    expected = 2 * classes if classes is not None and identity.get("rejector") is not None else classes
    if found is not None and found != expected:
        raise BadRecord(
            f"{where}: num_labels is {shown(found)}, expected {shown(expected)}, by its classes and rejector"
        )


def _kind(identity: Mapping[str, Any]) -> type[Record]:
    if "import" in identity:
        return ImportedIdentity
    procedure = identity.get("procedure")
    if procedure == "recertify" and "query_identity" in identity:
        return RecertifiedApiIdentity
    if isinstance(procedure, str) and procedure in _DERIVED:
        return _DERIVED[procedure]
    if procedure == "optimize-sigma":
        return SearchIdentity
    if procedure in ("certify", "predict") and "query_identity" in identity:
        return ApiIdentity
    return SampledIdentity if procedure in (None, "certify", "predict") else OtherIdentity
