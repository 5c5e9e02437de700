"""Read files that may be compressed by gzip."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from lra_bench.errors import RunError, one_line
from lra_bench.files.regular import open_regular

_GZIP = b"\x1f\x8b"


@contextlib.contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file to read its bytes, uncompressed if gzip has compressed them.

    Raises:
        RunError: what the block reads is cut off or damaged.
    """
    with open_regular(file) as raw:
        packed = raw.peek(2)[:2] == _GZIP
        with gzip.open(raw) if packed else contextlib.nullcontext(raw) as stream:
            try:
                yield cast(BinaryIO, stream)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise RunError(f"{file} is cut off or damaged: {one_line(error)}") from None
