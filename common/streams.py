"""Standard output and error that a full disk or a closed pipe behind them cannot make fail."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast


class UnfailingStream:
    """`stream`, whose failures are kept in `failure` instead of raised: work must not end because of a message that
    cannot be written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self.failure = error
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.failure = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def unfailing(stream: TextIO | None) -> TextIO | None:
    """`stream` as one that cannot fail; None, where it was closed before Python started, stays None."""
    return stream if stream is None or isinstance(stream, UnfailingStream) else cast(TextIO, UnfailingStream(stream))


def output_failure() -> OSError | None:
    """Why standard output could not be written so far; None if it could."""
    if not isinstance(sys.stdout, UnfailingStream):
        return None
    sys.stdout.flush()
    return sys.stdout.failure
