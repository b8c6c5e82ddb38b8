"""Entry point of the command line: `raysmooth`, or `python -m raysmooth`."""

import sys

from raysmooth.common.errors import RaysmoothError, one_line, printable
from raysmooth.signals import exit_code, handled_as_interrupts
from raysmooth.surroundings import refuse_lost_folder, settle_surroundings, unwritten

INTERRUPTED = 130
"""Typer's exit code for Ctrl-C."""

_RESUME = ("certify", "predict", "optimize-sigma", "train", "sweep", "run", "demo")
"""The commands that leave finished work, with which they go on the next time."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 at least half of a run's images, or all trials, failed, 2 refused or
    stopped, 128 plus the number of a signal that interrupted it: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
    """
    settle_surroundings()
    try:
        refuse_lost_folder()
        with handled_as_interrupts():
            # Takes a second, in which a signal may come. Importing anything of `commands` registers every command.
            from raysmooth.commands.app import AlreadyReported, app

            app()
    except RaysmoothError as refusal:
        _refuse(str(refusal))
    except OSError as error:  # a file that this user cannot read, too many open files, a full disk
        where = "" if error.filename is None else f"{printable(str(error.filename))}: "
        _refuse(f"{where}{error.strerror or one_line(error)}")
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            if not isinstance(end, AlreadyReported):
                _interrupted()
            end.code = exit_code()
        if (problem := unwritten()) is not None and not end.code:
            _refuse(problem)
        raise


def _interrupted() -> None:
    resumes = any(word in _RESUME for word in sys.argv[1:2]) and "--dry-run" not in sys.argv
    _say(f"interrupted{'; finished work is on disk, rerun the same command to resume' if resumes else ''}")
    sys.exit(exit_code())


def _refuse(reason: str) -> None:
    _say(reason)
    unwritten()
    sys.exit(2)


def _say(line: str) -> None:
    print(f"raysmooth: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
