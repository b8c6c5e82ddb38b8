"""Memory of a process that computes on a CPU: kept for reuse, not returned to the system after every layer."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""glibc's parameters of mallopt (malloc.h)."""


def keep_memory() -> None:
    """Make glibc keep the memory that networks free. By default it returns large tensors to the system and gets blank
    pages for the next layer, which takes half the time of a forward pass. Does nothing with another C library.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(_TOP_PAD, 1 << 28)
