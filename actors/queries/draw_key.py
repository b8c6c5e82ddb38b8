"""The name of a draw that is paid for once."""

from typing import NamedTuple

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
