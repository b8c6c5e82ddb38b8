"""Alterations of bytes, for formats whose structure is not known, and what they are in words."""

from pathlib import Path
from random import Random


def damaged(rng: Random, content: bytes, other: bytes = b"") -> tuple[bytes, str]:
    """`content` cut off, with bits flipped, bytes replaced, inserted or repeated, or spliced with `other`."""
    way, length = rng.randrange(10), max(1, len(content))
    at = rng.randrange(length)
    if way == 0:
        return b"", "empty"
    if way == 1:
        return content[:at], f"cut off at byte {at}"
    if way == 2:
        return content[at:], f"without its first {at} bytes"
    if way == 3:
        size = rng.choice((1, 4, 64, 4096))
        return content[:at] + bytes(size) + content[at + size :], f"{size} zeros at byte {at}"
    if way == 4:
        size = rng.choice((1, 4, 64))
        return content[:at] + rng.randbytes(size) + content[at:], f"{size} bytes inserted at byte {at}"
    if way == 5:
        return content[:at] + (other or content) + content[at:], f"another file inserted at byte {at}"
    if way == 6:
        return content + rng.randbytes(rng.choice((1, 100, 100_000))), "bytes after the end"
    if way == 7:
        return content[:at] + b"\xff" * 8 + content[at + 8 :], f"ff at byte {at}"
    some, places = bytearray(content), []
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
        if some:
            place = rng.randrange(len(some))
            some[place] ^= 1 << rng.randrange(8)
            places.append(place)
    return bytes(some), f"bits flipped in bytes {', '.join(map(str, places[:4]))}"


def damage(rng: Random, file: Path, other: bytes = b"") -> str:
    """Damage a file in place."""
    content, what = damaged(rng, file.read_bytes(), other)
    file.write_bytes(content)
    return f"{file.name} {what}"


def replaced_by_other(rng: Random, file: Path) -> str:
    """Put something in a file's place that is no regular file of reasonable size."""
    import os
    import socket

    way = rng.randrange(8)
    file.unlink()
    if way == 0:
        return f"{file.name} missing"
    if way == 1:
        file.mkdir()
        return f"{file.name} is a folder"
    if way == 2:
        os.mkfifo(file)
        return f"{file.name} is a pipe"
    if way == 3:
        file.symlink_to(file.name)
        return f"{file.name} is a link to itself"
    if way == 4:
        file.symlink_to("/dev/zero")
        return f"{file.name} is a link to /dev/zero"
    if way == 5:
        with file.open("wb") as sparse:
            sparse.truncate(60 * 2**30)
        return f"{file.name} has 60 GB of zeros"
    if way == 6:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(file.name if file.parent == Path() else file)[-100:])
        return f"{file.name} is a socket"
    file.symlink_to("/dev/null")
    return f"{file.name} is a link to /dev/null"
