"""The bound on the other classes that a run uses, and the share of alpha for pA: what they are by default, and which
choices go together.
"""

from dataclasses import dataclass

from raysmooth.actors.models.rejectors import NO_REJECTOR, UNANSWERED
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import COMPLEMENT, NOISE_BOUNDS, REJECTION, RUNNER_UP


@dataclass(frozen=True)
class ChosenBound:
    """`name` is an entry of NOISE_BOUNDS. `share` is the fraction of alpha for pA's bound where alpha is split, None
    where pA has all of it.
    """

    name: str = COMPLEMENT
    share: float | None = None

    @classmethod
    def of(cls, name: str | None, share: float | None, rejecting: bool) -> "ChosenBound":
        """What --noise-bound and --alpha-share give, each None by default: the complement or, with a rejector, the
        runner-up, which is never worse than the theorem's bound; with half of alpha for each of two bounds. Raises
        RaysmoothError for an unknown bound, one that needs a rejector, and a share that is none.
        """
        name = name or (RUNNER_UP if rejecting else COMPLEMENT)
        bound = NOISE_BOUNDS[name]
        if name == REJECTION and not rejecting:
            raise RaysmoothError(
                f"--noise-bound {REJECTION} counts rejected draws, and there is no rejector: write --rejector too, or "
                f"--noise-bound {RUNNER_UP}"
            )
        if not bound.splits:
            if share is not None:
                raise RaysmoothError(
                    f"--alpha-share {share:g}: the {name} bound gives all of alpha to pA: leave it out, or write "
                    f"--noise-bound {RUNNER_UP}"
                )
            return cls(name)
        share = bound.share if share is None else share
        if not 0 < share < 1:
            raise RaysmoothError(f"--alpha-share {share:g}: write a share of alpha between 0 and 1, such as 0.5 or 0.9")
        return cls(name, share)

    @classmethod
    def of_run(cls, name: str | None, share: float | None, rejector: str | None) -> "ChosenBound":
        """As `of`, for a run with this `rejector`. Where a vision API leaves draws unanswered, the default stays the
        complement: they are usually few, so that a bound of their own would cost more than it gives.
        """
        if rejector == UNANSWERED and name is None:
            name = COMPLEMENT
        return cls.of(name, share, rejector not in (None, NO_REJECTOR))

    @property
    def part(self) -> float:
        """The fraction of alpha for pA's bound."""
        return 1.0 if self.share is None else self.share

    @property
    def facts(self) -> dict[str, str | float | None]:
        """The columns of every row."""
        return {"noise_bound": self.name, "alpha_share": self.share}

    @property
    def identity(self) -> dict[str, str | float | None]:
        """What it adds to a run's identity: nothing for the bound that runs had before there was a choice."""
        return {} if self.name == COMPLEMENT else self.facts
