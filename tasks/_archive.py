"""Read one archive: find it, stream its members, and choose its splits."""

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


def members(archive: Path, wanted: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the members whose name matches the regular expression `wanted`.

    Names are without their first folder. Nothing is unpacked to disk.

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
            while unpacked.read(1 << 20):  # read to the end, where gzip checks its checksum
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RunError(f"{archive} is broken or cut off: {error}") from None


def _refuse_escapes(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise RunError(f"{archive}: member {member.name!r} leads out of the archive: refused")


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
