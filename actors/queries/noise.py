"""The noise of a query: from numpy's Philox, the same numbers on every machine and behind every device.

Draws have a generator each, so that neither n nor the size of blocks changes what is sent. numpy keeps the numbers of
`Philox`; those of its distributions may change with a release, which a test would find.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from raysmooth.actors.noise.families import Uniform
from raysmooth.actors.noise.streams import NoiseFamily
from raysmooth.actors.queries.draw_key import DrawKey

Sampler = Callable[[np.random.Generator, float, tuple[int, ...]], np.ndarray]
"""From a generator, the family's scale (sigma) and a shape to noise, float64."""

SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "gaussian": lambda generator, scale, shape: generator.normal(0.0, scale, shape),
        "uniform": lambda generator, scale, shape: Uniform(scale).half_width * generator.uniform(-1.0, 1.0, shape),
    }
)
"""How the families of `NOISES` are sampled here, by their names."""


def generator_of(key: DrawKey, seed: int) -> np.random.Generator:
    """The generator of a draw, from the run's seed >= 0, the role, the number of the draw and the image's digest."""
    words = np.frombuffer(bytes.fromhex(key.image), ">u4")
    place = (int(key.role), key.draw, *map(int, words))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=place)))


def noise_of(key: DrawKey, seed: int, noise: NoiseFamily, shape: tuple[int, ...]) -> np.ndarray:
    """The noise of a draw, float32, pixel units."""
    return SAMPLERS[noise.name](generator_of(key, seed), noise.scale, shape).astype(np.float32)
