"""Read one archive: find it, stream its members, and choose its splits."""

import contextlib
import gzip
import hashlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from lra_bench.contracts import Source
from lra_bench.errors import RunError, one_line
from lra_bench.files.regular import open_regular

# The official archives have 100,000 members at most, none above 42 MB, and unpack to 500 MB.
_MOST_MEMBERS, _MOST_OTHER, _MOST_BYTES = 500_000, 256 * 2**20, 2 * 2**30
_MOST_HEADER = 2**16
_BLOCK = _MOST_HEADER
_SHOWN, _LONGEST_SHOWN = 3, 100
_HELD_OUT = 10
RULE = "train: a tenth of the archive's train set, the first by SHA-256 of the id, is validation"


def find(task: str, path: Path | None, source: Source) -> Path:
    """Return the source's archive: `path` itself, or the file of that name in the folder `path`.

    Raises:
        RunError: there is none.
    """
    if path is None:
        raise RunError(f"{task}: give the archive {source.files}: --source PATH")
    archive = path / source.files if path.is_dir() else path
    if not archive.is_file():
        raise RunError(f"{task}: no {source.files} at {path}; it is at {source.url}")
    return archive


@dataclass(frozen=True)
class Expected:
    """The members of an archive that a task expects.

    Attributes:
        wanted: a regular expression of their names without the first folder.
        form: their names as a message shows them.
        most: bytes that such a member may hold.
    """

    wanted: str
    form: str
    most: int


def members(archive: Path, expected: Expected, remedy: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the members that are expected.

    Names are without their first folder. Nothing is unpacked to disk.

    Args:
        archive: a .tar.gz file.
        expected: which members are read.
        remedy: where to get the right archive, for messages.

    Raises:
        RunError: the archive is broken, has a member twice, exceeds a limit, has a member that is
            not a plain file or leads out of it, or has no member that is wanted.
    """
    try:
        yield from _read(archive, expected, remedy)
    except (RunError, MemoryError):
        raise
    except Exception as error:  # of gzip, zlib and tarfile, which parse what they read
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise
        raise RunError(f"{archive} is broken or cut off: {one_line(error)}; {remedy}") from None


def _read(archive: Path, expected: Expected, remedy: str) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    others: list[str] = []
    with open_regular(archive) as packed, gzip.open(packed) as unpacked:
        stream = _Stream(archive, unpacked)
        with tarfile.open(fileobj=cast(Any, stream), mode="r:") as tar:
            for number, member in enumerate(iter(tar.next, None)):
                cast(Any, tar).members.clear()  # it would keep all of them
                _check(archive, member, number)
                name = "/".join(PurePosixPath(member.name).parts[1:])
                if re.fullmatch(expected.wanted, name):
                    with stream.unlimited():
                        content = _content(archive, tar, member, expected.most, seen)
                    yield name, content
                elif member.isfile() and len(others) < _SHOWN:
                    others.append(repr(member.name))
            stream.check_end()
    if not seen:
        shown = f"{', '.join(others)} ..." if others else "no file"
        raise RunError(f"{archive} holds {shown} but no {expected.form}; {remedy}")


class _Stream:
    """The unpacked archive, read from its start to its end; its size is limited.

    tarfile reads a header at once, however large, and takes a damaged one for the end.

    Attributes:
        most: bytes that one read may return; a header is short.
        last: the last bytes that were read.
    """

    def __init__(self, archive: Path, unpacked: gzip.GzipFile) -> None:
        self.archive, self.unpacked, self.position = archive, unpacked, 0
        self.most, self.last = _MOST_HEADER, b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        if size > self.most:
            text = f"an extended header of {size:,} bytes, more than {self.most:,}"
            raise RunError(f"{self.archive}: {text}: refused")
        self.last = content = self.unpacked.read(size)
        self.position += len(content)
        if self.position > _MOST_BYTES:
            raise RunError(f"{self.archive} unpacks to more than {_MOST_BYTES:,} bytes: refused")
        return content

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self.position

    @contextlib.contextmanager
    def unlimited(self) -> Iterator[None]:
        """Allow reads of any size within the block, of members whose size was checked."""
        self.most = _MOST_BYTES
        yield
        self.most = _MOST_HEADER

    def seek(self, position: int) -> int:
        """Read on to a later position."""
        while self.position < position and self.read(min(position - self.position, _BLOCK)):
            pass
        return self.position

    def check_end(self) -> None:
        """Check what tarfile took for the end, and read on to where gzip compares its checksum.

        Raises:
            tarfile.ReadError: it was no end mark.
            RunError: something else than zeros follows.
        """
        if len(self.last) != tarfile.BLOCKSIZE or self.last.strip(b"\0"):
            raise tarfile.ReadError("a header is damaged" if self.last else "no end mark")
        while content := self.read(_BLOCK):
            if content.strip(b"\0"):
                raise RunError(f"{self.archive}: something follows the end of the archive: refused")


def _check(archive: Path, member: tarfile.TarInfo, number: int) -> None:
    """Raise RunError for a member that no honest archive has."""
    path, shown = PurePosixPath(member.name), repr(member.name[:_LONGEST_SHOWN])
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise RunError(f"{archive}: member {shown} leads out of the archive: refused")
    if not (member.isdir() or member.isreg()) or member.issparse():
        kind = "a sparse file" if member.issparse() else "a link, a device or a pipe"
        raise RunError(f"{archive}: member {shown} is {kind}: refused")
    if member.size > _MOST_OTHER:
        size = f"{member.size:,} bytes, more than {_MOST_OTHER:,}"
        raise RunError(f"{archive}: member {shown} has {size}: refused")
    if number >= _MOST_MEMBERS:
        raise RunError(f"{archive} has more than {_MOST_MEMBERS:,} members: refused")


def _content(
    archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, most: int, seen: set[str]
) -> bytes:
    """Return the content of a member that is wanted, and add its name to `seen`."""
    shown, name = repr(member.name[:_LONGEST_SHOWN]), "/".join(PurePosixPath(member.name).parts[1:])
    file = tar.extractfile(member)
    if file is None:
        raise RunError(f"{archive}: member {shown} is no plain file")
    if member.size > most:
        raise RunError(f"{archive}: member {shown} has {member.size:,} bytes, more than {most:,}")
    if name in seen:
        raise RunError(f"{archive}: member {shown} is in it twice")
    seen.add(name)
    content = file.read()
    if len(content) != member.size:
        raise RunError(f"{archive} is broken or cut off: member {shown} ends too early")
    return content


def digest(name: str) -> bytes:
    """Return the SHA-256 of an id, by which examples are ranked: it is the same everywhere."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def by_id(ids: Sequence[str]) -> list[int]:
    """Return all rows, sorted by their ids; the archive's own order is arbitrary."""
    return sorted(range(len(ids)), key=lambda row: ids[row])


def held_out(ids: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the rows that stay in train and the tenth that is validation, both sorted by id."""
    chosen = set(sorted(ids, key=digest)[: max(1, len(ids) // _HELD_OUT)])
    rows = by_id(ids)
    return [r for r in rows if ids[r] not in chosen], [r for r in rows if ids[r] in chosen]


def first(ids: Sequence[str], rows: Sequence[int], size: int) -> list[int]:
    """Return the first `size` rows by SHA-256 of the id, in their old order; 0 takes all."""
    kept = set(sorted(rows, key=lambda row: digest(ids[row]))[: size or None])
    return [row for row in rows if row in kept]


def state(archive: Path) -> str:
    """Return a name for the archive's present content, from its size and modification time."""
    facts = archive.stat()
    return f"{archive.name}-{facts.st_size}-{facts.st_mtime_ns}"
