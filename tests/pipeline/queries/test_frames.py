"""Journals line by line: a cut gives a prefix, and every other change is found."""

from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysmooth.pipeline.queries.frames import DamagedFrames, framed, read_frames

PAYLOADS = st.lists(st.binary(max_size=40).filter(lambda payload: b"\n" not in payload), max_size=6)
SOME = [b'{"a":1}', b"", b"x" * 30]


def test_a_line_is_what_the_docstring_says() -> None:
    content, last = framed([b"ab"])
    crc = crc32(b"ab")
    numbers = f"00000002 {crc:08x} ".encode()
    assert content == numbers + f"{crc32(numbers):08x} ab\n".encode()
    assert last == crc32(content)


@given(PAYLOADS, st.integers(0, 400))
def test_a_cut_gives_a_prefix(payloads: list[bytes], at: int) -> None:
    content, _ = framed(payloads)
    found = read_frames(content[:at])
    assert list(found.payloads) == payloads[: len(found.payloads)]
    assert found.size == len(framed(found.payloads)[0]) <= at
    whole = [len(framed(payloads[:number])[0]) for number in range(len(payloads) + 1)]
    assert len(found.payloads) == max(number for number, size in enumerate(whole) if size <= at or not number)
    rest, _ = framed(payloads[len(found.payloads) :], found.last)
    assert read_frames(content[: found.size] + rest).payloads == tuple(payloads)


def test_each_flipped_bit_is_found() -> None:
    content, _ = framed(SOME)
    for at in range(len(content)):
        for bit in range(8):
            wrong = bytearray(content)
            wrong[at] ^= 1 << bit
            with pytest.raises(DamagedFrames):
                read_frames(bytes(wrong))


@settings(max_examples=300)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_bytes_that_are_replaced_are_found(at: int, new: bytes) -> None:
    content, _ = framed(SOME)
    at %= len(content)
    wrong = content[:at] + new + content[at + len(new) :]
    wrong = wrong[: len(content)]
    if wrong == content:
        return
    try:
        found = read_frames(wrong)
    except DamagedFrames:
        return
    # Only what looks like a line that was never finished is dropped, never altered.
    assert list(found.payloads) == SOME[: len(found.payloads)]


def test_lines_that_are_lost_doubled_or_moved_are_found() -> None:
    lines = framed(SOME)[0].splitlines(keepends=True)
    for wrong in (lines[1:], lines[:1] + lines[2:], [lines[0], *lines], [lines[0], lines[2], lines[1]]):
        with pytest.raises(DamagedFrames):
            read_frames(b"".join(wrong))


def test_zeros_at_the_end_are_what_a_file_system_leaves() -> None:
    content, _ = framed(SOME)
    assert read_frames(content + bytes(100)).payloads == tuple(SOME)
    with pytest.raises(DamagedFrames) as damage:
        read_frames(content + bytes(100) + b"1")
    assert damage.value.at == len(content)
