"""What a command does not take as it finds it: encodings, standard streams, the backend of matplotlib."""

import errno
import os
import sys

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.streams import output_failure, unfailing


def settle_surroundings() -> None:
    """Called first by the command line. Where the locale is not UTF-8, Python starts again in its UTF-8 mode: names of
    files are bytes that Ray, Arrow and our files pass on as UTF-8.
    """
    for number in range(3):  # a closed one would be given to the next file that is opened, here or by Ray
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # for Ray's workers too
        if not sys.flags.ignore_environment:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    os.environ["MPLBACKEND"] = "agg"  # a notebook's kernel names one that need not be installed here
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)  # None where it was closed, with which Ray does not start
        setattr(sys, name, unfailing(open(os.devnull, "w") if stream is None else stream))  # noqa: SIM115


def refuse_lost_folder() -> None:
    """Raises RaysmoothError where the current folder was removed, or cannot be entered: Ray's workers start there."""
    try:
        os.getcwd()
    except OSError as error:
        raise RaysmoothError(f"the current folder is gone ({error.strerror}): change to another one") from None


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
