"""Reading one archive: finding it, its members one after the other, and its splits."""

import gzip
import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from lra_bench.contracts import Source
from lra_bench.errors import RunError

_HELD_OUT = 10
RULE = "train: a tenth of the archive's train set, the first by SHA-256 of the id, is validation"


def find(task: str, path: Path | None, source: Source) -> Path:
    """The source's archive: `path` itself, or the file of that name in it.

    Raises:
        RunError: there is none.
    """
    if path is None:
        raise RunError(f"{task}: the archive is needed: --source PATH")
    archive = path / source.files if path.is_dir() else path
    if not archive.is_file():
        raise RunError(f"{task}: no {source.files} at {path}; it is at {source.url}")
    return archive


def members(archive: Path, wanted: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the members whose name, without its first folder, matches `wanted`.

    Nothing is unpacked to disk.

    Raises:
        RunError: the archive is broken, or a member's name leads out of it.
    """
    pattern = re.compile(wanted)
    try:
        with gzip.open(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            for member in tar:
                _refuse_escapes(archive, member)
                name = "/".join(PurePosixPath(member.name).parts[1:])
                if not pattern.fullmatch(name):
                    continue
                file = tar.extractfile(member)
                if file is None:
                    raise RunError(f"{archive}: {member.name} is no plain file")
                yield name, file.read()
            while unpacked.read(1 << 20):  # up to gzip's own checksum
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RunError(f"{archive} is broken or cut off: {error}") from None


def _refuse_escapes(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise RunError(f"{archive}: member {member.name!r} leads out of the archive: refused")


def digest(name: str) -> bytes:
    """What examples are ranked by: the SHA-256 of the id, the same with any library, for ever."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def by_id(ids: Sequence[str]) -> list[int]:
    """All rows, in order of their ids: the archive's own order says nothing."""
    return sorted(range(len(ids)), key=lambda row: ids[row])


def held_out(ids: Sequence[str]) -> tuple[list[int], list[int]]:
    """The rows that stay in train and the tenth that is validation, each in order of ids."""
    chosen = set(sorted(ids, key=digest)[: max(1, len(ids) // _HELD_OUT)])
    rows = by_id(ids)
    return [r for r in rows if ids[r] not in chosen], [r for r in rows if ids[r] in chosen]


def first(ids: Sequence[str], rows: Sequence[int], size: int) -> list[int]:
    """At most `size` of the rows, the first by SHA-256 of the id, in order; 0 takes all."""
    kept = set(sorted(rows, key=lambda row: digest(ids[row]))[: size or None])
    return [row for row in rows if row in kept]


def state(archive: Path) -> str:
    """A name for the archive as it is now, for what is derived from it."""
    facts = archive.stat()
    return f"{archive.name}-{facts.st_size}-{facts.st_mtime_ns}"
