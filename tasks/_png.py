"""Read 8-bit PNGs of a known size, and nothing else that an image library can read.

References:
    W3C 2025, "Portable Network Graphics (PNG) Specification (Third Edition)": Sections 5.2, 5.3,
    8.1 and 11.2.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

# An image of 256 x 256 pixels in colour takes up to 200 KB.
MOST_BYTES = 4 * 2**20
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_OTHERS = {
    b"\xff\xd8\xff": "a JPEG", b"GIF8": "a GIF", b"BM": "a BMP", b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF", b"%!PS": "PostScript", b"\xc5\xd0\xd3\xc6": "PostScript", b"RIFF": "a WebP",
}  # fmt: skip
_GREY, _COLOUR = 0, 2
_TYPES = {
    _GREY: "grey values", _COLOUR: "colours", 3: "a palette", 4: "grey values and alpha",
    6: "colours and alpha",
}  # fmt: skip
_HEADER = struct.Struct(">IIBBBBB")
# The first column and row of each pass of an interlaced image, and the steps to the next.
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
_WHOLE = ((0, 0, 1, 1),)


def read(content: bytes, side: int) -> np.ndarray:
    """Return the grey values of a PNG, uint8 (side, side); colours are turned to luma.

    Luma is Pillow's mode "L": 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Raises:
        ValueError: it is not a PNG of 8 bits a sample in grey or colour without transparency, it
            is damaged, or it has another size.
    """
    _check(content, side)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            return np.asarray(image.convert("L"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises what its decoders raise
        raise ValueError(f"can't be read: {error}") from None


def _check(content: bytes, side: int) -> None:
    """Raise ValueError for all that Pillow would read in spite of it, or would convert."""
    if not content.startswith(_SIGNATURE):
        kinds = (kind for magic, kind in _OTHERS.items() if content.startswith(magic))
        raise ValueError(f"is {next(kinds, 'no image that is known')}, not an 8-bit PNG")
    chunks = list(_chunks(content))
    names = [name for name, _ in chunks]
    if names[0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise ValueError("can't be read: it has no header")
    samples, interlaced = _form(chunks[0][1], side)
    for name in (b"tRNS", b"acTL", b"IHDR"):
        if name in names[1:]:
            raise ValueError(f"holds {name.decode()}, must be one image without transparency")
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    _check_pixels(packed, _size(side, samples, interlaced))


def _form(header: bytes, side: int) -> tuple[int, bool]:
    """Return the samples of a pixel, and whether the image is interlaced.

    Raises:
        ValueError: the image has another size, or is not 8-bit grey or colour.
    """
    width, height, bits, colour, _, _, interlaced = _HEADER.unpack(header)
    if (width, height) != (side, side):
        raise ValueError(f"has {width} x {height} pixels, must be {side} x {side}")
    if bits != 8 or colour not in (_GREY, _COLOUR):
        form = _TYPES.get(colour, f"the unknown colour type {colour}")
        raise ValueError(f"has {form} at {bits} bits, must be an 8-bit PNG in grey or colour")
    return 3 if colour == _COLOUR else 1, interlaced > 0


def _size(side: int, samples: int, interlaced: bool) -> int:
    """Return the bytes of all rows before compression; each has a byte for its filter."""
    total = 0
    for x, y, right, down in _ADAM7 if interlaced else _WHOLE:
        columns, rows = len(range(x, side, right)), len(range(y, side, down))
        total += rows * (1 + columns * samples) if columns else 0
    return total


def _check_pixels(packed: bytes, size: int) -> None:
    """Raise ValueError if pixels are missing or damaged; Pillow takes missing ones for black."""
    stream = zlib.decompressobj()
    try:
        unpacked = len(stream.decompress(packed, size + 1))
    except zlib.error as error:
        raise ValueError(f"can't be read: {error}") from None
    if unpacked != size or not stream.eof:
        raise ValueError(f"can't be read: its pixels do not fill {size:,} bytes exactly")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the data of each chunk up to IEND.

    Raises:
        ValueError: a chunk is cut off or doesn't match its checksum.
    """
    start, name = len(_SIGNATURE), b""
    while name != b"IEND":
        size = int.from_bytes(content[start : start + 4])
        end = start + 8 + size
        name, checksum = content[start + 4 : start + 8], content[end : end + 4]
        if len(checksum) < 4:
            raise ValueError("can't be read: it is cut off")
        if zlib.crc32(content[start + 4 : end]).to_bytes(4) != checksum:
            raise ValueError(f"can't be read: its chunk {name!r} is damaged")
        yield name, content[start + 8 : end]
        start = end + 4
