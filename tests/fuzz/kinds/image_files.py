"""Images in class folders: formats, modes, metadata, bombs, damage."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from fuzz.case import Expected, Kind, Play
from fuzz.damage import damage, replaced_by_other
from fuzz.reading import read_all
from fuzz.values import TEXTS

FOLDER = Path("data")
FORMATS = {
    "PNG": "png", "JPEG": "jpg", "GIF": "gif", "BMP": "bmp", "PPM": "ppm", "TIFF": "tif", "WEBP": "webp",
    "JPEG2000": "jp2",
}  # fmt: skip
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "I;16", "I", "F", "CMYK", "YCbCr", "LAB", "HSV")
EIGHT_BITS = ("1", "L", "P", "RGB")
"""Modes whose pixels are kept exactly by a format without losses."""


def pixels(seed: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def build_images() -> None:
    for number in range(4):
        place = FOLDER / f"class{number % 2}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(place)


def play_image(rng: Random) -> Play:
    file = rng.choice(sorted(FOLDER.rglob("*.png")))
    altered, expected = rng.choice(_ALTERATIONS)(rng, file)
    resize, crop = rng.choice(((None, None), (None, None), (8, None), (4, 4), (None, 3), (256, 224)))
    if resize or crop:
        expected = Expected.ANY
    return Play(f"{file.name}: {altered}", read_all("folder", FOLDER, None, resize, crop, expected), Expected.ANY)


Alteration = Callable[[Random, Path], tuple[str, Expected]]


def _format(rng: Random, file: Path) -> tuple[str, Expected]:
    """The same picture in another format and mode."""
    kind, mode = rng.choice(sorted(FORMATS)), rng.choice(MODES)
    if mode in ("I;16", "I", "F"):
        values = pixels(7)[..., 0].astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 255
        image = Image.fromarray(values)
    else:
        image = Image.fromarray(pixels(7)).convert("RGB")
        try:
            image = image.convert(mode)
        except ValueError:
            image = Image.new(mode, (8, 8))
    options = rng.choice(
        (
            {},
            {"quality": 1},
            {"interlace": True},
            {"exif": rng.randbytes(40)},
            {"compression": "jpeg"},
            {"save_all": True},
        )
    )
    try:
        image.save(file.with_suffix(f".{FORMATS[kind]}"), kind, **options)
    except (OSError, ValueError, KeyError, TypeError, struct.error, SystemError, SyntaxError):
        return f"no {kind} of mode {mode}", Expected.ANY
    if file.suffix != f".{FORMATS[kind]}":
        file.unlink()
    deep = mode in ("I;16", "I", "F") and kind in ("PNG", "TIFF")
    return f"{kind} of mode {mode}, {options}", Expected.REFUSED if deep else Expected.ANY


def _same(rng: Random, file: Path) -> tuple[str, Expected]:
    """Written again without losses: equal pixels."""
    image = Image.open(file).convert("RGB")
    kind = rng.choice(("PNG", "BMP", "TIFF", "PPM"))
    file.unlink()
    image.save(file.with_suffix(f".{FORMATS[kind]}"), kind)
    return f"the same pixels as {kind}", Expected.READ


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png(rng: Random, file: Path) -> tuple[str, Expected]:
    """PNGs with an odd header, odd chunks, or too much in them."""
    width, height = rng.choice(
        ((8, 8), (0, 8), (2**31 - 1, 2**31 - 1), (65_535, 65_535), (1, 20_000), (30_000, 1), (8, 2**20))
    )
    depth, colour = rng.choice(((8, 2), (16, 2), (16, 0), (1, 0), (8, 3), (3, 7), (16, 6), (8, 255)))
    more = rng.choice(
        (
            b"", _chunk(b"tEXt", b"k\0" + b"Q" * 3_000_000), _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8))),
            _chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(10**7))), _chunk(b"eXIf", rng.randbytes(100)),
            _chunk(b"tRNS", b""), _chunk(b"acTL", struct.pack(">II", 2**31, 0)), _chunk(b"\x1b[3m", b"x"),
        )
    )  # fmt: skip
    data = zlib.compress(bytes(min(height, 100) * (1 + min(width, 10**5) * 3 * 2)))
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + more + _chunk(b"IDAT", data) + _chunk(b"IEND", b""))
    return f"PNG of {width} x {height}, depth {depth}, colour {colour}, {len(more)} bytes more", Expected.ANY


def _screen(rng: Random, file: Path) -> tuple[str, Expected]:
    """Small files that claim to be large."""
    content = rng.choice(
        (
            b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\x00\x00\x00;",
            b"GIF89a\x08\x00\x08\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff," + struct.pack("<HHHH", 0, 0, 65_535, 65_535),
            b"P6 60000 60000 255\n" + bytes(100), b"P5 8 8 65535\n" + bytes(128), b"P1 8 8\n" + b"1 " * 64,
            b"P6 -1 8 255\n", b"P6 8 8 0\n" + bytes(192), b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40,
            2**30, -(2**30), 1, 24, 0, 0, 0, 0, 0, 0),
            b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40), b"II*\x00\xff\xff\xff\xff",
            b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(30),
            b"MM\x00*\x00\x00\x00\x08\x00\x00\x00\x00\x00\x08", b"\xff\xd8\xff\xe1\xff\xffExif\0\0" + bytes(30),
            b"\xff\xd8\xff\xd9",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(x) run\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        )
    )  # fmt: skip
    file.write_bytes(content)
    return f"begins with {content[:20]!r}", Expected.ANY


def _exif(rng: Random, file: Path) -> tuple[str, Expected]:
    buffer = io.BytesIO()
    Image.fromarray(pixels(7)).save(
        buffer, "JPEG", exif=b"Exif\0\0" + rng.choice((b"", b"II*\0\x08\0\0\0\xff\xff", rng.randbytes(60)))
    )
    file.write_bytes(buffer.getvalue())
    return "a JPEG with broken EXIF", Expected.ANY


def _bytes(rng: Random, file: Path) -> tuple[str, Expected]:
    kind = rng.choice(("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000"))
    Image.fromarray(pixels(7, (24, 24))).save(file, kind)
    return f"{kind}, {damage(rng, file)}", Expected.ANY


def _other(rng: Random, file: Path) -> tuple[str, Expected]:
    return replaced_by_other(rng, file), Expected.ANY


def _texts(rng: Random, file: Path) -> tuple[str, Expected]:
    content = rng.choice(TEXTS)
    file.write_bytes(content.encode(errors="surrogatepass"))
    return "a text", Expected.ANY


_ALTERATIONS: tuple[Alteration, ...] = (
    _format, _format, _format, _same, _png, _png, _screen, _exif, _bytes, _bytes, _bytes, _other, _texts,
)  # fmt: skip

IMAGES = Kind("images in class folders", build_images, play_image)
