"""The name of a draw that is paid for once."""

import hashlib
from typing import NamedTuple

import numpy as np

from raysmooth.actors.noise.role import Role


class DrawKey(NamedTuple):
    """`image`: SHA-256, in hex, of the image's pixels (`image_digest`), so that an image keeps its answers in whatever
    data set it is. `role` and `draw`, its number within the role from 0 on, name the noise; of Role.REFERENCE there is
    draw 0 alone, the image itself, without noise and without denoiser.

    With a query identity (API, noise, sigma, seed, denoiser, encoding) it names a picture, whatever n is.
    """

    image: str
    role: Role
    draw: int


def image_digest(pixels: np.ndarray) -> str:
    """`DrawKey.image` of an image: `pixels` (C, H, W), pixel units, after --resize and --crop, as float32."""
    return array_digest(np.asarray(pixels, np.float32))


def array_digest(array: np.ndarray) -> str:
    """SHA-256, in hex, of an array's type, shape and numbers, in the order of its axes, whatever the machine."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return hashlib.sha256(f"{array.dtype.name}{array.shape}".encode() + little.tobytes()).hexdigest()
