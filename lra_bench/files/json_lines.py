"""Read files of JSON lines, and append to them; each line carries a checksum."""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lra_bench.files.json_files import canonical, checked, parse_json
from lra_bench.files.regular import read_bytes

# The key of the checksum of a line.
LINE_CHECKSUM = "crc32"


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Append a line of JSON with its checksum, and wait until it is on disk.

    If a kill cut off the line before, that one keeps a line of its own.
    """
    text = json_line(values)
    with path.open("a+b") as file:
        if file.tell() and not _ends_whole(file):
            text = "\n" + text
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def json_line(values: Mapping[str, Any]) -> str:
    """Return a line of JSON that carries the CRC-32 of the canonical JSON of its values.

    Raises:
        ValueError: a value is NaN or infinity, which JSON lacks.
    """
    return json.dumps({**values, LINE_CHECKSUM: _crc32(values)}, allow_nan=False) + "\n"


def _crc32(values: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(canonical(values)):08x}"


def read_lines(path: Path) -> tuple[list[Any], int]:
    """Return the values of a file of JSON lines, and how many of its lines are broken.

    A line is broken that is no JSON or does not match its checksum; old lines have no checksum.
    The checksums themselves are left out. A file that is not there has no lines.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large.
    """
    return parse_lines(text_of_lines(path))


def text_of_lines(path: Path) -> str:
    """Return the text of a file of lines; "" if it is not there.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large.
    """
    return read_bytes(path).decode(errors="replace") if os.path.lexists(path) else ""


class BrokenLine:
    """A BrokenLine stands for the value of a line that is broken."""


def parse_lines(text: str, *, sealed: bool = False) -> tuple[list[Any], int]:
    """Return the values of JSON lines, and how many of the lines are broken; see `read_lines`.

    Args:
        text: of the lines.
        sealed: whether a line without a checksum is broken too.
    """
    every = list(each_line(text, sealed=sealed))
    values = [value for value in every if not isinstance(value, BrokenLine)]
    return values, len(every) - len(values)


def each_line(text: str, *, sealed: bool = False) -> Iterator[Any]:
    """Yield the value of each JSON line, or a `BrokenLine` in its place; see `parse_lines`."""
    for line in filter(str.strip, text.split("\n")):
        try:
            yield _line(line, sealed=sealed)
        except ValueError:
            yield BrokenLine()


def _line(text: str, *, sealed: bool) -> Any:
    value = parse_json(text)
    if sealed and not (isinstance(value, dict) and LINE_CHECKSUM in value):
        raise ValueError("lacks its checksum")
    return checked(value, LINE_CHECKSUM, _crc32) if isinstance(value, dict) else value
