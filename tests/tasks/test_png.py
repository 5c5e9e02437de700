"""Images of Pathfinder: 8-bit PNGs in grey or colour, and nothing else that Pillow can read."""

import contextlib
import io
import struct
import warnings
import zlib

import layouts
import numpy as np
import pytest
from PIL import Image

from lra_bench.errors import RunError
from lra_bench.tasks import _png
from lra_bench.tasks._pathfinder import release
from lra_bench.tasks.pathfinder import Pathfinder

SIDE = 9
GREY = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def saved(image, form="PNG", **options):
    """Return the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(name, data=b""):
    """Return a chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows, *, bits=8, colour=0, side=(SIDE, SIDE), interlace=0, before=(), after=(), end=True):
    """Return a PNG of these rows of bytes with further chunks before and after the pixels."""
    header = struct.pack(">IIBBBBB", *side, bits, colour, 0, 0, interlace)
    chunks = [chunk(b"IHDR", header), *before, chunk(b"IDAT", zlib.compress(rows)), *after]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + (chunk(b"IEND") if end else b"")


def rows_of(array):
    """Return the rows of an array as the format stores them, each after its filter byte 0."""
    return b"".join(b"\0" + row.tobytes() for row in array)


def interlaced(array):
    """Return the seven passes of Adam7, Section 8.1 of the specification."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    parts = [array[y::dy, x::dx] for y, x, dy, dx in (*passes, (1, 0, 2, 1))]
    return b"".join(rows_of(part) for part in parts if part.size)


def test_grey_is_read_as_it_is():
    np.testing.assert_array_equal(_png.read(saved(Image.fromarray(GREY)), SIDE), GREY)
    np.testing.assert_array_equal(_png.read(png(rows_of(GREY)), SIDE), GREY)


def test_colour_becomes_luma():
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    pixels = _png.read(saved(Image.fromarray(COLOUR)), SIDE)
    assert np.abs(pixels - luma).max() <= 0.51


def test_interlaced_images_are_read():
    np.testing.assert_array_equal(_png.read(png(interlaced(GREY), interlace=1), SIDE), GREY)


def of_mode(mode, **options):
    return saved(Image.fromarray(COLOUR).convert(mode), **options)


WIDE = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * 800
REFUSED = {
    "16 bits": (saved(Image.fromarray(WIDE)), "grey values at 16 bits"),
    "16 bits in colour": (png(b"", bits=16, colour=2), "colours at 16 bits"),
    "1 bit": (of_mode("1"), "grey values at 1 bits"),
    "2 bits": (png(b"", bits=2), "grey values at 2 bits"),
    "4 bits": (png(b"", bits=4), "grey values at 4 bits"),
    "palette": (of_mode("P"), "a palette at 8 bits"),
    "grey and alpha": (of_mode("LA"), "grey values and alpha"),
    "colour and alpha": (of_mode("RGBA"), "colours and alpha"),
    "unknown type": (png(b"", colour=5), "the unknown colour type 5"),
    "transparent grey": (saved(Image.fromarray(GREY), transparency=3), "holds tRNS"),
    "animated": (png(rows_of(GREY), before=[chunk(b"acTL", b"\0" * 8)]), "holds acTL"),
    "two headers": (png(rows_of(GREY), after=[chunk(b"IHDR", b"\0" * 13)]), "holds IHDR"),
    "JPEG": (of_mode("L", form="JPEG"), "is a JPEG, not an 8-bit PNG"),
    "GIF": (of_mode("L", form="GIF"), "is a GIF"),
    "BMP": (of_mode("L", form="BMP"), "is a BMP"),
    "TIFF": (of_mode("L", form="TIFF"), "is a TIFF"),
    "big-endian TIFF": (b"MM\0*" + b"\0" * 99, "is a TIFF"),
    "WebP": (b"RIFF\0\0\0\0WEBP", "is a WebP"),
    "PPM": (of_mode("L", form="PPM"), "is no image that is known"),
    "EPS": (of_mode("L", form="EPS"), "is PostScript, not an 8-bit PNG"),
    "other size": (saved(Image.fromarray(GREY[:8])), "has 9 x 8 pixels, must be 9 x 9"),
    "65,500 pixels": (png(b"", side=(65_500, 65_500)), "has 65500 x 65500 pixels"),
    "no pixels": (png(b""), "can't be read"),
    "too few rows": (png(rows_of(GREY)[:40]), "can't be read"),
    "no end": (png(rows_of(GREY), end=False), "it is cut off"),
    "no header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND"), "it has no header"),
    "long text": (
        png(rows_of(GREY), before=[chunk(b"zTXt", b"a\0\0" + zlib.compress(b" " * 2**25))]),
        "can't be read: Decompressed data too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_all_else_is_named_and_refused(kind):
    content, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        _png.read(content, SIDE)


def test_a_postscript_file_starts_no_program(tmp_path, monkeypatch):
    """Pillow runs Ghostscript for a file that is PostScript, whatever its name."""
    from PIL import EpsImagePlugin

    def started(*args, **kwargs):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    monkeypatch.setattr(_png, "_check", lambda content, side: None)  # Pillow must refuse, too
    with pytest.raises(ValueError, match="can't be read"):
        _png.read(REFUSED["EPS"][0], SIDE)


@pytest.mark.parametrize("position", range(8, 130, 7))
def test_a_changed_byte_is_noticed(position):
    content = bytearray(saved(Image.fromarray(GREY)))
    content[position % len(content)] ^= 4
    with pytest.raises(ValueError, match=r"can't be read|pixels"):
        _png.read(bytes(content), SIDE)


def test_the_file_is_named(tmp_path):
    images, labels = np.zeros((10, 32, 32), np.uint8), np.arange(10) % 2
    folder = layouts.pathfinder(tmp_path / "curv_contour_length_14", images, labels)
    (folder / "imgs/0/sample_0.png").write_bytes(REFUSED["JPEG"][0])
    with pytest.raises(RunError, match=r"imgs/0/sample_0\.png is a JPEG, not an 8-bit PNG"):
        Pathfinder().inputs("release", folder)


def test_a_large_file_is_not_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * _png.MOST_BYTES)
    with pytest.raises(RunError, match=r"a\.png can't be read: larger than 4,194,304 bytes"):
        release.read_image(tmp_path, "a.png", SIDE, print)


@pytest.mark.parametrize("tries", [300, pytest.param(60_000, marks=pytest.mark.slow)])
def test_any_damage_is_a_line(tries):
    """Images with bytes changed, cut and inserted, some of them with valid checksums."""
    rng = np.random.default_rng(0)
    good = [saved(Image.fromarray(GREY)), saved(Image.fromarray(COLOUR))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(tries):
            content = damaged(rng, good[number % 2], mend=number % 4 > 1)
            with contextlib.suppress(ValueError):
                pixels = _png.read(content, SIDE)
                assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE), np.uint8)


def damaged(rng, content, *, mend):
    """Return the content with changes at random places; if `mend`, with checksums made anew."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(8, max(len(changed), 9)))
        match rng.integers(3):
            case 0:
                changed[place : place + 1] = rng.bytes(1)
            case 1:
                changed[place:place] = rng.bytes(int(rng.integers(1, 40)))
            case _:
                del changed[place : place + int(rng.integers(1, 20))]
    return _mended(bytes(changed)) if mend else bytes(changed)


def _mended(content):
    parts, start = [content[:8]], 8
    while start + 12 <= len(content):
        size = min(int.from_bytes(content[start : start + 4]), len(content) - start - 12)
        parts.append(chunk(content[start + 4 : start + 8], content[start + 8 : start + 8 + size]))
        start += 12 + size
    return b"".join(parts)


def test_pillow_may_decode_png_only(monkeypatch):
    """Should a check of the content have a gap, no other decoder of Pillow is tried."""
    opened, formats = Image.open, []
    monkeypatch.setattr(
        Image, "open", lambda file, **options: formats.append(options) or opened(file, **options)
    )
    _png.read(png(rows_of(GREY)), SIDE)
    assert formats == [{"formats": ("PNG",)}]
