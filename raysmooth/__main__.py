"""Entry point of the command line: `raysmooth`, or `python -m raysmooth`."""

import sys

# Importing anything of `commands` registers every command.
from raysmooth.commands.app import INTERRUPTED, AlreadyReported, app, notes
from raysmooth.common.errors import RaysmoothError


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 all images or trials failed, 2 refused or stopped,
    130 interrupted.
    """
    try:
        app()
    except RaysmoothError as refusal:
        print(f"raysmooth: {refusal}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED and not isinstance(end, AlreadyReported):
            notes.print("raysmooth: interrupted; finished work is on disk, rerun the same command to resume")
        raise


if __name__ == "__main__":
    main()
