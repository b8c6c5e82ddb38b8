"""What a command does not take as it finds it: encodings, standard streams, the backend of matplotlib."""

import errno
import os
import sys

from raysmooth.common.streams import UnfailingStream, unfailing


def settle_surroundings() -> None:
    """Called first by the command line. Where the locale is not UTF-8, Python starts again in its UTF-8 mode: file names
    are bytes that Ray, Arrow and our files pass on as UTF-8.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # for Ray's workers too
        if not sys.flags.ignore_environment:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os.environ["MPLBACKEND"] = "agg"  # a notebook's kernel names one that need not be installed here
    for name in ("stdout", "stderr"):
        setattr(sys, name, unfailing(getattr(sys, name)))


def unwritten() -> str | None:
    """Why the results on standard output are not complete, at the end of a command; None if they are, and where the
    reader of a pipe has closed it: it wants no more.
    """
    failure = output_failure()
    if failure is None:
        return None
    # What Python still holds would fail again when it ends, with a message of its own.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stdout.flush()
    return None if failure.errno == errno.EPIPE else f"standard output cannot be written: {failure.strerror}"


def output_failure() -> OSError | None:
    """Why standard output could not be written so far; None if it could."""
    if not isinstance(sys.stdout, UnfailingStream):
        return None
    sys.stdout.flush()
    return sys.stdout.failure
