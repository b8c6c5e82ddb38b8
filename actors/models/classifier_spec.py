"""What names a base classifier: a replica, a run and its manifest need no network for it, and no torch."""

from dataclasses import dataclass

from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.models.rejectors import NO_REJECTOR
from raysmooth.actors.models.weight_paths import members_of
from raysmooth.common.errors import RaysmoothError, counted


@dataclass(frozen=True)
class BaseClassifierSpec:
    """Names and paths from which a worker builds a base classifier; no tensors.

    `import_path`: further folders to search for the user's own `module:callable` and for weights with relative paths.
    `trust_code`: whether the user named the classifier, so that a `module:callable` may be imported. The fingerprints,
    once known, must match the files on every machine. Weights of several paths, as of `members_of`, are those of an
    ensemble; with `consensus` of its classifiers, fewer than all, the first of them decide where they agree.
    `input_size` and `interpolation` are what the user wants of the resizing before the classifier; `resizing`, once
    known, is all of it, as `InputSize.parse` reads it.
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
    consensus: int | None = None
    input_size: int | None = None
    interpolation: str | None = None
    resizing: str | None = None

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The weights path of each classifier. Raises RaysmoothError as `members_of` does, and for a `consensus` of
        fewer than two, or of all of them.
        """
        members = members_of(self.classifier_weights, self.import_path)
        if self.consensus is not None and not 2 <= self.consensus < len(members):
            instead = (
                f"write a number from 2 to {len(members) - 1}, or leave it out"
                if len(members) > 2
                else "it takes three --classifier-weights or more, with commas between them"
            )
            raise RaysmoothError(f"--consensus {self.consensus} of {counted(len(members), 'classifier')}: {instead}")
        return members
