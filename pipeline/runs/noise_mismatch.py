"""Whether weights were trained for the noise that a run draws: their card tells. What a certificate promises does not
depend on it; how large its radius is does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isclose, isfinite
from typing import Any

from raysmooth.actors.models.base_classifier import NO_DENOISER, Loaded
from raysmooth.actors.noise.streams import NoiseFamily


@dataclass(frozen=True)
class Mismatch:
    """The `part` ("classifier" or "denoiser") whose weights, at `path`, were trained for other noise than the run
    draws. Noises are family names, sigmas their levels in pixel units.
    """

    part: str
    path: str
    trained_noise: str
    trained_sigma: float
    drawn_noise: str
    drawn_sigma: float


def find_mismatch(loaded: Loaded, noise: NoiseFamily) -> Mismatch | None:
    """The mismatch between the base classifier's weights and the `noise` of its run, if there is one.

    Only the part that meets the noise is compared: the denoiser, where there is one. The classifier behind it sees
    denoised images, whatever it was trained on. None for weights trained without noise, and for weights whose card
    does not tell, such as published checkpoints.
    """
    spec = loaded.spec
    if spec.denoiser != NO_DENOISER:
        part, path, card = "denoiser", spec.denoiser_weights, loaded.denoiser_card
    else:
        part, path, card = "classifier", spec.classifier_weights, loaded.classifier_card
    trained = _trained_for(card)
    if trained is None or (trained[0] == noise.name and isclose(trained[1], noise.scale, rel_tol=1e-9)):
        return None
    return Mismatch(part, str(path), *trained, noise.name, noise.scale)


def describe(mismatches: Iterable[Mismatch | None]) -> list[str]:
    """A line for each weights file, however many runs use it."""
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
    """Family and sigma of the noise trained on. Anybody may have written the card: only what makes sense counts."""
    noise, sigma = card.get("noise"), card.get("sigma")
    if not isinstance(noise, str) or isinstance(sigma, bool) or not isinstance(sigma, int | float):
        return None
    return (noise, float(sigma)) if isfinite(sigma) else None


def _noise(family: str, *sigmas: float) -> str:
    # Digits enough to tell apart whatever is compared as different.
    return f"{family} noise of sigma {', '.join(f'{sigma:.12g}' for sigma in sigmas)}"
