"""The command line, in this process."""

import atexit
import gc

import pytest

from raysmooth.__main__ import main


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of `raysmooth ARGUMENTS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["raysmooth", *arguments])
        try:
            main()
            code = 0
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    atexit.unregister(gc.freeze)  # this process does not end with the command
    captured = capsys.readouterr()
    return code, captured.out, captured.err
