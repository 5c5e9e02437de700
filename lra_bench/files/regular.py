"""Read regular files of a bounded size; pipes, devices and sockets are never opened."""

import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

# Records, settings and manifests are far smaller; what is larger is none of them.
MOST_BYTES = 256 * 2**20
_PART = 2**20


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read its bytes; a pipe, a device or a socket is never opened.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        kind = "a folder" if path.is_dir() else "a pipe, a device or a socket"
        raise OSError(f"{kind}, not a regular file")
    # If a pipe has taken the place of the file since, opening it must not wait for a writer.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("not a regular file")
    return file


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the contents of a regular file; a pipe, a device or a socket is never opened.

    Args:
        path: the file; a link is followed.
        most: bytes that the file may hold.

    Raises:
        OSError: the file cannot be read, is not a regular file, or holds more bytes.
    """
    text = bytearray()
    with open_regular(path) as file:
        # In parts: a read of `most` bytes takes that much memory, however short the file is.
        while len(text) <= most and (part := file.read(_PART)):
            text += part
    if len(text) > most:
        raise OSError(f"larger than {most:,} bytes")
    return bytes(text)


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return the text of a regular file in UTF-8; see `read_bytes`.

    Raises:
        OSError: the file cannot be read, is not a regular file, or holds more bytes.
        ValueError: it is not UTF-8.
    """
    return read_bytes(path, most).decode()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
