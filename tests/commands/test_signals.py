"""Signals that end a command, in this process. (tests/commands/test_killed.py sends them to others.)"""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from raysmooth.signals import ENDING, exit_code, handled_as_interrupts


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = [signal.signal(number, signal.default_int_handler) for number in ENDING]
    yield
    for number, handler in zip(ENDING, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("first", ENDING)
@pytest.mark.parametrize("second", ENDING)
def test_a_second_signal_ends_the_process_at_once(
    first: signal.Signals, second: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the command, while Ray shuts down: a traceback and exit code 1 came then."""
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(KeyboardInterrupt), handled_as_interrupts():
        os.kill(os.getpid(), first)
    assert exit_code() == 128 + first
    with pytest.raises(SystemExit) as ended:
        os.kill(os.getpid(), second)
    assert ended.value.code == 128 + second


def test_handlers_are_set_back_where_nothing_came() -> None:
    with handled_as_interrupts():
        assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
