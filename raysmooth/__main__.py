"""Entry point of the command line: `raysmooth`, or `python -m raysmooth`."""

import sys

# Importing anything of `commands` registers every command.
from raysmooth.commands.app import INTERRUPTED, AlreadyReported, app, notes
from raysmooth.commands.signals import exit_code, handled_as_interrupts
from raysmooth.common.errors import RaysmoothError


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 all images or trials failed, 2 refused or stopped, 128 plus the
    number of a signal that interrupted it: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
    """
    try:
        with handled_as_interrupts():
            app()
    except RaysmoothError as refusal:
        print(f"raysmooth: {refusal}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED and not isinstance(end, AlreadyReported):
            notes.print("raysmooth: interrupted; finished work is on disk, rerun the same command to resume")
            sys.exit(exit_code())
        raise


if __name__ == "__main__":
    main()
