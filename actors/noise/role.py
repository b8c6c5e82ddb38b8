"""The roles of draws. Each role has its own random streams."""

from enum import IntEnum


class Role(IntEnum):
    """The purpose of draws. The roles never share a stream: choosing a class, or an image's noise level, and estimating
    a probability from the same draws would void the certificate (Cohen et al. 2019, section 3.2.2).
    """

    SELECTION = 0
    ESTIMATION = 1
    OPTIMISATION = 2
    REFERENCE = 3
    """The image itself, without noise, asked of a vision API once: the answer that certificates are compared with."""


CERTIFYING = (Role.SELECTION, Role.ESTIMATION)
"""The roles whose draws are counted and kept. Draws of the other one choose noise levels, before any of these."""
