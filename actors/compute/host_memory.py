"""Memory of a process that computes on a CPU: kept, not given back after every layer."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""glibc's names for what mallopt sets (malloc.h)."""


def keep_memory() -> None:
    """Have glibc keep what the network frees. Left to itself it returns large tensors to the system and is given blank
    pages for the next layer's: half the time of a forward pass. Where there is another C library nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(_TOP_PAD, 1 << 28)
