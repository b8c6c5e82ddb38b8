"""Lines that say if they are whole: each has its length and checksums, and continues the one before it.

A line is "LENGTH CRC HEAD payload" with three times eight hex digits. CRC is that of the payload, HEAD that of the two
numbers before it; both begin with the CRC of all lines before, so that a line that is lost, doubled or moved shows too.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

_HEAD = re.compile(rb"([0-9a-f]{8}) [0-9a-f]{8} ([0-9a-f]{8}) ")
_HEAD_BYTES, _NUMBER_BYTES = 27, 18


class DamagedFrames(Exception):
    """`at`: the byte at which the line begins that is not what was written."""

    def __init__(self, at: int) -> None:
        super().__init__(f"line at byte {at}")
        self.at = at


@dataclass(frozen=True)
class Frames:
    """`payloads` of all whole lines; `size` of these in bytes, which ends before an incomplete last line; `last`: what
    the next line continues.
    """

    payloads: tuple[bytes, ...]
    size: int
    last: int


def framed(payloads: Iterable[bytes], last: int = 0) -> tuple[bytes, int]:
    """The lines of payloads, which have no line breaks, from one that continues `last`; and what the next continues."""
    lines = []
    for payload in payloads:
        line, last = _line(payload, last)
        lines.append(line)
    return b"".join(lines), last


def read_frames(content: bytes) -> Frames:
    """The payloads in `content`. An incomplete last line, as a writer leaves it that is killed, is dropped, as are
    zeros at the end, which a file system leaves that is cut off. Raises DamagedFrames for all else that was not written
    so.
    """
    payloads, at, last = [], 0, 0
    while len(content) - at >= _HEAD_BYTES:
        head = _HEAD.match(content, at)
        if head is None or int(head[2], 16) != crc32(content[at : at + _NUMBER_BYTES], last):
            if not any(content[at:]):
                break
            raise DamagedFrames(at)
        begin = at + _HEAD_BYTES
        end = begin + int(head[1], 16)
        if len(content) <= end:
            break
        line, following = _line(content[begin:end], last)
        if content[at : end + 1] != line:
            raise DamagedFrames(at)
        payloads.append(content[begin:end])
        at, last = end + 1, following
    return Frames(tuple(payloads), at, last)


def _line(payload: bytes, last: int) -> tuple[bytes, int]:
    numbers = b"%08x %08x " % (len(payload), crc32(payload, last))
    line = b"%b%08x %b\n" % (numbers, crc32(numbers, last), payload)
    return line, crc32(line, last)
