"""What names a base classifier: a replica, a run and its manifest need no network for it, and no torch."""

from dataclasses import dataclass

from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.models.rejectors import NO_REJECTOR


@dataclass(frozen=True)
class BaseClassifierSpec:
    """Names and paths from which a worker builds a base classifier; no tensors.

    `import_path`: further folders to search for the user's own `module:callable` and for weights with relative paths.
    `trust_code`: whether the user named the classifier, so that a `module:callable` may be imported. The fingerprints,
    once known, must match the files on every machine.
    """

    classifier: str
    classifier_weights: str | None = None
    preprocess: str | None = None
    denoiser: str = NO_DENOISER
    denoiser_weights: str | None = None
    import_path: tuple[str, ...] = ()
    trust_code: bool = False
    classifier_fingerprint: str | None = None
    denoiser_fingerprint: str | None = None
    rejector: str = NO_REJECTOR
    rejector_weights: str | None = None
    rejector_fingerprint: str | None = None
