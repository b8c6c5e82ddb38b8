"""The numbers of a host stream, computed with numpy alone."""

import numpy as np


def normals(seed: int, role: int, image_id: int, block: int, count: int) -> np.ndarray:
    """The first `count` standard normals, float64: 24 bits of each word of numpy's Mersenne Twister, in groups of
    sixteen: eight become radii, eight angles (Box and Muller 1958).
    """
    twister = np.random.MT19937(np.random.SeedSequence(seed, spawn_key=(role, image_id, block)))
    twister.random_raw(1)  # numpy first returns the last word of the key; torch twists first
    sixteens = -(-count // 16)
    uniform = (twister.random_raw(16 * sixteens) % 2**24 / 2**24).reshape(sixteens, 2, 8)
    radius, angle = np.sqrt(-2 * np.log(1 - uniform[:, 0])), 2 * np.pi * uniform[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:count]


def uniforms(seed: int, role: int, image_id: int, block: int, count: int) -> np.ndarray:
    """The first `count` numbers uniform on [-1, 1), float64: 24 bits of each word of numpy's Mersenne Twister."""
    twister = np.random.MT19937(np.random.SeedSequence(seed, spawn_key=(role, image_id, block)))
    twister.random_raw(1)
    return twister.random_raw(count) % 2**24 / 2**23 - 1
