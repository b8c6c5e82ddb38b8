"""Warnings of the Python API: they name the line of the user's code that called it, not one of ours."""

import sys
import warnings

from raysmooth.common.spelling import as_keywords

_PACKAGE = __name__.partition(".")[0]


def warn_caller(message: str) -> None:
    """A Python warning at the line that called raysmooth, from however deep in it; flags in it become keywords."""
    # Python 3.12 has `skip_file_prefixes`; here the number of calls between is counted.
    frame, level, calls = sys._getframe(), 1, 1
    while (outer := frame.f_back) is not None:
        calls += 1
        if frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
            level = calls
        frame = outer
    warnings.warn(as_keywords(message), stacklevel=level)
