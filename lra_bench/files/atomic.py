"""Write files as a whole or not at all."""

import os
from pathlib import Path
from zlib import crc32

_LONGEST = 200


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file as a whole or not at all; text is UTF-8.

    A file that is there keeps its permissions, and a link is followed.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    data = content if isinstance(content, bytes) else content.encode()
    try:
        _replace(path.resolve() if path.is_symlink() else path, data)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{_short(path.name)}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _short(name: str) -> str:
    """Return a name to which something can be added; most file systems allow 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else f"{crc32(encoded):08x}"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes; call it while no process writes here."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
