"""The roles of draws. Each role has its own random streams."""

from enum import IntEnum


class Role(IntEnum):
    """The purpose of draws. The roles never share a stream: choosing a class and estimating its probability from the
    same draws would void the certificate (Cohen et al. 2019, section 3.2.2).
    """

    SELECTION = 0
    ESTIMATION = 1
