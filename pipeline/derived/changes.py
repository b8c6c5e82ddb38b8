"""What may be asked of certificates that are recomputed from stored counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import NOISE_BOUNDS, REJECTION, RUNNER_UP
from raysmooth.pipeline.queries.label_rules import read_label_rule


@dataclass(frozen=True)
class Changes:
    """The requested changes; None keeps the source run's value. Raises RaysmoothError for impossible values."""

    alpha: float | None = None
    n: int | None = None
    noise_bound: str | None = None
    familywise: float | None = None
    norm: str | None = None
    alpha_share: float | None = None
    rejection: str | None = None
    label_rule: str | None = None
    accepted: str | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        for flag, share in (("alpha", self.alpha), ("familywise", self.familywise)):
            if share is not None and not 0 < share < 1:
                raise RaysmoothError(f"--{flag} {share:g}: write a probability between 0 and 1, such as 0.001")
        if self.alpha is not None and self.familywise is not None:
            raise RaysmoothError("--familywise sets alpha to DELTA / images: leave --alpha out")
        if self.label_rule is not None:
            read_label_rule(self.label_rule)
        if self.n is not None and self.n < 1:
            raise RaysmoothError(f"--n {self.n}: write 1 or more")
        if self.top_k is not None and self.top_k < 1:
            raise RaysmoothError(f"--top-k {self.top_k}: write 1 or more, such as 5")
        if self.noise_bound is not None:
            NOISE_BOUNDS[self.noise_bound]
        if self.rejection not in (None, "on", "off"):
            raise RaysmoothError(f"--rejection {self.rejection}: write on or off")
        if self.rejection == "off" and self.noise_bound == REJECTION:
            raise RaysmoothError(
                f"--noise-bound {REJECTION} counts rejected draws, and --rejection off has none: leave one of them "
                f"out, or write --noise-bound {RUNNER_UP}"
            )

    @property
    def labels(self) -> str | None:
        """The flag of a change to the labels that the answers of vision APIs have; None without such a change."""
        return "--label-rule" if self.label_rule is not None else "--accepted" if self.accepted is not None else None

    def refuse_none(self) -> None:
        """Raises RaysmoothError if nothing would change."""
        if all(value is None or (name, value) == ("rejection", "on") for name, value in vars(self).items()):
            raise RaysmoothError(
                "recertify needs a change: write --alpha 0.01, --n 1000, --noise-bound runner-up, --familywise 0.05, "
                "--norm linf, --rejection off, --top-k 5, --label-rule leaf, --envelope RUN,RUN or --memory, say"
            )


def way_of(
    changes: Changes,
    *,
    runs: str | Sequence[str] | None = None,
    envelope: str | Sequence[str] | None = None,
    worst_sigma: str | Sequence[str] | None = None,
    memory: bool = False,
    data_root: str | None = None,
) -> str | None:
    """The one of --envelope, --worst-sigma and --memory that is asked for; None where each run is only to be changed.
    Arguments are those of `recertify`. Raises RaysmoothError for what contradicts itself, and if nothing is asked.
    """
    asked = {"--envelope": envelope, "--worst-sigma": worst_sigma, "--memory": memory or None}
    ways = [flag for flag, value in asked.items() if value is not None]
    if len(ways) > 1:
        raise RaysmoothError(f"{ways[0]} and {ways[1]} make runs of their own: leave one of them out")
    if data_root is not None and not memory:
        raise RaysmoothError("--data-root is where --memory reads images: leave it out, or write --memory")
    if not ways:
        changes.refuse_none()
        return None
    if memory and changes != Changes():
        flag = next(name for name, value in vars(changes).items() if value is not None).replace("_", "-")
        raise RaysmoothError(
            f"--memory keeps the certificates that runs have: leave --{flag} out, or recertify first and name that run"
        )
    if changes.labels is not None:
        raise RaysmoothError(f"{ways[0]} joins certificates as they are: leave {changes.labels} out, or use it first")
    if changes.top_k is not None:
        raise RaysmoothError(
            f"{ways[0]} certifies one class, by bounds at several levels: leave --top-k out, or write it without "
            f"{ways[0]}, for each run by itself"
        )
    if not memory and runs is not None:
        raise RaysmoothError(f"{ways[0]} names its runs: leave --run out")
    return ways[0]
