"""The roles of draws: each role has random streams of its own."""

from enum import IntEnum


class Role(IntEnum):
    """What draws are for. The two roles never share a stream: a class chosen by the draws that then estimate
    its probability would void the certificate (Cohen et al. 2019, section 3.2.2).
    """

    SELECTION = 0
    ESTIMATION = 1
