"""What a vision API is asked, and what follows from its answers, computed here without raysmooth's own code: the noise
of each draw, its 8-bit pixels, a network's class for them, and the certificate.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, norm

SELECTION, ESTIMATION = 0, 1
"""The numbers of the roles."""


def digest_of(image: np.ndarray) -> bytes:
    """The SHA-256 of an image, float32 (C, H, W), that names its draws."""
    return hashlib.sha256(f"float32{image.shape}".encode() + image.astype("<f4").tobytes()).digest()


def levels_of_draw(image: np.ndarray, seed: int, role: int, draw: int, sigma: float) -> np.ndarray:
    """The uint8 pixels (H, W, C) of a draw with gaussian noise: of the noisy image, clipped, halves to even."""
    words = [int.from_bytes(digest_of(image)[start : start + 4], "big") for start in range(0, 32, 4)]
    key = np.random.SeedSequence(seed, spawn_key=(role, draw, *words))
    noise = sigma * np.random.Generator(np.random.Philox(key)).standard_normal(image.shape)
    noisy = image + noise.astype(np.float32)
    return np.round(255 * np.minimum(np.maximum(noisy, 0), 1)).astype(np.uint8).transpose(1, 2, 0)


@dataclass(frozen=True)
class Certificate:
    prediction: str | None
    radius: float
    p_lower: float
    counted: int


def certificate(
    image: np.ndarray, name: Callable[[np.ndarray], str], sigma: float, n0: int, n: int, alpha: float, seed: int = 0
) -> Certificate:
    """CERTIFY of Cohen et al. 2019 with `name`, from uint8 pixels (H, W, C) to a label, as the base classifier."""
    chosen = Counter(name(levels_of_draw(image, seed, SELECTION, draw, sigma)) for draw in range(n0))
    most = max(chosen.values())
    (top,) = [label for label, count in chosen.items() if count == most]  # a tie would need a rule: other numbers, then
    counted = sum(name(levels_of_draw(image, seed, ESTIMATION, draw, sigma)) == top for draw in range(n))
    p_lower = float(beta.ppf(alpha, counted, n - counted + 1)) if counted else 0.0
    sure = p_lower > 0.5
    return Certificate(top if sure else None, float(sigma * norm.ppf(p_lower)) if sure else 0.0, p_lower, counted)
