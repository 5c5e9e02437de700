"""Read, write and lock files; a reader never sees half of one.

JSON files are written as a whole. Files of JSON lines are appended to, a line at a time.

A record, and each line of a file of lines, can carry a checksum of its other values. The checksum
is of their canonical JSON, so indenting a file or sorting its keys does not invalidate it.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import stat
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra_bench.errors import RunError, UsageError, one_line

if TYPE_CHECKING:
    import numpy as np

# Records, settings and manifests are far smaller; what is larger is none of them.
MOST_BYTES = 256 * 2**20
_PART = 2**20
# How flock says that a file system has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
_warned: set[Path] = set()
# Objects and arrays in each other; no file of ours has ten, and readers recurse into them.
_DEEPEST = 64
# The keys of the checksums of a line and of a whole file.
LINE_CHECKSUM, CHECKSUM = "crc32", "checksum"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write an indented JSON file atomically.

    Raises:
        ValueError: the value holds NaN or infinity, which JSON lacks.
    """
    write_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


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


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return the text of a regular file in UTF-8; see `read_bytes`.

    Raises:
        OSError: the file cannot be read, is not a regular file, or holds more bytes.
        ValueError: it is not UTF-8.
    """
    return read_bytes(path, most).decode()


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """Return the value that a JSON file holds; see `read_bytes`.

    Raises:
        OSError: the file cannot be read, is not a regular file, or holds more bytes.
        ValueError: it is not JSON.
    """
    return parse_json(read_text(path, most))


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds half of a surrogate pair, which
            is no character and which no file can hold.
    """
    try:
        value = json.loads(text)
        _check_depth(value)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair") from None
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a JSON file, and the SHA-256 of their canonical JSON."""
    return {**values, CHECKSUM: _sha256(values)}


def without_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a JSON file without their checksum; an old file has none.

    Raises:
        ValueError: the values do not match the checksum.
    """
    return _checked(values, CHECKSUM, _sha256)


def json_line(values: Mapping[str, Any]) -> str:
    """Return a line of JSON that carries the CRC-32 of the canonical JSON of its values.

    Raises:
        ValueError: a value is NaN or infinity, which JSON lacks.
    """
    return json.dumps({**values, LINE_CHECKSUM: _crc32(values)}, allow_nan=False) + "\n"


def _checked(
    values: Mapping[str, Any], key: str, digest: Callable[[Mapping[str, Any]], str]
) -> dict[str, Any]:
    rest = {name: value for name, value in values.items() if name != key}
    if key in values and values[key] != digest(rest):
        raise ValueError("does not match its checksum: changed after it was written")
    return rest


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(values)).hexdigest()


def _crc32(values: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(_canonical(values)):08x}"


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


def read_lines(path: Path) -> tuple[list[Any], int]:
    """Return the values of a file of JSON lines, and how many of its lines are broken.

    A line is broken that is no JSON or does not match its checksum; old lines have no checksum.
    The checksums themselves are left out. A file that is not there has no lines.

    Raises:
        OSError: the file cannot be read, is not a regular file, or is too large.
    """
    text = read_bytes(path).decode(errors="replace") if os.path.lexists(path) else ""
    return parse_lines(text)


class BrokenLine:
    """Stands for the value of a line that is broken."""


def parse_lines(text: str) -> tuple[list[Any], int]:
    """Return the values of JSON lines, and how many of the lines are broken; see `read_lines`."""
    every = list(each_line(text))
    values = [value for value in every if not isinstance(value, BrokenLine)]
    return values, len(every) - len(values)


def each_line(text: str) -> Iterator[Any]:
    """Yield the value of each JSON line, or a `BrokenLine` in its place; see `read_lines`."""
    for line in filter(str.strip, text.split("\n")):
        try:
            yield _line(line)
        except ValueError:
            yield BrokenLine()


def _line(text: str) -> Any:
    value = parse_json(text)
    return _checked(value, LINE_CHECKSUM, _crc32) if isinstance(value, dict) else value


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes; call it while no process writes here."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def private_folder(path: Path) -> Path:
    """Return a folder that no other user can read or write; it is made if it is not there.

    If others could write to a folder of this user until now, its contents are removed.

    Raises:
        RunError: it belongs to another user, is a link, or cannot be made private.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    before = path.lstat()
    if not stat.S_ISDIR(before.st_mode) or before.st_uid != os.geteuid():
        raise RunError(f"{path} is not a folder of this user; remove it")
    path.chmod(0o700)
    if path.stat().st_mode & 0o077:
        raise RunError(f"{path} can't be made private; its file system lets every user in")
    if before.st_mode & 0o022:
        for child in path.iterdir():
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    return path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def npy_header(file: BufferedReader | BytesIO) -> "tuple[tuple[int, ...], bool, np.dtype]":
    """Read the header of a .npy file: shape, whether it is in Fortran's order, and dtype.

    Raises:
        ValueError: it is not a header, or the file is too short for the array that it announces.
    """
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(file)
        if version not in readers:
            raise ValueError(f"format version {version[0]}.{version[1]}, must be 1.0 or 2.0")
        with warnings.catch_warnings(action="error"):  # numpy warns of headers that it has to mend
            shape, is_fortran, dtype = readers[version](file)
        expected = math.prod(shape) * dtype.itemsize
    except MemoryError:
        raise ValueError("not a .npy file: its header is nested too deeply") from None
    except Exception as error:  # numpy parses the header as a Python literal
        raise ValueError(f"not a .npy file: {one_line(error)}") from None
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are not read (allow_pickle=False)")
    if size != expected or any(count < 0 for count in shape):
        raise ValueError(f"not the {dtype} array of shape {shape} that its header announces")
    return shape, is_fortran, dtype


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file while the block runs.

    Where the file system has no locks (Lustre without the option flock, some NFS), the block runs
    without one, after a warning.

    Args:
        path: the lock file; its folder is made.
        wait: whether to wait for another process that holds it.

    Yields:
        False where another process holds it and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _warn_of_no_locks(path.parent, error)
        yield True


def _warn_of_no_locks(folder: Path, error: OSError) -> None:
    """Say once for each folder that nothing keeps other processes out of it."""
    if folder not in _warned:
        _warned.add(folder)
        text = f"{folder} is on a file system without locks ({error.strerror})"
        remedy = "start one command at a time there, or choose a folder on another file system"
        print(f"lra-bench: {text}: {remedy}", file=sys.stderr)


def expanded(text: str) -> Path:
    """Return the path that a user wrote; "~" and "~user" are home folders.

    Raises:
        UsageError: it is empty, holds a NUL character, or there is no such home folder.
    """
    if not text or "\0" in text:
        raise UsageError(f"{text!r} is no path: it {'holds a NUL' if text else 'is empty'}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: {_homeless(Path(text).parts[0])}") from None


def _homeless(home: str) -> str:
    """Say why "~" or "~user" stands for no folder: a container may know only a user's number."""
    if home == "~":
        return f"user {os.getuid()} has no home folder, and $HOME is not set"
    return f"there is no home folder {home}"


def refuse_file(out: Path) -> None:
    """Check that the folder given as --out is not a file.

    Raises:
        UsageError: it is one.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file")
