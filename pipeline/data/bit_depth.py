"""Whether an image file has more than 8 bits a channel, which Pillow would reduce to 8 without a word."""

from PIL import Image

_CODESTREAM, _SIZES, _COMPONENTS = b"\xff\x4f\xff\x51", 42, 40
"""JPEG 2000: the start of the codestream, and where, after it, are the components' depths and their number."""

_AV1_CONFIGURATION = b"av1C"


def exceeds_8_bits(image: Image.Image, content: bytes) -> bool:
    """Whether the channels of an opened image, not yet decoded, have more than 8 bits; `content` is its file."""
    if image.mode == "F" or image.mode.startswith("I"):
        return True
    if image.format == "JPEG2000":
        return _deepest_component(content) > 8
    if image.format == "AVIF":
        return _is_high_bitdepth(content)
    return any(_reduces(tile) for tile in getattr(image, "tile", ()))


def _reduces(tile: tuple[object, ...]) -> bool:
    """PNG and TIFF name the raw mode, as in "RGB;16B"; PPM has the largest value of a channel."""
    decoder, arguments = tile[0], tile[3]
    if decoder in ("ppm", "ppm_plain") and isinstance(arguments, tuple):
        return isinstance(arguments[1], int) and arguments[1] > 255
    return ";16" in str(arguments)


def _deepest_component(content: bytes) -> int:
    """Bits of the deepest component of a JPEG 2000 image; 0 if it has no codestream."""
    start = content.find(_CODESTREAM)
    if start < 0:
        return 0
    count = int.from_bytes(content[start + _COMPONENTS : start + _SIZES], "big")
    depths = content[start + _SIZES : start + _SIZES + 3 * count : 3]
    return max(((depth & 0x7F) + 1 for depth in depths), default=0)


def _is_high_bitdepth(content: bytes) -> bool:
    """AVIF: the flag of 10 and 12 bits in the configuration of the AV1 decoder."""
    start = content.find(_AV1_CONFIGURATION)
    return start >= 0 and len(content) > start + 6 and bool(content[start + 6] & 0x40)
