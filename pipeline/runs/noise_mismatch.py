"""Whether the weights, according to their card, were trained for the noise of the run, and a rejector for its networks.
A certificate is valid either way, but its radius suffers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isclose, isfinite
from typing import TYPE_CHECKING, Any

from raysmooth.actors.models.denoisers import NO_DENOISER
from raysmooth.actors.models.ensemble_cards import member_cards
from raysmooth.actors.noise.streams import NoiseFamily

if TYPE_CHECKING:
    from raysmooth.actors.models.loading import Loaded


@dataclass(frozen=True)
class Mismatch:
    """The `part` ("classifier", "denoiser" or "rejector") whose weights, at `path`, were trained for other noise than
    the run draws. Noises are family names, sigmas their levels in pixel units.
    """

    part: str
    path: str
    trained_noise: str
    trained_sigma: float
    drawn_noise: str
    drawn_sigma: float


def find_mismatch(loaded: "Loaded", noise: NoiseFamily) -> Mismatch | None:
    """The first of `find_mismatches`, or None."""
    return next(iter(find_mismatches(loaded, noise)), None)


def find_mismatches(loaded: "Loaded", noise: NoiseFamily) -> list[Mismatch]:
    """The mismatches between the base classifier's weights and the `noise` of its run: at most one for each file.

    Only the part that sees the noise is compared: the denoiser if there is one, since the classifier behind it sees
    denoised images, whatever it was trained on. None for weights trained without noise, and for weights whose card
    names none, such as published checkpoints.
    """
    spec = loaded.spec
    if spec.denoiser != NO_DENOISER:
        return denoiser_mismatches(spec.denoiser_weights, loaded.denoiser_card, noise)
    return _of_members("classifier", spec.classifier_weights, loaded.classifier_card, noise)


def denoiser_mismatches(path: str | None, card: Mapping[str, Any], noise: NoiseFamily) -> list[Mismatch]:
    """The mismatches between a denoiser's weights at `path`, with this card, and the `noise` of a run."""
    return _of_members("denoiser", path, card, noise)


def _of_members(part: str, path: str | None, card: Mapping[str, Any], noise: NoiseFamily) -> list[Mismatch]:
    """Of all members, where it is an ensemble."""
    found = (_compared(part, own, own_card, noise) for own, own_card in member_cards(path, card))
    return [mismatch for mismatch in found if mismatch is not None]


def rejector_notes(loaded: "Loaded", noise: NoiseFamily) -> list[str]:
    """What a trained rejector was made for other than this run, in a line each: its noise, its classifier, its
    denoiser. Empty without one, and where its card does not say.
    """
    path, card = loaded.spec.rejector_weights, loaded.rejector_card
    found = describe([_compared("rejector", path, card, noise)])
    parents = card.get("parents")
    for part in ("classifier", "denoiser"):
        if not isinstance(parents, Mapping) or part not in parents:
            continue
        theirs = parents[part].get("fingerprint") if isinstance(parents[part], Mapping) else None
        ours = getattr(loaded.spec, f"{part}_fingerprint")
        if theirs != ours:
            how = (
                f"without a {part}" if theirs is None else f"behind a {part}" if ours is None else f"for another {part}"
            )
            found.append(f"rejector weights {path} were trained {how}: their decisions may not suit this run's draws")
    return found


def _compared(part: str, path: str | None, card: Mapping[str, Any], noise: NoiseFamily) -> Mismatch | None:
    trained = _trained_for(card)
    if trained is None or (trained[0] == noise.name and isclose(trained[1], noise.scale, rel_tol=1e-9)):
        return None
    return Mismatch(part, str(path), *trained, noise.name, noise.scale)


def describe(mismatches: Iterable[Mismatch | None]) -> list[str]:
    """One line for each weights file, however many runs use it."""
    drawn: dict[tuple[str, str], dict[float, None]] = {}
    for found in mismatches:
        if found is not None:
            trained = _noise(found.trained_noise, found.trained_sigma)
            weights = f"{found.part} weights {found.path} were trained for {trained}"
            drawn.setdefault((weights, found.drawn_noise), {})[found.drawn_sigma] = None
    return [
        f"{weights}, this {'run' if len(sigmas) == 1 else 'command'} draws {_noise(noise, *sigmas)}"
        for (weights, noise), sigmas in drawn.items()
    ]


def _trained_for(card: Mapping[str, Any]) -> tuple[str, float] | None:
    """Family and sigma of the noise trained on. The card is of unknown origin: None unless it makes sense."""
    noise, sigma = card.get("noise"), card.get("sigma")
    if not isinstance(noise, str) or isinstance(sigma, bool) or not isinstance(sigma, int | float):
        return None
    return (noise, float(sigma)) if isfinite(sigma) else None


def _noise(family: str, *sigmas: float) -> str:
    # Enough digits to distinguish any two levels that `find_mismatch` considers different.
    return f"{family} noise of sigma {', '.join(f'{sigma:.12g}' for sigma in sigmas)}"
